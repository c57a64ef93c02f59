"""Kubernetes NetworkPolicy, row by row: who may talk to whom, and what decides it."""

from typing import Any, NamedTuple, assert_never

import pytest

from sluice.contracts.ids import Address, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject, K8sNetworkPolicy
from sluice.policy.ends import NoSuchEnd
from sluice.policy.packet import AddressEnd, End, Packet, PodEnd
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Decision, Isolation, Itself, NoPolicy, Outcome, OwnNode, RuleRef, Verdict, verdict
from sluice.testkit.builders import namespace, netpol, node, pod

CLUSTER: list[AnyObject] = [
    namespace("x", env="prod", team="one"),
    namespace("y", env="test"),
    namespace("z"),
    pod("x/web", ip=["10.0.0.1", "fd00::1"], ports=[("http", 80), ("dns", 53, "UDP"), 9090], app="web"),
    pod("x/db", ip=["10.0.0.2", "fd00::2"], ports=[("http", 8080)], app="db"),
    pod("y/web", ip="10.0.1.1", node="node-2", app="web"),
    pod("y/bare", ip="10.0.1.2"),
    pod("z/six", ip="fd00::3", app="web"),
    pod("z/waiting", app="web"),
    pod("unknown/web", ip="10.0.3.1", app="web"),
    pod("x/host", ip="192.168.0.1", host_network=True, app="web"),
    pod("z/host", ip="172.18.0.1", host_network=True),
    node("node-1", ip=["172.18.0.1"], transport="10.0.0.254"),
    node("node-2", ip=["172.18.0.2"]),
    pod("x/done", ip="10.0.0.9", phase="Succeeded", app="web"),
]


def end(text: str) -> End:
    return PodEnd(*text.split("/")) if "/" in text else AddressEnd(Address(text))


def short(decision: Decision | None) -> str:
    """The deciding rule, the policies that isolate, or a word."""
    if decision is None:
        return "-"
    match decision.reason:
        case RuleRef(origin=origin, direction=direction, index=index):
            return f"{origin.namespace}/{origin.name} {direction}[{index}]"
        case Isolation(policies=policies):
            return "isolated by " + ", ".join(f"{origin.namespace}/{origin.name}" for origin in policies)
        case NoPolicy():
            return "no policy"
        case Itself():
            return "itself"
        case OwnNode():
            return "own node"
        case _:
            assert_never(decision.reason)


def rule(**fields: Any) -> dict[str, Any]:
    return {"from" if key == "from_" else key: value for key, value in fields.items()}


def ingress(*rules: dict[str, Any], key: str = "x/in", **labels: str) -> K8sNetworkPolicy:
    return netpol(key, {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"], "ingress": rules})


def egress(*rules: dict[str, Any], key: str = "x/out", **labels: str) -> K8sNetworkPolicy:
    return netpol(key, {"podSelector": {"matchLabels": labels}, "policyTypes": ["Egress"], "egress": rules})


WEB = {"podSelector": {"matchLabels": {"app": "web"}}}
DB = {"podSelector": {"matchLabels": {"app": "db"}}}
PROD = {"namespaceSelector": {"matchLabels": {"env": "prod"}}}
TEST = {"namespaceSelector": {"matchLabels": {"env": "test"}}}
ALL_NAMESPACES: dict[str, Any] = {"namespaceSelector": {}}
NOT_PROD = {"namespaceSelector": {"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["prod"]}]}}


def block(cidr: str, *excepts: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": cidr, "except": list(excepts)}}


ALLOWED, DROPPED = Outcome.ALLOWED, Outcome.DROPPED


class Case(NamedTuple):
    name: str
    policies: list[K8sNetworkPolicy]
    packet: str
    """From, to, protocol, port."""

    outcome: Outcome
    egress: str = "no policy"
    ingress: str = "no policy"


CLOSED = ingress()
OPEN = ingress(rule())

CASES = [
    # -- who is isolated
    Case("no policy at all", [], "y/web x/web TCP 80", ALLOWED),
    Case("an empty policy closes ingress", [netpol("x/np")], "y/web x/web TCP 80", DROPPED, ingress="isolated by x/np"),
    Case("and leaves egress open", [netpol("x/np")], "x/web y/web TCP 80", ALLOWED),
    Case("in its Namespace alone", [netpol("x/np")], "x/web y/web TCP 80", ALLOWED),
    Case("inside the Namespace as well", [CLOSED], "x/db x/web TCP 80", DROPPED, ingress="isolated by x/in"),
    Case("for all protocols", [CLOSED], "y/web x/web ICMP 0", DROPPED, ingress="isolated by x/in"),
    Case("only those it selects", [ingress(app="db")], "y/web x/web TCP 80", ALLOWED),
    Case("those it selects", [ingress(app="web")], "y/web x/web TCP 80", DROPPED, ingress="isolated by x/in"),
    Case("egress", [egress()], "x/web y/web TCP 80", DROPPED, egress="isolated by x/out"),
    Case("egress alone", [egress()], "y/web x/web TCP 80", ALLOWED),
    Case(
        "both, and egress decides first",
        [egress(key="x/out"), ingress(key="y/in")],
        "x/web y/web TCP 80",
        DROPPED,
        egress="isolated by x/out",
        ingress="isolated by y/in",
    ),
    Case(
        "an egress rule closes both directions",
        [netpol("x/np", {"egress": [{}]})],
        "y/web x/web TCP 80",
        DROPPED,
        ingress="isolated by x/np",
    ),
    Case(
        "ingress rules of a policy about egress allow nothing",
        [CLOSED, netpol("x/np", {"policyTypes": ["Egress"], "ingress": [{}]})],
        "y/web x/web TCP 80",
        DROPPED,
        ingress="isolated by x/in",
    ),
    Case(
        "several policies isolate",
        [ingress(key="x/b"), ingress(key="x/a", app="web")],
        "y/web x/web TCP 80",
        DROPPED,
        ingress="isolated by x/a, x/b",
    ),
    # -- unions
    Case("an empty rule allows all", [OPEN], "y/web x/web TCP 80", ALLOWED, ingress="x/in ingress[0]"),
    Case("from outside, too", [OPEN], "192.0.2.1 x/web TCP 80", ALLOWED, "-", "x/in ingress[0]"),
    Case("and ICMP", [OPEN], "y/web x/web ICMP 0", ALLOWED, ingress="x/in ingress[0]"),
    Case(
        "what any policy allows is allowed",
        [CLOSED, ingress(rule(from_=[DB]), key="x/more", app="web")],
        "x/db x/web TCP 80",
        ALLOWED,
        ingress="x/more ingress[0]",
    ),
    Case(
        "the first rule that allows is named",
        [ingress(rule(from_=[WEB]), rule(from_=[DB]), rule())],
        "x/db x/web TCP 80",
        ALLOWED,
        ingress="x/in ingress[1]",
    ),
    Case(
        "of two policies the one whose rule comes first, then whose name does",
        [ingress(rule(from_=[WEB]), rule(), key="x/a"), ingress(rule(), key="x/c"), ingress(rule(), key="x/b")],
        "x/db x/web TCP 80",
        ALLOWED,
        ingress="x/b ingress[0]",
    ),
    Case(
        "both directions must allow",
        [egress(rule(to=[WEB])), ingress(rule(from_=[WEB]))],
        "x/db x/web TCP 80",
        DROPPED,
        egress="x/out egress[0]",
        ingress="isolated by x/in",
    ),
    Case(
        "both directions do",
        [egress(rule(to=[WEB])), ingress(rule(from_=[DB]))],
        "x/db x/web TCP 80",
        ALLOWED,
        egress="x/out egress[0]",
        ingress="x/in ingress[0]",
    ),
    Case(
        "an unknown Namespace has policies",
        [ingress(key="unknown/in")],
        "x/web unknown/web TCP 80",
        DROPPED,
        ingress="isolated by unknown/in",
    ),
    Case("no policy isolates the host's network", [CLOSED], "y/web x/host TCP 80", ALLOWED, ingress="-"),
    Case(
        "a Pod without an address is in its groups",
        [ingress(rule(from_=[PROD]), key="z/in")],
        "x/db z/waiting TCP 80",
        ALLOWED,
        ingress="z/in ingress[0]",
    ),
    Case(
        "the ports of one rule are not for the peers of another",
        [ingress(rule(ports=[{"port": 80}], from_=[WEB]), rule(ports=[{"port": 81}], from_=[TEST]))],
        "y/web x/db TCP 80",
        DROPPED,
        ingress="isolated by x/in",
    ),
    # -- oneself
    Case("a Pod talks to itself", [CLOSED, egress()], "x/web x/web TCP 80", ALLOWED, "itself", "itself"),
    Case("by its address", [CLOSED, egress()], "x/web fd00::1 TCP 80", ALLOWED, "itself", "itself"),
    # -- the node that runs a Pod
    Case("a node reaches its Pods", [CLOSED], "172.18.0.1 x/db TCP 80", ALLOWED, "-", "own node"),
    Case("from its gateway", [CLOSED], "10.0.0.254 x/db ICMP 0", ALLOWED, "-", "own node"),
    Case("a Pod in its network does", [CLOSED], "z/host x/db TCP 80", ALLOWED, "-", "own node"),
    Case("another node does not", [CLOSED], "172.18.0.2 x/db TCP 80", DROPPED, ingress="isolated by x/in"),
    Case("a Pod is not free to reach its node", [egress()], "x/db 172.18.0.1 TCP 80", DROPPED, "isolated by x/out"),
    # -- beyond the cluster
    Case("two addresses are not ours to judge", [CLOSED], "192.0.2.1 192.0.2.2 TCP 80", ALLOWED, "-", "-"),
]


def judge(policies: list[K8sNetworkPolicy], packet: str) -> Verdict:
    source, destination, protocol, port = packet.split()
    fields: Any = {"protocol": protocol, "port": int(port)}
    return verdict(
        ClusterState([*CLUSTER, *policies]), Packet(source=end(source), destination=end(destination), **fields)
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_verdict(case: Case) -> None:
    given = judge(case.policies, case.packet)

    assert (given.outcome, short(given.egress), short(given.ingress)) == (case.outcome, case.egress, case.ingress)


IN, OUT = "ingress", "egress"
UDP, SCTP = {"protocol": "UDP"}, {"protocol": "SCTP"}
RANGE = {"port": 80, "endPort": 90}
EVERYBODY: dict[str, Any] = {"podSelector": {}}
DOC, HOLED = block("192.0.2.0/24"), block("192.0.2.0/24", "192.0.2.0/28")


def peers(*wanted: dict[str, Any]) -> dict[str, Any]:
    return {"peers": wanted}


def ports(*wanted: int | str | dict[str, Any]) -> dict[str, Any]:
    return {"ports": [one if isinstance(one, dict) else {"port": one} for one in wanted]}


class Row(NamedTuple):
    """A policy of the Pods of x, about one direction, with one rule."""

    name: str
    direction: str
    rule: dict[str, Any]
    packet: str
    outcome: Outcome


ROWS = [
    # -- peers
    Row("a podSelector is of the own Namespace", IN, peers(WEB), "y/web x/db TCP 80", DROPPED),
    Row("a podSelector", IN, peers(WEB), "x/web x/db TCP 80", ALLOWED),
    Row("an empty podSelector is the Namespace", IN, peers(EVERYBODY), "x/web x/db TCP 80", ALLOWED),
    Row("and no other", IN, peers(EVERYBODY), "y/bare x/db TCP 80", DROPPED),
    Row("a namespaceSelector", IN, peers(TEST), "y/bare x/db TCP 80", ALLOWED),
    Row("which is not of this one", IN, peers(TEST), "x/web x/db TCP 80", DROPPED),
    Row("both are a conjunction", IN, peers(TEST | WEB), "y/web x/db TCP 80", ALLOWED),
    Row("of which one half is not enough", IN, peers(TEST | WEB), "y/bare x/db TCP 80", DROPPED),
    Row("nor the other", IN, peers(TEST | WEB), "x/web x/db TCP 80", DROPPED),
    Row("two are a union", IN, peers(TEST, WEB), "y/bare x/db TCP 80", ALLOWED),
    Row("of either", IN, peers(TEST, WEB), "x/web x/db TCP 80", ALLOWED),
    Row("all Namespaces", IN, peers(ALL_NAMESPACES), "y/bare x/db TCP 80", ALLOWED),
    Row("all Namespaces are not the world", IN, peers(ALL_NAMESPACES), "192.0.2.1 x/db TCP 80", DROPPED),
    Row("nor Namespaces that are not known", IN, peers(ALL_NAMESPACES), "unknown/web x/db TCP 80", DROPPED),
    Row("NotIn matches Namespaces without the label", IN, peers(NOT_PROD), "z/six x/db TCP 80", ALLOWED),
    Row("but no unknown ones", IN, peers(NOT_PROD), "unknown/web x/db TCP 80", DROPPED),
    Row("egress to Pods", OUT, peers(TEST | WEB), "x/db y/web TCP 80", ALLOWED),
    Row("egress to others", OUT, peers(TEST | WEB), "x/db y/bare TCP 80", DROPPED),
    Row("no selector selects the host's network", IN, peers(WEB), "x/host x/db TCP 80", DROPPED),
    # -- blocks
    Row("a block", IN, peers(DOC), "192.0.2.1 x/db TCP 80", ALLOWED),
    Row("beyond it", IN, peers(DOC), "192.0.3.1 x/db TCP 80", DROPPED),
    Row("its except", IN, peers(HOLED), "192.0.2.15 x/db TCP 80", DROPPED),
    Row("beside its except", IN, peers(HOLED), "192.0.2.16 x/db TCP 80", ALLOWED),
    Row("and another block allows", IN, peers(HOLED, block("192.0.2.7/32")), "192.0.2.7 x/db TCP 80", ALLOWED),
    Row("a block holds Pods, too", IN, peers(block("10.0.1.0/24")), "y/web x/db TCP 80", ALLOWED),
    Row("the world", IN, peers(block("0.0.0.0/0")), "192.0.2.1 x/db TCP 80", ALLOWED),
    Row("of one family", IN, peers(block("0.0.0.0/0")), "z/six x/db TCP 80", DROPPED),
    Row("of the other family", IN, peers(block("::/0")), "z/six x/db TCP 80", ALLOWED),
    Row("egress to a block", OUT, peers(DOC), "x/db 192.0.2.1 TCP 80", ALLOWED),
    Row("egress beyond it", OUT, peers(DOC), "x/db 192.0.3.1 TCP 80", DROPPED),
    Row(
        "a Pod in the host's network is its address", IN, peers(block("192.168.0.0/24")), "x/host x/db TCP 80", ALLOWED
    ),
    Row("an address of a Pod is the Pod", IN, peers(TEST), "10.0.1.1 x/db TCP 80", ALLOWED),
    Row("an address that a Pod had is nobody's", IN, peers(WEB), "10.0.0.9 x/db TCP 80", DROPPED),
    # -- ports
    Row("a port", IN, ports(80), "y/web x/db TCP 80", ALLOWED),
    Row("another port", IN, ports(80), "y/web x/db TCP 81", DROPPED),
    Row("another protocol", IN, ports(80), "y/web x/db UDP 80", DROPPED),
    Row("ICMP has no ports", IN, ports(80, UDP), "y/web x/db ICMP 80", DROPPED),
    Row("all ports of a protocol", IN, ports(SCTP), "y/web x/db SCTP 7", ALLOWED),
    Row("and of no other", IN, ports(SCTP), "y/web x/db TCP 7", DROPPED),
    Row("the first of a range", IN, ports(RANGE), "y/web x/db TCP 80", ALLOWED),
    Row("the last of a range", IN, ports(RANGE), "y/web x/db TCP 90", ALLOWED),
    Row("after a range", IN, ports(RANGE), "y/web x/db TCP 91", DROPPED),
    Row("before a range", IN, ports(RANGE), "y/web x/db TCP 79", DROPPED),
    Row("ports and peers are a conjunction", IN, ports(80) | peers(WEB), "y/web x/db TCP 80", DROPPED),
    Row("of both", IN, ports(80) | peers(TEST), "y/web x/db TCP 80", ALLOWED),
    # -- named ports: the destination's, in both directions
    Row("a named port", IN, ports("http"), "y/web x/web TCP 80", ALLOWED),
    Row("is another number elsewhere", IN, ports("http"), "y/web x/db TCP 8080", ALLOWED),
    Row("and not this one", IN, ports("http"), "y/web x/db TCP 80", DROPPED),
    Row("with its protocol", IN, ports(UDP | {"port": "dns"}), "y/web x/web UDP 53", ALLOWED),
    Row("and with no other", IN, ports("dns"), "y/web x/web TCP 53", DROPPED),
    Row("a name that nobody has", IN, ports("none"), "y/web x/web TCP 80", DROPPED),
    Row("egress to a named port", OUT, ports("http"), "x/web x/db TCP 8080", ALLOWED),
    Row("which is not the source's", OUT, ports("http"), "x/web x/db TCP 80", DROPPED),
    Row("which no address has", OUT, ports("http"), "x/web 192.0.2.1 TCP 80", DROPPED),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_one_rule(row: Row) -> None:
    written = {"from" if row.direction == IN else "to": row.rule.get("peers", []), "ports": row.rule.get("ports", [])}
    policy = ingress(written) if row.direction == IN else egress(written)

    given = judge([policy], row.packet)

    by = short(given.ingress if row.direction == IN else given.egress)
    assert (given.outcome, by) == (
        (ALLOWED, f"x/in {IN}[0]" if row.direction == IN else f"x/out {OUT}[0]")
        if row.outcome == ALLOWED
        else (DROPPED, "isolated by x/in" if row.direction == IN else "isolated by x/out")
    )


FAMILIES = [
    ("4", "10.0.0.0/8", ALLOWED),
    ("6", "10.0.0.0/8", DROPPED),
    ("6", "fd00::/64", ALLOWED),
    ("4", "fd00::/64", DROPPED),
    ("", "10.0.0.0/8", ALLOWED),
]


@pytest.mark.parametrize(("family", "cidr", "outcome"), FAMILIES, ids=[f"{row[0]} {row[1]}" for row in FAMILIES])
def test_of_two_families_the_packet_says_which(family: str, cidr: str, outcome: Outcome) -> None:
    state = ClusterState([*CLUSTER, ingress(rule(from_=[block(cidr)]))])
    asked: Any = int(family) if family else None
    packet = Packet(source=end("x/db"), destination=end("x/web"), protocol="TCP", port=80, family=asked)

    assert verdict(state, packet).outcome == outcome


IMPOSSIBLE = [
    ("x/nobody", "x/web", None, "x/nobody: no such Pod among the objects; check its name"),
    ("x/web", "x/done", None, "x/done: the Pod sends and receives nothing: .*; check spec.nodeName"),
    (
        "y/web",
        "z/six",
        None,
        r"y/web \(10.0.1.1\) to z/six \(fd00::3\): no addresses of the same family, .*; give both such an address",
    ),
    ("y/web", "x/web", 6, "no addresses of the same family"),
    ("x/web", "192.0.2.1", 6, "no addresses of the same family"),
]


@pytest.mark.parametrize(
    ("source", "destination", "family", "message"), IMPOSSIBLE, ids=[f"{row[0]} to {row[1]}" for row in IMPOSSIBLE]
)
def test_a_packet_that_cannot_be(source: str, destination: str, family: Any, message: str) -> None:
    packet = Packet(source=end(source), destination=end(destination), protocol="TCP", port=80, family=family)

    with pytest.raises(NoSuchEnd, match=message):
        verdict(ClusterState(CLUSTER), packet)


def test_of_two_pods_with_one_address_the_later_created_is_meant() -> None:
    old = pod("x/old", ip="10.0.0.50", created="2024-05-01T10:00:00Z", app="db")
    new = pod("y/new", ip="10.0.0.50", created="2024-05-01T11:00:00Z")
    state = ClusterState([*CLUSTER, old, new, ingress(rule(from_=[DB]))])
    packet = Packet(source=AddressEnd(Address("10.0.0.50")), destination=end("x/web"), protocol="TCP", port=80)

    assert verdict(state, packet).outcome == DROPPED
    assert verdict(ClusterState([*CLUSTER, new, old, ingress(rule(from_=[DB]))]), packet).outcome == DROPPED


def test_a_verdict_follows_the_state() -> None:
    state = ClusterState([*CLUSTER, ingress(rule(from_=[TEST]))])
    packet = Packet(source=end("y/web"), destination=end("x/web"), protocol="TCP", port=80)
    assert verdict(state, packet).outcome == ALLOWED

    state.put(namespace("y", env="prod"), Revision(2, 1))
    assert verdict(state, packet).outcome == DROPPED

    state.delete(Kind.K8S_NETWORK_POLICY, "x", "in", Revision(2, 2))
    assert verdict(state, packet).outcome == ALLOWED

    state.put(egress(key="y/out"), Revision(2, 3))
    assert verdict(state, packet).outcome == DROPPED

    state.put(pod("y/web", ip="10.0.1.1", host_network=True), Revision(2, 4))
    assert verdict(state, packet).outcome == ALLOWED
