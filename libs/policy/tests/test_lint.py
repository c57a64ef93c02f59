"""What is probably not meant: found, with both culprits, and nothing that is meant."""

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.objects import AnyObject, AnyPolicy, ObjectMeta, Pod, TrafficControl
from sluice.contracts.programs import Origin
from sluice.contracts.traffic_control import TrafficControlSpec
from sluice.grouping.events import ObjectEvent
from sluice.policy.ends import NoSuchEnd
from sluice.policy.lint import AboutNobody, Conflict, Finding, NeverMatches, NotInForce, SharedAddress, Starves, lint
from sluice.policy.packet import Packet
from sluice.policy.state import ClusterState
from sluice.policy.verdict import RuleRef, verdict
from sluice.testkit.antrea_strategies import antrea_stories
from sluice.testkit.builders import acnp, annp, group, multi, namespace, netpol, node, pod
from sluice.testkit.expanders import outcome
from sluice.testkit.strategies import packets

PODS: list[AnyObject] = [
    namespace("x", env="prod"),
    namespace("y"),
    pod("x/a", ip="10.0.0.1", ports=[("web", 80)], app="a"),
    pod("y/b", ip="10.0.0.2", app="b"),
    node("node-1", ip=["172.18.0.1"]),
]


def name(about: RuleRef | Origin) -> str:
    if isinstance(about, Origin):
        return about.name
    return f"{about.origin.name}[{about.index}]"


def told(finding: Finding) -> str:
    match finding:
        case NeverMatches():
            return f"{name(finding.rule)} < {name(finding.by)}"
        case Conflict():
            return f"{name(finding.first)} x {name(finding.second)}"
        case Starves():
            return f"{name(finding.rule)} starves by {name(finding.by)}"
        case NotInForce():
            return f"{finding.policy.name}: {finding.reason}"
        case AboutNobody():
            return f"{finding.policy.name} nobody"
        case SharedAddress():
            return f"{finding.pod.name} at {finding.address} of {finding.holder.name}"


def p(name: str, *rules: Any, to: Any = None, **spec: object) -> AnyPolicy:
    """A policy on all Pods, or on some, with these ingress rules."""
    written = [{"action": "Drop", "name": f"r{index}", **rule} for index, rule in enumerate(rules)]
    return acnp(name, {"appliedTo": [{"podSelector": to or {}}], "ingress": written, **spec})


A: Any = {"matchLabels": {"app": "a"}}
A_OR_B: Any = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["b", "a"]}]}
NOT_A: Any = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}
WITH_APP: Any = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
WEB: Any = {"ports": [{"port": 80}]}
LOW: Any = {"ports": [{"port": 1, "endPort": 1023}]}
ALLOW: Any = {"action": "Allow"}
PASS: Any = {"action": "Pass"}
OPEN = netpol("x/np", {"ingress": [{}]})
UDP_OPEN = netpol("x/np", {"ingress": [{"ports": [{"protocol": "UDP"}]}]})
HIGH_OPEN = netpol("x/np", {"ingress": [{"ports": [{"port": 8080}]}]})
INTO_ALL: Any = {"priority": 1, "appliedTo": [{"podSelector": {}}]}


def block(cidr: str, *excepts: str) -> dict[str, Any]:
    return {"from": [{"ipBlock": {"cidr": cidr, "except": list(excepts)}}]}


def pods(selector: dict[str, Any]) -> dict[str, Any]:
    return {"from": [{"podSelector": selector}]}


def to(selector: dict[str, Any]) -> dict[str, Any]:
    return {"to": [{"podSelector": selector}]}


def e(name: str, *rules: Any, **spec: object) -> AnyPolicy:
    """A policy on all Pods with these egress rules."""
    written = [{"action": "Drop", "name": f"r{index}", **rule} for index, rule in enumerate(rules)]
    return acnp(name, {"appliedTo": [{"podSelector": {}}], "egress": written, **spec})


def at(name: str, service: str, *rules: Any, **spec: object) -> AnyPolicy:
    """A policy on what comes to NodePorts of a Service, with these ingress rules."""
    written = [{"action": "Drop", "name": f"r{index}", **rule} for index, rule in enumerate(rules)]
    applied = [{"service": {"name": service, "namespace": "x"}}]
    return acnp(name, {"appliedTo": applied, "ingress": written, **spec})


UDP: Any = {"protocol": "UDP"}
FOO: Any = {"action": "Allow", "to": [{"fqdn": "*.foo.bar"}]}
DNS: Any = {"action": "Allow", "ports": [{**UDP, "port": 53}]}
SERVICE: Any = {"toServices": [{"name": "s", "namespace": "x"}]}
IGMP: Any = {"protocols": [{"igmp": {"igmpType": 0x16}}]}


class Case(NamedTuple):
    name: str
    policies: list[AnyPolicy]
    found: list[str]


CASES = [
    Case("nothing", [p("p", WEB, ALLOW)], []),
    Case("all before some", [p("p", {}, WEB)], ["p[1] < p[0]"]),
    Case("some before all", [p("p", WEB, {})], []),
    Case("of another policy", [p("p", WEB, priority=2), p("q", {}, priority=1)], ["p[0] < q[0]"]),
    Case("the later priority hides nothing", [p("p", WEB, priority=2), p("q", {}, priority=3)], []),
    Case("a range before a port", [p("p", LOW, WEB)], ["p[1] < p[0]"]),
    Case("a port before a range", [p("p", WEB, LOW)], []),
    Case("another protocol", [p("p", {"ports": [{"protocol": "UDP"}]}, WEB)], []),
    Case("only with a source port", [p("p", {"ports": [{"port": 80, "sourcePort": 1}]}, WEB)], []),
    Case(
        "ICMP before a type",
        [p("p", {"protocols": [{"icmp": {}}]}, {"protocols": [{"icmp": {"icmpType": 8}}]})],
        ["p[1] < p[0]"],
    ),
    Case("more Pods", [p("p", WEB, to=A_OR_B, priority=1), p("q", WEB, to=A)], ["q[0] < p[0]"]),
    Case("fewer Pods", [p("p", WEB, to=A, priority=1), p("q", WEB, to=A_OR_B)], []),
    Case("those with the label", [p("p", WEB, to=WITH_APP, priority=1), p("q", WEB, to=A)], ["q[0] < p[0]"]),
    Case("those without", [p("p", WEB, to=NOT_A, priority=1), p("q", WEB, to=A)], []),
    Case("more peers", [p("p", pods(A_OR_B), pods(A))], ["p[1] < p[0]"]),
    Case("fewer peers", [p("p", pods(A), pods(A_OR_B))], []),
    Case("a wider block", [p("p", block("10.0.0.0/8"), block("10.1.0.0/16"))], ["p[1] < p[0]"]),
    Case("a block with a hole", [p("p", block("10.0.0.0/8", "10.1.2.0/24"), block("10.1.0.0/16"))], []),
    Case(
        "with the same hole",
        [p("p", block("10.0.0.0/8", "10.1.2.0/24"), block("10.1.0.0/16", "10.1.2.0/24"))],
        ["p[1] < p[0]"],
    ),
    Case("a block is not everybody", [p("p", block("0.0.0.0/0"), {})], []),
    Case("Pass hides the tiers below", [p("p", PASS, tier="platform"), p("q", WEB)], ["q[0] < p[0]"]),
    Case("and no Kubernetes policy", [p("p", PASS), OPEN], []),
    Case("nor does what a Pass leads by", [p("p", {**PASS, **pods(A)}, {}), OPEN], []),
    Case("a Pass of other traffic leads by nothing", [p("p", {**PASS, **LOW}, {}), UDP_OPEN], ["np[0] < p[1]"]),
    Case("nor one of other ports", [p("p", {**PASS, **LOW}, {}), HIGH_OPEN], ["np[0] < p[1]"]),
    Case(
        "nor one in another Namespace",
        [annp("y/q", {**INTO_ALL, "ingress": [PASS]}), p("p", {}), OPEN],
        ["np[0] < p[0]"],
    ),
    Case("a Pass that comes too late", [p("p", {}), p("q", PASS, priority=6), OPEN], ["q[0] < p[0]", "np[0] < p[0]"]),
    Case("the baseline is led to as well", [p("p", {**PASS, **WEB}, {}), p("b", WEB, tier="baseline")], []),
    Case("drop hides what Kubernetes allows", [p("p", {}), OPEN], ["np[0] < p[0]"]),
    Case(
        "Kubernetes policies hide nothing from each other",
        [OPEN, netpol("x/n2", {"ingress": [{"ports": [{"port": 80}]}]})],
        [],
    ),
    Case("on another network", [p("p", {}), multi("x/mnp", {"ingress": [{}]})], []),
    # -- conflicts
    Case("equal priorities", [p("p", WEB, to=A), p("q", ALLOW, to=A_OR_B)], ["p[0] x q[0]"]),
    Case("of one mind", [p("p", WEB, to=A), p("q", LOW, to=A_OR_B, priority=5)], []),
    Case("other priorities", [p("p", WEB, to=A), p("q", ALLOW, to=A_OR_B, priority=6)], []),
    Case("other Pods", [p("p", WEB, to=A), p("q", ALLOW, to={"matchLabels": {"app": "b"}})], []),
    Case("other traffic", [p("p", WEB, to=A), p("q", {**ALLOW, "ports": [{"port": 81}]}, to=A_OR_B)], []),
    Case(
        "a name that is that number",
        [p("p", WEB, to=A), p("q", {**ALLOW, "ports": [{"port": "web"}]}, to=A_OR_B)],
        ["p[0] x q[0]"],
    ),
    Case(
        "a Pod in a block",
        [p("p", pods({"matchLabels": {"app": "b"}}), to=A), p("q", {**ALLOW, **block("10.0.0.0/24")}, to=A)],
        ["p[0] x q[0]"],
    ),
    Case(
        "a Pod in its hole",
        [
            p("p", pods({"matchLabels": {"app": "b"}}), to=A),
            p("q", {**ALLOW, **block("10.0.0.0/24", "10.0.0.2/32")}, to=A),
        ],
        [],
    ),
    # -- names of DNS
    Case("a name, and nothing else", [e("p", FOO, {})], ["p[0] starves by p[1]"]),
    Case("with DNS allowed before", [e("p", FOO, DNS, {})], []),
    Case("with some DNS allowed before", [e("p", FOO, {**DNS, **to(A)}, {})], []),
    Case("with DNS allowed too late", [e("p", FOO, {}, DNS)], ["p[2] < p[1]", "p[0] starves by p[1]"]),
    Case("with TCP allowed", [e("p", FOO, {**ALLOW, "ports": [{"port": 53}]}, {})], ["p[0] starves by p[2]"]),
    Case("with a range allowed", [e("p", FOO, {**ALLOW, "ports": [{**UDP, "port": 1, "endPort": 99}]}, {})], []),
    Case("with a Pass", [e("p", FOO, PASS, {})], ["p[2] < p[1]"]),
    Case("some DNS is dropped", [e("p", FOO, {**to(A)})], []),
    Case("a drop by name says nothing", [e("p", {**FOO, "action": "Drop"}, {})], []),
    Case("nothing is dropped", [e("p", FOO)], []),
    Case("by another policy", [e("p", FOO), e("q", {}, priority=6)], ["p[0] starves by q[0]"]),
    Case(
        "by isolation",
        [e("p", FOO), netpol("x/np", {"policyTypes": ["Egress"]})],
        ["p[0] starves by np"],
    ),
    Case(
        "not if Kubernetes allows it",
        [e("p", FOO), netpol("x/np", {"policyTypes": ["Egress"], "egress": [{"ports": [{"protocol": "UDP"}]}]})],
        [],
    ),
    Case(
        "the baseline comes after",
        [
            e("p", FOO, appliedTo=[{"podSelector": A}]),
            e("b", {}, tier="baseline"),
            netpol("x/np", {"egress": [{}], "policyTypes": ["Egress"]}),
        ],
        [],
    ),
    # -- Services and names
    Case("a name again", [e("p", {**FOO, "action": "Drop"}, {**FOO, "action": "Drop"})], ["p[1] < p[0]"]),
    Case("a Service again", [e("p", SERVICE, SERVICE)], ["p[1] < p[0]"]),
    Case("another Service", [e("p", SERVICE, {"toServices": [{"name": "t", "namespace": "x"}]})], []),
    Case("IGMP of a type", [e("p", {"protocols": [{"igmp": {}}]}, IGMP)], ["p[1] < p[0]"]),
    Case("all IGMP", [e("p", IGMP, {"protocols": [{"igmp": {}}]})], []),
    Case("at one Service", [at("p", "s", {}, WEB)], ["p[1] < p[0]"]),
    Case("at two Services", [at("p", "s", {}, priority=1), at("q", "t", {})], []),
    Case("two at one Service", [at("p", "s", WEB), at("q", "s", {**ALLOW, **LOW})], ["p[0] x q[0]"]),
    Case("two at two Services", [at("p", "s", {}), at("q", "t", ALLOW)], []),
    # -- nobody
    Case("a group that is empty", [acnp("p", {"appliedTo": [{"group": "g"}], "ingress": [ALLOW]})], ["p nobody"]),
    Case("a Node", [acnp("p", {"appliedTo": [{"nodeSelector": {}}], "ingress": [ALLOW]})], []),
    Case("no Node", [acnp("p", {"appliedTo": [{"nodeSelector": A}], "ingress": [ALLOW]})], ["p nobody"]),
    Case("nobody has the label", [p("p", WEB, to={"matchLabels": {"app": "c"}})], ["p nobody"]),
    Case("nobody in the Namespace", [netpol("z/np")], ["np nobody"]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_findings(case: Case) -> None:
    assert [told(one) for one in lint(ClusterState([*PODS, *case.policies]), case.policies)] == case.found


def test_isolation_comes_before_the_baseline() -> None:
    policies: list[AnyPolicy] = [netpol("x/np"), p("b", WEB, to=A, tier="baseline")]
    one_more = acnp(
        "c",
        {
            "tier": "baseline",
            "appliedTo": [{"podSelector": A}],
            "ingress": [{"action": "Drop", "from": [{"namespaces": {"match": "Self"}}]}],
        },
    )
    state = ClusterState([namespace("x"), pod("x/a", ip="10.0.0.1", app="a"), *policies, one_more])

    assert [told(one) for one in lint(state, policies)] == ["c[0] < np"]


def test_without_pods_nobody_is_missed() -> None:
    policies = [p("p", WEB, to=A)]

    assert lint(ClusterState(policies), policies) == []


@given(antrea_stories(), st.lists(packets, min_size=10, max_size=30))
def test_what_never_matches_decides_about_no_packet(events: list[ObjectEvent], asked: list[Packet]) -> None:
    state = ClusterState()
    for event in events:
        state.evolve(event)
    there = [event.object for event in outcome(events).values()]
    found = lint(state, [one for one in there if isinstance(one, AnyPolicy)])
    hidden = {one.rule for one in found if isinstance(one, NeverMatches)}
    for packet in asked:
        try:
            given = verdict(state, packet)
        except NoSuchEnd:
            continue
        for decision in (given.egress, given.ingress):
            if decision is not None:
                assert decision.reason not in hidden
                assert not hidden & set(decision.passed)


def test_a_policy_that_is_not_in_force_is_told_with_the_reason_and_once() -> None:
    policy = annp("x/p", {"appliedTo": [{"group": "g"}], "ingress": [{"action": "Drop"}]})
    state = ClusterState([*PODS, policy, group("x/g", {"namespaceSelector": {}})])

    (found,) = lint(state, [policy])
    assert told(found).startswith(
        "p: NetworkPolicy x/p $.spec.appliedTo[0]: the Group x/g selects Pods of Namespace y too"
    )


@pytest.mark.parametrize(
    ("chosen", "followed"),
    [
        ({"podSelector": {}}, True),
        ({"podSelector": A}, True),
        ({"podSelector": A, "namespaceSelector": {"matchLabels": {"env": "prod"}}}, True),
        ({"podSelector": {"matchLabels": {"app": "b"}}, "namespaceSelector": {"matchLabels": {"env": "prod"}}}, False),
        ({"podSelector": {"matchLabels": {"app": "none"}}}, False),
        ({}, False),
    ],
)
def test_a_traffic_control_that_selects_nothing(chosen: dict[str, Any], followed: bool) -> None:
    spec = {"appliedTo": chosen, "direction": "Both", "action": "Mirror", "targetPort": {"device": {"name": "eno2"}}}
    control = TrafficControl(
        api_version="crd.antrea.io/v1alpha2",
        kind="TrafficControl",
        metadata=ObjectMeta(name="mirror"),
        spec=msgspec.convert(spec, TrafficControlSpec),
    )

    assert [told(one) for one in lint(ClusterState(PODS), [control])] == ([] if followed else ["mirror nobody"])


SHARED: list[tuple[str, list[Pod], list[str]]] = [
    ("each its own", [pod("x/a", ip="10.0.0.1"), pod("x/b", ip="10.0.0.2")], []),
    (
        "the later created has it",
        [pod("x/new", ip="10.0.0.1", created="2026-07-04T12:00:01Z"), pod("x/old", ip="10.0.0.1")],
        ["old at 10.0.0.1 of new"],
    ),
    ("one has ended", [pod("x/a", ip="10.0.0.1"), pod("x/b", ip="10.0.0.1", phase="Succeeded")], []),
    ("on the node's network", [pod("x/a", ip="10.0.0.1"), pod("x/b", ip="10.0.0.1", host_network=True)], []),
    (
        "of three two are nobody",
        [pod(f"x/{name}", ip="fd00::1", created=f"2026-07-04T12:00:0{at}Z") for at, name in enumerate("abc")],
        ["a at fd00::1 of c", "b at fd00::1 of c"],
    ),
]


@pytest.mark.parametrize(("pods", "found"), [case[1:] for case in SHARED], ids=[case[0] for case in SHARED])
def test_live_pods_with_one_address(pods: list[Pod], found: list[str]) -> None:
    assert [told(one) for one in lint(ClusterState(pods), [])] == found
