"""What policies of secondary networks do to packets: each row a policy, and who gets through.

The rows that begin with a number are defects of the peers (docs/backends/tc.md lists them); each fails with its defect.
"""

from typing import Any, NamedTuple

import pytest

from sluice.contracts.objects import AnyObject
from sluice.dataplane.protocols import EthType
from sluice.dataplane.tc.content import Options
from sluice.testkit.builders import multi, namespace, network, pod
from sluice.testkit.tc_node import TcNode, frame
from sluice.testkit.tc_walker import Frame

A, B, C, OUTSIDE = "10.1.0.1", "10.1.0.2", "10.1.0.3", "192.0.2.7"
PODS: tuple[AnyObject, ...] = (
    namespace("x", env="prod"),
    namespace("y", env="test"),
    network("x/net"),
    pod("x/a", nets=[f"net={A},fd00::1"], ports=[("web", 80), ("dns", 53, "UDP")], app="a"),
    pod("x/b", nets=[f"net={B},fd00::2"], ports=[("web", 8080)], app="b"),
    pod("y/c", nets=[f"x/net={C},fd00::3"], app="c"),
)
"""a is policed, b and c are not."""

ON_A = {"podSelector": {"matchLabels": {"app": "a"}}}
BOTH = {**ON_A, "policyTypes": ["Ingress", "Egress"]}


class Sent(NamedTuple):
    protocol: str
    port: int
    out: bool
    """a sends it; otherwise a is sent it."""

    far: str
    passes: bool


def goes(far: str, *ports: int, protocol: str = "TCP") -> list[Sent]:
    return [Sent(protocol, port, True, far, True) for port in ports]


def stays(far: str, *ports: int, protocol: str = "TCP") -> list[Sent]:
    return [Sent(protocol, port, True, far, False) for port in ports]


def comes(far: str, *ports: int, protocol: str = "TCP") -> list[Sent]:
    return [Sent(protocol, port, False, far, True) for port in ports]


def kept_out(far: str, *ports: int, protocol: str = "TCP") -> list[Sent]:
    return [Sent(protocol, port, False, far, False) for port in ports]


class Case(NamedTuple):
    name: str
    spec: dict[str, Any]
    sent: list[Sent]


def egress(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**ON_A, "policyTypes": ["Egress"], "egress": list(rules), **more}


def ingress(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**ON_A, "policyTypes": ["Ingress"], "ingress": list(rules), **more}


def to(*peers: dict[str, Any], ports: list[Any] | None = None) -> dict[str, Any]:
    return {"to": list(peers), **({"ports": ports} if ports else {})}


def from_(*peers: dict[str, Any], ports: list[Any] | None = None) -> dict[str, Any]:
    return {"from": list(peers), **({"ports": ports} if ports else {})}


def block(cidr: str, *excepts: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": cidr, "except": list(excepts)}}


def pods(**labels: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": labels}}


B_POD = pods(app="b")
CASES = [
    Case("1 Ingress alone leaves egress open", ingress(), [*goes(B, 80), *goes(OUTSIDE, 80), *kept_out(B, 80)]),
    Case("1 Egress alone leaves ingress open", egress(), [*comes(B, 80), *stays(B, 80)]),
    Case("1 unset types mean Ingress", ON_A, [*kept_out(B, 80), *goes(B, 80)]),
    Case(
        "1 and Egress, too, with a rule", {**ON_A, "egress": [to(B_POD)]}, [*kept_out(B, 1), *goes(B, 1), *stays(C, 1)]
    ),
    Case(
        "2 ingress is enforced",
        ingress(from_(B_POD, ports=[{"port": 80}])),
        [*comes(B, 80), *kept_out(B, 81), *kept_out(C, 80)],
    ),
    Case("3 a named port of the peer", egress(to(B_POD, ports=[{"port": "web"}])), [*goes(B, 8080), *stays(B, 80, 1)]),
    Case("3 a named port of nobody opens nothing", egress(to(B_POD, ports=[{"port": "none"}])), stays(B, 80, 8080)),
    Case(
        "3 a named port of its own",
        ingress(from_(B_POD, ports=[{"port": "web"}, {"port": "dns", "protocol": "UDP"}])),
        [*comes(B, 80), *kept_out(B, 53, 8080), *comes(B, 53, protocol="UDP")],
    ),
    Case(
        "3 a named port of everybody",
        egress({"ports": [{"port": "web"}]}),
        [*goes(B, 8080), *stays(B, 80), *stays(C, 8080), *stays(OUTSIDE, 8080)],
    ),
    Case(
        "3 SCTP",
        egress(to(B_POD, ports=[{"port": 90, "protocol": "SCTP"}])),
        [*goes(B, 90, protocol="SCTP"), *stays(B, 91, protocol="SCTP"), *stays(B, 90)],
    ),
    Case(
        "3 a protocol alone",
        egress(to(B_POD, ports=[{"protocol": "UDP"}])),
        [*goes(B, 1, 9999, protocol="UDP"), *stays(B, 1), *stays(C, 1, protocol="UDP")],
    ),
    Case(
        "4 a selector that matches nobody, with ports, opens nothing",
        egress(to(pods(app="nobody"), ports=[{"port": 80}])),
        [*stays(B, 80), *stays(OUTSIDE, 80)],
    ),
    Case(
        "5 expressions of peers",
        egress(to({"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["b", "d"]}]}})),
        [*goes(B, 80), *stays(C, 80)],
    ),
    Case(
        "5 expressions of peers that are others",
        egress(to({"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["b"]}]}})),
        stays(B, 80),
    ),
    Case(
        "5 expressions of the policy",
        {"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["b"]}]}},
        [*kept_out(B, 80)],
    ),
    Case(
        "6 a range of ports",
        egress(to(B_POD, ports=[{"port": 5000, "endPort": 5900}])),
        [*goes(B, 5000, 5001, 5900), *stays(B, 4999, 5901)],
    ),
    Case(
        "7 an except is its own peer's",
        egress(to(block("192.0.2.0/24", "192.0.2.0/28"), block("192.0.2.0/29"))),
        [*goes("192.0.2.7", 80), *stays("192.0.2.8", 80), *goes("192.0.2.16", 80)],
    ),
    Case(
        "7 and another rule's is no matter",
        egress(to(block("10.0.0.0/8", f"{B}/32")), to(B_POD, ports=[{"port": 80}])),
        [*goes(B, 80), *stays(B, 81), *goes(C, 81)],
    ),
    Case(
        "8 an except is for all ports of its rule",
        egress(to(block("192.0.2.0/24", "192.0.2.7/32"), ports=[{"port": 80}])),
        [*stays("192.0.2.7", 80, 81), *goes("192.0.2.8", 80), *stays("192.0.2.8", 81)],
    ),
    Case(
        "excepts within blocks within excepts",
        egress(to(block("10.0.0.0/8", "10.2.0.0/16"), block("10.2.3.0/24", "10.2.3.4/32"))),
        [*goes("10.3.0.1", 1), *stays("10.2.0.1", 1), *goes("10.2.3.3", 1), *stays("10.2.3.4", 1)],
    ),
    Case("everybody", egress({}), [*goes(B, 1), *goes(OUTSIDE, 2, protocol="SCTP")]),
    Case("everybody, one port", egress({"ports": [{"port": 80}]}), [*goes(OUTSIDE, 80), *stays(OUTSIDE, 81)]),
    Case(
        "Namespaces and Pods",
        egress(to({"namespaceSelector": {"matchLabels": {"env": "test"}}, "podSelector": {}})),
        [*goes(C, 80), *stays(B, 80)],
    ),
    Case("Pods of the policy's own Namespace", egress(to({"podSelector": {}})), [*goes(B, 80), *stays(C, 80)]),
    Case(
        "a block is addresses, whoever has them",
        egress(to(block("10.1.0.2/31"))),
        [*goes(B, 1), *goes(C, 1), *stays("10.1.0.4", 1)],
    ),
    Case("a block beside a selector opens nothing", egress(to({**block("0.0.0.0/0"), **B_POD})), stays(B, 80)),
    Case(
        "IPv6",
        egress(to(B_POD, ports=[{"port": 80}]), to(block("2001:db8::/32", "2001:db8:1::/48"))),
        [*goes("fd00::2", 80), *stays("fd00::2", 81), *goes("2001:db8::1", 1), *stays("2001:db8:1::1", 1)],
    ),
    Case("ICMP is no port", egress(to(B_POD, ports=[{"port": 80}])), stays(B, 0, protocol="ICMP")),
    Case("and belongs to all traffic", egress(to(B_POD)), goes(B, 0, protocol="ICMP")),
]


def check(node: TcNode, sent: list[Sent]) -> None:
    """Each packet alone, to somebody who is not policed; and if it passes, the reply does."""
    a = node.key("x/a")
    for one in sent:
        near = A if ":" not in one.far else "fd00::1"
        ends = (near, one.far) if one.out else (one.far, near)
        packet = frame(*ends, one.protocol, one.port)
        policed = (a, None) if one.out else (None, a)
        assert node.sends(packet, *policed) is one.passes, one
        if one.passes:
            assert node.sends(packet.turned, *reversed(policed)), f"the reply of {one}"
            assert node.sends(packet, *policed), f"again {one}"


@pytest.mark.parametrize("zones", [True, False], ids=["zones", "no-zones"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_policies(case: Case, zones: bool):
    check(TcNode.of(*PODS, multi("x/mnp", case.spec), zones=zones).apply(), case.sent)


def test_policies_are_a_union():
    stacked: list[AnyObject] = [
        multi("x/one", egress(to(B_POD, ports=[{"port": 80}]))),
        multi("x/two", egress(to(B_POD, ports=[{"port": 90, "protocol": "UDP"}]), to(block("192.0.2.0/24")))),
        multi("x/three", ingress()),
    ]
    node = TcNode.of(*PODS, *stacked).apply()

    check(node, [*goes(B, 80), *stays(B, 90), *goes(B, 90, protocol="UDP"), *goes(OUTSIDE, 1), *kept_out(B, 80)])


def test_9_a_reply_needs_no_rule_of_its_own():
    """Checked with every row above; and nothing but the reply comes in."""
    node = TcNode.of(*PODS, multi("x/mnp", {**BOTH, "egress": [to(B_POD)]})).apply()
    a, out = node.key("x/a"), frame(A, B, "TCP", 80)

    assert not node.sends(out.turned, None, a)
    assert node.sends(out, a, None)
    assert node.sends(out.turned, None, a)
    assert not node.sends(frame(B, A, "TCP", 40_000, 81), None, a)


def test_an_error_about_a_known_connection_comes_in():
    node = TcNode.of(*PODS, multi("x/mnp", {**BOTH, "egress": [to(B_POD)]})).apply()
    a, out = node.key("x/a"), frame(A, B, "UDP", 80)
    error = frame("10.1.0.254", A, "ICMP")._replace(icmp_type=3, icmp_code=4, about=out)

    assert not node.sends(error, None, a)
    assert node.sends(out, a, None)
    assert node.sends(error, None, a)


NEIGHBOURS = [133, 134, 135, 136, 137]


@pytest.mark.parametrize("kind", NEIGHBOURS)
@pytest.mark.parametrize("tagged", [False, True], ids=["plain", "tagged"])
def test_10_neighbour_discovery_is_alive_and_so_is_arp(kind: int, tagged: bool):
    trunk = network("x/net", trunk=[{"id": 7}])
    node = TcNode.of(*PODS, trunk, multi("x/mnp", BOTH)).apply()
    a = node.key("x/a")

    for ends in ((a, None), (None, a)):
        solicitation = frame("fe80::2", "ff02::1:ff00:1", "ICMP", tagged=tagged)._replace(icmp_type=kind)
        assert node.sends(solicitation, *ends)
        assert node.sends(Frame(EthType.ARP, tagged=tagged), *ends)
        assert not node.sends(solicitation._replace(icmp_type=128), *ends)
        assert not node.sends(Frame(0x88CC, tagged=tagged), *ends)


def test_icmp_is_accepted_where_the_node_says_so():
    both = multi("x/mnp", BOTH)
    for v4, v6 in ((True, False), (False, True)):
        node = TcNode.of(*PODS, both, options=Options(accept_icmp=v4, accept_icmpv6=v6)).apply()
        a = node.key("x/a")
        for near, far, accepted in ((A, B, v4), ("fd00::1", "fd00::2", v6)):
            assert node.sends(frame(near, far, "ICMP"), a, None) is accepted
            assert node.sends(frame(far, near, "ICMP").turned, a, None) is accepted
            assert not node.sends(frame(near, far, "UDP", 1), a, None)


def test_tags_are_looked_into_on_a_trunk_and_dropped_elsewhere():
    policy = multi("x/mnp", egress(to(B_POD, ports=[{"port": 80}])))
    trunk = network("x/net", trunk=[{"id": 7}])
    for definition, looked_into in ((PODS[2], False), (trunk, True)):
        node = TcNode.of(*PODS, definition, policy).apply()
        a = node.key("x/a")
        for far in (B, "fd00::2"):
            near = A if far == B else "fd00::1"
            assert node.sends(frame(near, far, "TCP", 80, tagged=True), a, None) is looked_into
            assert not node.sends(frame(near, far, "TCP", 81, tagged=True), a, None)
            assert node.sends(frame(near, far, "TCP", 80), a, None)


def test_11_a_peer_counts_whatever_plugin_its_network_has():
    node = TcNode.of(*PODS, network("x/net", type="macvlan"), multi("x/mnp", egress(to(B_POD)))).apply()

    check(node, [*goes(B, 80), *stays(C, 80)])


def test_12_a_network_that_is_defined_late_changes_nothing_but_what_it_says():
    policy = multi("x/mnp", egress(to(B_POD)))
    without = [one for one in PODS if one is not PODS[2]]

    early, late = TcNode.of(*PODS, policy), TcNode.of(*without, policy, PODS[2])
    undefined = TcNode.of(*without, policy).apply()

    assert early.engine.contents(early.key("x/a")) == late.engine.contents(late.key("x/a"))
    check(undefined, [*goes(B, 80), *stays(C, 80)])


def test_19_a_status_without_namespace_is_of_the_pods_own():
    pods_: list[AnyObject] = [
        namespace("x"),
        pod("x/a", nets=[f"net={A}"], app="a"),
        pod("x/b", nets=[f"net={B}"], app="b"),
    ]
    node = TcNode.of(*pods_, multi("x/mnp", egress(to(B_POD)), about="x/net")).apply()

    check(node, [*goes(B, 80), *stays(C, 80)])


def test_two_policed_pods_of_one_node_each_decide():
    """The trap of a root that tracks untracked packets only: the second interface would let everything pass."""
    outgoing = egress({"ports": [{"port": 80, "endPort": 90, "protocol": one} for one in ("TCP", "UDP")]})
    incoming = {"ports": [{"port": 80, "protocol": one} for one in ("TCP", "UDP")]}
    node = TcNode.of(
        *PODS,
        multi("x/out", outgoing),
        multi("x/in", {"podSelector": {"matchLabels": {"app": "b"}}, "ingress": [incoming]}),
    ).apply()
    a, b = node.key("x/a"), node.key("x/b")

    for protocol in ("TCP", "UDP"):
        allowed, refused = frame(A, B, protocol, 80), frame(A, B, protocol, 81)
        assert node.sends(allowed, a, b)
        assert node.sends(allowed.turned, b, a)
        assert node.device(a).sends(refused)
        assert not node.sends(refused, a, b)


def test_overlapping_addresses_mean_the_interfaces_own_network_first():
    spec = {"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Egress"], "egress": [to(pods(app="w"))]}
    node = TcNode.of(
        namespace("x"),
        pod("x/a", nets=[f"n={A}"], app="a"),
        pod("x/b", nets=[f"n={B}"], app="b"),
        pod("x/w", nets=[f"m={B},{C}"], app="w"),
        multi("x/mnp", spec, about="n,m"),
    ).apply()

    check(node, [*goes(C, 80), *stays(B, 80)])
