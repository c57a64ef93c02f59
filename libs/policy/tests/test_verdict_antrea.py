"""The documented examples of Antrea-native policies at L3 and L4: taken as they are written, and what they mean."""

from pathlib import Path
from typing import NamedTuple

import pytest

from sluice.admission.among import admit_all
from sluice.contracts.ids import Address
from sluice.contracts.objects import AnyObject
from sluice.kube.manifest import Document, parse
from sluice.policy.packet import AddressEnd, End, Packet, PodEnd
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Decision, Isolation, NoPolicy, RuleRef, verdict
from sluice.testkit.builders import acnp, annp, namespace, netpol, pod, tier

MANIFESTS = Path(__file__).with_name("antrea")


def read(file: str) -> list[AnyObject]:
    """The objects of a manifest, all of them admitted."""
    documents = parse((MANIFESTS / file).read_bytes(), file)
    assert documents
    objects = []
    for document in documents:
        assert isinstance(document, Document), document
        objects.append(document.object)
    assert not any(admit_all(objects)), admit_all(objects)
    return objects


CLUSTER: list[AnyObject] = [
    namespace("prod", env="prod"),
    namespace("dbs", role="db"),
    namespace("closed", app="no-network-access-required"),
    namespace("default"),
    namespace("kube-system", **{"kubernetes.io/metadata.name": "kube-system"}),
    namespace("accounting1", org="accounting", region="us-west"),
    namespace("accounting2", org="accounting", region="us-east"),
    namespace("sales1", org="sales", region="us-west"),
    namespace("sales2", org="sales", region="us-east"),
]
CLUSTER += [
    pod(f"{name}/{app}", ip=f"10.{number}.0.{last}", app=app, ports=[("web", 80)], role=role)
    for number, name in enumerate(
        ("prod", "dbs", "closed", "default", "kube-system", "accounting1", "accounting2", "sales1", "sales2"), start=1
    )
    for last, (app, role) in enumerate((("a", "db"), ("b", "frontend"), ("c", "nondb"), ("d", "server")), start=1)
]


def end(text: str) -> End:
    return PodEnd(*text.split("/")) if "/" in text else AddressEnd(Address(text))


def by(decision: Decision | None) -> str:
    """The rule's name, or what else decided."""
    match decision:
        case None:
            return "-"
        case Decision(reason=RuleRef(name=name)):
            return name
        case Decision(reason=Isolation()):
            return "isolation"
        case Decision(reason=NoPolicy()):
            return "no policy"
        case _:
            return "itself"


def judge(objects: list[AnyObject], packet: str) -> str:
    """Outcome, and what decided at the source and at the destination."""
    source, destination, protocol, *numbers = packet.split()
    fields: dict[str, int] = {}
    if protocol == "ICMP":
        fields = dict(zip(("icmp_type", "icmp_code"), map(int, numbers), strict=False))
    else:
        fields = dict(zip(("port", "source_port"), map(int, numbers), strict=False))
    asked = Packet(source=end(source), destination=end(destination), protocol=protocol, **fields)  # type: ignore[arg-type]  # of a row
    state = ClusterState([*CLUSTER, *objects])
    assert not state.compiler.problems
    given = verdict(state, asked)
    return f"{given.outcome} {by(given.egress)} | {by(given.ingress)}"


class Example(NamedTuple):
    file: str
    packet: str
    given: str


NO = "no policy"
EXAMPLES = [
    # -- policy-level appliedTo is a union of its entries
    Example("stand-alone-selectors.yaml", "default/b default/a TCP 8080", f"Allowed {NO} | AllowFromFrontend"),
    Example("stand-alone-selectors.yaml", "default/b default/a TCP 9000", f"Allowed {NO} | AllowFromFrontend"),
    Example("stand-alone-selectors.yaml", "default/b default/a TCP 9001", f"Allowed {NO} | {NO}"),
    Example("stand-alone-selectors.yaml", "default/b default/a TCP 6379", f"Allowed {NO} | AllowFromFrontend"),
    Example("stand-alone-selectors.yaml", "dbs/c prod/d TCP 6379", f"Allowed {NO} | AllowFromFrontend"),
    Example("stand-alone-selectors.yaml", "default/c prod/d TCP 6379", f"Allowed {NO} | {NO}"),
    Example("stand-alone-selectors.yaml", "default/b default/d TCP 6379", f"Allowed {NO} | {NO}"),
    Example("stand-alone-selectors.yaml", "prod/d 10.0.10.7 TCP 5978", "Dropped DropToThirdParty | -"),
    Example("stand-alone-selectors.yaml", "prod/d 10.0.11.7 TCP 5978", f"Allowed {NO} | -"),
    Example("stand-alone-selectors.yaml", "prod/d 10.0.10.7 UDP 5978", f"Allowed {NO} | -"),
    # -- both directions, everybody
    Example("isolate-all-pods-in-namespace.yaml", "closed/a prod/a TCP 80", f"Dropped drop-all-egress | {NO}"),
    Example("isolate-all-pods-in-namespace.yaml", "prod/a closed/a TCP 80", f"Dropped {NO} | drop-all-ingress"),
    Example(
        "isolate-all-pods-in-namespace.yaml", "closed/b closed/a UDP 1", "Dropped drop-all-egress | drop-all-ingress"
    ),
    Example("isolate-all-pods-in-namespace.yaml", "192.0.2.1 closed/a ICMP 8 0", "Dropped - | drop-all-ingress"),
    Example("isolate-all-pods-in-namespace.yaml", "prod/a default/a TCP 80", f"Allowed {NO} | {NO}"),
    # -- Pass within a Namespace
    Example("strict-ns-isolation.yaml", "prod/a prod/b TCP 80", f"Allowed {NO} | {NO}"),
    Example("strict-ns-isolation.yaml", "prod/a dbs/b TCP 80", "Dropped DropToAllOtherNS | DropFromAllOtherNS"),
    Example("strict-ns-isolation.yaml", "kube-system/a dbs/b TCP 80", f"Dropped {NO} | DropFromAllOtherNS"),
    Example("strict-ns-isolation.yaml", "dbs/b kube-system/a TCP 80", f"Dropped DropToAllOtherNS | {NO}"),
    Example("strict-ns-isolation.yaml", "192.0.2.1 dbs/b TCP 80", f"Allowed - | {NO}"),
    # -- the baseline
    Example("default-cluster-deny.yaml", "prod/a dbs/b TCP 80", "Dropped egress-drop-* | ingress-drop-*"),
    Example("default-cluster-deny.yaml", "prod/a prod/b TCP 80", "Dropped egress-drop-* | ingress-drop-*"),
    # -- ICMP, rejected
    Example("reject-ping-request.yaml", "prod/d dbs/b ICMP 8 0", f"Rejected DropPingRequest | {NO}"),
    Example("reject-ping-request.yaml", "prod/d dbs/b ICMP 0 0", f"Allowed {NO} | {NO}"),
    Example("reject-ping-request.yaml", "prod/d dbs/b TCP 80", f"Allowed {NO} | {NO}"),
    Example("reject-ping-request.yaml", "dbs/d dbs/b ICMP 8 0", f"Allowed {NO} | {NO}"),
    # -- logging is taken, and changes nothing
    Example("log-setting.yaml", "dbs/b prod/c TCP 80", f"Allowed {NO} | AllowFromFrontend"),
    # -- appliedTo by rule
    Example("applied-to-per-rule.yaml", "default/c default/a TCP 80", f"Dropped {NO} | ingress-drop-*"),
    Example("applied-to-per-rule.yaml", "default/d default/b TCP 80", f"Dropped {NO} | ingress-drop-*"),
    Example("applied-to-per-rule.yaml", "default/c default/b TCP 80", f"Allowed {NO} | {NO}"),
    Example("applied-to-per-rule.yaml", "default/d default/a TCP 80", f"Allowed {NO} | {NO}"),
    # -- the namespaced kind
    Example("test-annp.yaml", "default/b default/a TCP 8080", f"Allowed {NO} | AllowFromFrontend"),
    Example("test-annp.yaml", "prod/b default/a TCP 8080", f"Allowed {NO} | {NO}"),
    Example("test-annp.yaml", "dbs/c default/a TCP 8080", f"Allowed {NO} | AllowFromFrontend"),
    Example("test-annp.yaml", "default/a 10.0.10.7 TCP 5978", "Dropped DropToThirdParty | -"),
    Example("test-annp.yaml", "prod/a 10.0.10.7 TCP 5978", f"Allowed {NO} | -"),
    # -- Self, and Deny, which is Drop
    Example("allow-self-ns.yaml", "prod/a prod/b TCP 80", "Allowed egress-allow-* | ingress-allow-*"),
    Example("allow-self-ns.yaml", "prod/a dbs/b TCP 80", "Dropped egress-drop-* | ingress-drop-*"),
    Example("allow-self-ns.yaml", "192.0.2.1 dbs/b TCP 80", "Dropped - | ingress-drop-*"),
    Example("deny-self-ns-a-to-b.yaml", "prod/a prod/b TCP 80", "Dropped egress-allow-* | ingress-drop-*"),
    Example("deny-self-ns-a-to-b.yaml", "prod/a prod/c TCP 80", "Allowed egress-allow-* | ingress-allow-*"),
    Example("deny-self-ns-a-to-b.yaml", "prod/c prod/b TCP 80", "Allowed egress-allow-* | ingress-allow-*"),
    # -- sameLabels
    Example(
        "isolation-based-on-org.yaml", "accounting1/a accounting2/b TCP 80", "Allowed egress-allow-* | ingress-allow-*"
    ),
    Example("isolation-based-on-org.yaml", "accounting1/a sales1/b TCP 80", "Dropped egress-drop-* | ingress-drop-*"),
    Example("isolation-based-on-org.yaml", "prod/a sales1/b TCP 80", f"Dropped {NO} | ingress-drop-*"),
    Example("isolation-based-on-org.yaml", "prod/a kube-system/b TCP 80", f"Allowed {NO} | {NO}"),
    Example("org-everywhere.yaml", "accounting1/a sales1/b TCP 80", "Dropped egress-drop-* | ingress-drop-*"),
    Example("org-everywhere.yaml", "accounting1/a accounting2/b TCP 80", "Allowed egress-allow-* | ingress-allow-*"),
    Example("org-everywhere.yaml", "prod/a kube-system/b TCP 80", f"Allowed {NO} | {NO}"),
    Example("org-and-region.yaml", "accounting1/a accounting2/b TCP 80", "Dropped egress-drop-* | ingress-drop-*"),
    Example("org-and-region.yaml", "accounting1/a accounting1/b TCP 80", "Allowed egress-allow-* | ingress-allow-*"),
    Example("isolation-based-on-org-and-env.yaml", "sales1/a accounting1/b TCP 80", f"Allowed {NO} | {NO}"),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.file[:-5]}: {example.packet}")
def test_documented_examples(example: Example) -> None:
    given = judge(read(example.file), example.packet)

    pattern = [part.rstrip("*") for part in example.given.split(" | ")]
    assert all(told.startswith(part) for told, part in zip(given.split(" | "), pattern, strict=True)), given


def test_a_namespace_that_gets_the_labels_comes_under_the_policy() -> None:
    """The documented next step of the example: dev has both labels, and is closed to all others."""
    dev: list[AnyObject] = [
        namespace("dev", org="dev", env="test"),
        pod("dev/a", ip="10.99.0.1"),
        pod("dev/b", ip="10.99.0.2"),
    ]
    objects = [*dev, *read("isolation-based-on-org-and-env.yaml")]

    assert judge(objects, "sales1/a dev/a TCP 80").startswith(f"Dropped {NO} | ingress-drop-")
    assert judge(objects, "dev/b dev/a TCP 80").startswith(f"Allowed {NO} | ingress-allow-")
    assert judge(objects, "sales1/a accounting1/b TCP 80") == f"Allowed {NO} | {NO}"


# ----------------------------------------------------------------------------------------------------------- the order

TO_A = {"appliedTo": [{"podSelector": {"matchLabels": {"app": "a"}}}]}


def on(name: str, action: str, *more: str, key: str = "", **spec: object) -> AnyObject:
    """A policy on all Pods labelled `app: a` with an ingress rule for each action."""
    rules = [{"action": one, "name": f"{name}{index}"} for index, one in enumerate((action, *more))]
    written = {**TO_A, "ingress": rules, **spec}
    return annp(f"prod/{name}", written) if key else acnp(name, written)


K8S_CLOSED = netpol("prod/np")
K8S_OPEN = netpol("prod/np", {"ingress": [{}]})
MINE = tier("mine", 10)


class Ordered(NamedTuple):
    name: str
    objects: list[AnyObject]
    given: str


ORDERED = [
    Ordered("application is the tier of none", [on("p", "Drop"), on("q", "Allow", tier="platform")], "Allowed q0"),
    Ordered("a custom tier", [on("p", "Drop", tier="emergency"), MINE, on("q", "Allow", tier="mine")], "Allowed q0"),
    Ordered("capitals", [on("p", "Drop", tier="SecurityOps"), on("q", "Allow", tier="NetworkOps")], "Dropped p0"),
    Ordered(
        "the tier before the priority", [on("p", "Drop", priority=1), on("q", "Allow", tier="platform")], "Allowed q0"
    ),
    Ordered("the priority", [on("p", "Drop", priority=2), on("q", "Allow", priority=1.9)], "Allowed q0"),
    Ordered("the priority before the kind", [on("p", "Drop", key="x"), on("q", "Allow", priority=6)], "Dropped p0"),
    Ordered("the rule before the kind", [on("p", "Pass", "Drop"), on("q", "Reject", key="x")], "Allowed no policy"),
    Ordered("the cluster's before the Namespace's", [on("a", "Drop", key="x"), on("z", "Allow")], "Allowed z0"),
    Ordered("the name at last", [on("z", "Drop"), on("a", "Allow")], "Allowed a0"),
    Ordered("allow opens what Kubernetes closes", [K8S_CLOSED, on("p", "Allow")], "Allowed p0"),
    Ordered("drop closes what Kubernetes opens", [K8S_OPEN, on("p", "Drop")], "Dropped p0"),
    Ordered("reject", [K8S_OPEN, on("p", "Reject")], "Rejected p0"),
    Ordered(
        "pass skips lower tiers, and meets isolation",
        [K8S_CLOSED, on("p", "Pass", tier="platform"), on("q", "Allow")],
        "Dropped isolation",
    ),
    Ordered(
        "pass meets what Kubernetes allows", [K8S_OPEN, on("p", "Pass"), on("b", "Drop", tier="baseline")], "Allowed "
    ),
    Ordered("pass meets the baseline", [on("p", "Pass", "Allow"), on("b", "Reject", tier="baseline")], "Rejected b0"),
    Ordered(
        "the baseline is for Pods that nothing isolates",
        [K8S_CLOSED, on("b", "Allow", tier="Baseline")],
        "Dropped isolation",
    ),
    Ordered("and comes after what Kubernetes allows", [K8S_OPEN, on("b", "Drop", tier="baseline")], "Allowed "),
    Ordered(
        "isolation of the other direction is another matter",
        [netpol("prod/np", {"policyTypes": ["Egress"]}), on("b", "Drop", tier="baseline")],
        "Dropped b0",
    ),
]


@pytest.mark.parametrize("case", ORDERED, ids=lambda case: case.name)
@pytest.mark.parametrize("backwards", [False, True], ids=["as told", "backwards"])
def test_order(case: Ordered, backwards: bool) -> None:
    given = judge(case.objects[::-1] if backwards else case.objects, "dbs/b prod/a TCP 80")

    outcome, _, deciding = case.given.partition(" ")
    told = given.replace("no policy | ", "", 1)
    assert told == f"{outcome} {deciding}"


# ------------------------------------------------------------------------------------------------------------- traffic


class Match(NamedTuple):
    name: str
    rule: dict[str, object]
    packet: str
    matches: bool


FROM = "dbs/b prod/a"
MATCHES = [
    Match("a named port", {"ports": [{"port": "web"}]}, f"{FROM} TCP 80", True),
    Match("a name that nobody has", {"ports": [{"port": "none"}]}, f"{FROM} TCP 80", False),
    Match("a protocol alone", {"ports": [{"protocol": "UDP"}]}, f"{FROM} UDP 7", True),
    Match("and no other", {"ports": [{"protocol": "UDP"}]}, f"{FROM} TCP 7", False),
    Match("a source port", {"ports": [{"sourcePort": 4000}]}, f"{FROM} TCP 80 4000", True),
    Match("another source port", {"ports": [{"sourcePort": 4000}]}, f"{FROM} TCP 80 4001", False),
    Match(
        "source ports",
        {"ports": [{"port": 80, "sourcePort": 4000, "sourceEndPort": 4001}]},
        f"{FROM} TCP 80 4001",
        True,
    ),
    Match("and the port", {"ports": [{"port": 81, "sourcePort": 4000}]}, f"{FROM} TCP 80 4000", False),
    Match("ports or protocols", {"ports": [{"port": 80}], "protocols": [{"icmp": {}}]}, f"{FROM} ICMP 3 1", True),
    Match("protocols or ports", {"ports": [{"port": 80}], "protocols": [{"icmp": {}}]}, f"{FROM} TCP 80", True),
    Match("protocols alone are not all", {"protocols": [{"icmp": {}}]}, f"{FROM} TCP 80", False),
    Match("a code of a type", {"protocols": [{"icmp": {"icmpType": 3, "icmpCode": 1}}]}, f"{FROM} ICMP 3 2", False),
    Match("a block", {"from": [{"ipBlock": {"cidr": "10.2.0.0/24"}}]}, f"{FROM} TCP 80", True),
    Match(
        "an except",
        {"from": [{"ipBlock": {"cidr": "10.2.0.0/24", "except": ["10.2.0.2/32"]}}]},
        f"{FROM} TCP 80",
        False,
    ),
    Match("Pods of any Namespace", {"from": [{"podSelector": {"matchLabels": {"app": "b"}}}]}, f"{FROM} TCP 80", True),
    Match("Self is not another", {"from": [{"namespaces": {"match": "Self"}}]}, f"{FROM} TCP 80", False),
    Match("nor are these the same", {"from": [{"namespaces": {"sameLabels": ["env"]}}]}, f"{FROM} TCP 80", False),
]


@pytest.mark.parametrize("case", MATCHES, ids=lambda case: case.name)
def test_what_a_rule_matches(case: Match) -> None:
    policy = acnp("p", {**TO_A, "ingress": [{"action": "Drop", **case.rule}]})

    assert judge([policy], case.packet).startswith("Dropped" if case.matches else "Allowed")


def test_the_namespaced_kind_means_its_own_namespace() -> None:
    policy = annp(
        "dbs/p", {"appliedTo": [{"podSelector": {}}], "ingress": [{"action": "Drop", "from": [{"podSelector": {}}]}]}
    )

    assert judge([policy], "dbs/b dbs/a TCP 80").startswith("Dropped")
    assert judge([policy], "prod/b dbs/a TCP 80").startswith("Allowed")
    assert judge([policy], "prod/b prod/a TCP 80").startswith("Allowed")
