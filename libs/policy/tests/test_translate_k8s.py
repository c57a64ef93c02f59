"""What a NetworkPolicy means, field by field."""

from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from sluice.contracts.ids import Revision
from sluice.contracts.programs import (
    K8S_TIER,
    Action,
    BlockPeer,
    Direction,
    GroupPeer,
    Peer,
    PortRange,
    Rule,
    Traffic,
    TransportTraffic,
)
from sluice.grouping.selectors import EVERYTHING, SelectorTerm, normalise, union
from sluice.policy.everypod import EVERY_POD_ID
from sluice.policy.groupid import group_id
from sluice.policy.translate import Untranslatable, translate
from sluice.policy.translate.k8s import groups_of
from sluice.testkit.builders import netpol, selector

IN, OUT = Direction.INGRESS, Direction.EGRESS
CAUSE = Revision(1, 7)


class Types(NamedTuple):
    name: str
    spec: dict[str, Any]
    isolates: tuple[Direction, ...]
    rules: list[tuple[Direction, int]]


TYPES = [
    Types("neither types nor rules", {}, (IN,), []),
    Types("an empty list of types is none", {"policyTypes": []}, (IN,), []),
    Types("an ingress rule", {"ingress": [{}]}, (IN,), [(IN, 0)]),
    Types("an egress rule", {"egress": [{}]}, (IN, OUT), [(OUT, 0)]),
    Types("an empty list of egress rules is none", {"egress": []}, (IN,), []),
    Types("rules of both", {"ingress": [{}, {}], "egress": [{}]}, (IN, OUT), [(IN, 0), (IN, 1), (OUT, 0)]),
    Types("Egress alone", {"policyTypes": ["Egress"]}, (OUT,), []),
    Types("both, without rules", {"policyTypes": ["Egress", "Ingress"]}, (IN, OUT), []),
    Types("rules of a direction it is not about", {"policyTypes": ["Egress"], "ingress": [{}]}, (OUT,), []),
    Types("egress rules of a policy about ingress", {"policyTypes": ["Ingress"], "egress": [{}]}, (IN,), []),
]


@pytest.mark.parametrize("case", TYPES, ids=lambda case: case.name)
def test_directions(case: Types) -> None:
    (program,) = translate(netpol("x/np", case.spec), CAUSE).programs

    assert program.isolates == case.isolates
    assert [(rule.direction, rule.index) for rule in program.rules] == case.rules
    assert {rule.action for rule in program.rules} <= {Action.ALLOW}


def test_a_program_says_where_it_comes_from() -> None:
    (program,) = translate(netpol("x/np", uid="u"), CAUSE).programs

    assert (program.unit, program.cause) == ("k8snetworkpolicies:x:np", CAUSE)
    assert (program.origin.namespace, program.origin.name, program.origin.uid) == ("x", "np", "u")
    assert (program.tier, program.priority) == (K8S_TIER, 0)


def test_it_applies_to_the_pods_of_its_namespace() -> None:
    everybody = translate(netpol("x/np"), CAUSE)
    web = translate(netpol("x/np", {"podSelector": {"matchLabels": {"app": "web"}}}), CAUSE)

    assert everybody.groups[everybody.programs[0].applied_to] == union([SelectorTerm(namespace="x")])
    assert web.groups[web.programs[0].applied_to] == union([in_x(app="web")])


def in_x(**labels: str) -> SelectorTerm:
    return SelectorTerm(namespace="x", pod_selector=normalise(selector(**labels)))


APP = {"matchLabels": {"app": "a"}}
ENV = {"matchLabels": {"env": "e"}}


def group(term: SelectorTerm) -> GroupPeer:
    return GroupPeer(group=group_id(union([term])))


class Peers(NamedTuple):
    name: str
    written: list[dict[str, Any]] | None
    peers: tuple[Peer, ...] | None


PEERS = [
    Peers("absent is everybody", None, None),
    Peers("an empty list is everybody", [], None),
    Peers("Pods of the same Namespace", [{"podSelector": APP}], (group(in_x(app="a")),)),
    Peers("all Pods of the same Namespace", [{"podSelector": {}}], (group(in_x()),)),
    Peers(
        "Namespaces",
        [{"namespaceSelector": ENV}],
        (group(SelectorTerm(namespace_selector=normalise(selector(env="e")))),),
    ),
    Peers("all Namespaces", [{"namespaceSelector": {}}], (group(SelectorTerm(namespace_selector=EVERYTHING)),)),
    Peers(
        "Pods of Namespaces",
        [{"namespaceSelector": ENV, "podSelector": APP}],
        (
            group(
                SelectorTerm(namespace_selector=normalise(selector(env="e")), pod_selector=normalise(selector(app="a")))
            ),
        ),
    ),
    Peers(
        "a list is a union",
        [{"namespaceSelector": ENV}, {"podSelector": APP}],
        (group(SelectorTerm(namespace_selector=normalise(selector(env="e")))), group(in_x(app="a"))),
    ),
    Peers(
        "the same in other words is the same peer",
        [
            {"podSelector": APP},
            {"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]}},
        ],
        (group(in_x(app="a")),),
    ),
    Peers("a block", [{"ipBlock": {"cidr": "10.1.0.0/16"}}], (BlockPeer(cidr="10.1.0.0/16"),)),
    Peers("a block with host bits", [{"ipBlock": {"cidr": "10.1.2.3/16"}}], (BlockPeer(cidr="10.1.0.0/16"),)),
    Peers("a block of IPv6", [{"ipBlock": {"cidr": "FD00:0::/32"}}], (BlockPeer(cidr="fd00::/32"),)),
    Peers(
        "a block with excepts: sorted by number, the inner ones left out",
        [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.11.0.0/16", "10.2.1.0/24", "10.2.0.0/16", "10.11.0.0/16"]}}],
        (BlockPeer(cidr="10.0.0.0/8", excepts=("10.2.0.0/16", "10.11.0.0/16")),),
    ),
]


@pytest.mark.parametrize("direction", [IN, OUT])
@pytest.mark.parametrize("case", PEERS, ids=lambda case: case.name)
def test_peers(case: Peers, direction: Direction) -> None:
    field = "from" if direction == IN else "to"
    written = {} if case.written is None else {field: case.written}
    made = translate(netpol("x/np", {direction.value: [written]}), CAUSE)
    (rule,) = made.programs[0].rules

    assert (rule.direction, rule.peers) == (direction, case.peers)
    assert {peer.group for peer in case.peers or () if isinstance(peer, GroupPeer)} <= made.groups.keys()
    assert made.problems == ()


def test_a_peer_that_can_match_nobody_is_known_to_be_empty() -> None:
    never = {"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}
    made = translate(netpol("x/np", {"ingress": [{"from": [{"podSelector": never}]}]}), CAUSE)

    (peer,) = made.programs[0].rules[0].peers or ()
    assert isinstance(peer, GroupPeer)
    assert made.groups[peer.group].terms == ()


def tcp(first: int, last: int) -> TransportTraffic:
    return TransportTraffic(protocol="TCP", ports=PortRange(first, last))


class Ports(NamedTuple):
    name: str
    written: list[dict[str, Any]] | None
    traffic: tuple[Traffic, ...] | None


PORTS = [
    Ports("absent is all traffic", None, None),
    Ports("an empty list is all traffic", [], None),
    Ports("an empty port is all of TCP", [{}], (TransportTraffic(protocol="TCP"),)),
    Ports("a protocol", [{"protocol": "UDP"}], (TransportTraffic(protocol="UDP"),)),
    Ports("a port is TCP", [{"port": 80}], (tcp(80, 80),)),
    Ports(
        "a port of SCTP", [{"protocol": "SCTP", "port": 9}], (TransportTraffic(protocol="SCTP", ports=PortRange(9, 9)),)
    ),
    Ports("a range", [{"port": 80, "endPort": 90}], (tcp(80, 90),)),
    Ports("a range of one", [{"port": 80, "endPort": 80}], (tcp(80, 80),)),
    Ports("all ports", [{"port": 1, "endPort": 65535}], (tcp(1, 65535),)),
    Ports("a name", [{"protocol": "UDP", "port": "dns"}], (TransportTraffic(protocol="UDP", ports="dns"),)),
    Ports(
        "a list is a union",
        [{"port": 80}, {"protocol": "UDP"}, {"port": 80}],
        (tcp(80, 80), TransportTraffic(protocol="UDP")),
    ),
]


@pytest.mark.parametrize("direction", [IN, OUT])
@pytest.mark.parametrize("case", PORTS, ids=lambda case: case.name)
def test_ports(case: Ports, direction: Direction) -> None:
    written = {} if case.written is None else {"ports": case.written}
    made = translate(netpol("x/np", {direction.value: [written]}), CAUSE)

    assert [rule.traffic for rule in made.programs[0].rules] == [case.traffic]
    assert made.problems == ()


NAMED_PORTS = [
    ("a name towards everybody", {"ports": [{"port": 80}, {"port": "web"}]}, True),
    ("a number towards everybody", {"ports": [{"port": 80}]}, False),
    ("all towards everybody", {}, False),
    ("a name towards some", {"to": [{"podSelector": APP}], "ports": [{"port": "web"}]}, False),
]


@pytest.mark.parametrize(("rule", "asked"), [row[1:] for row in NAMED_PORTS], ids=[row[0] for row in NAMED_PORTS])
def test_a_name_without_peers_is_about_every_pod(rule: dict[str, Any], asked: bool) -> None:
    policy = netpol("x/np", {"egress": [rule]})
    inward = {("from" if key == "to" else key): value for key, value in rule.items()}

    assert (EVERY_POD_ID in translate(policy, CAUSE).groups) == asked
    assert groups_of(policy) == translate(policy, CAUSE).groups
    assert EVERY_POD_ID not in translate(netpol("x/np", {"ingress": [inward]}), CAUSE).groups


class Refused(NamedTuple):
    name: str
    rule: dict[str, Any]
    peers: tuple[Peer, ...] | None
    traffic: tuple[Traffic, ...] | None
    problem: str


A_PORT = TransportTraffic(protocol="TCP", ports=PortRange(80, 80))

REFUSED = [
    Refused("an empty peer", {"from": [{}]}, (), None, "from[0]: an empty peer"),
    Refused("it alone", {"from": [{}, {"podSelector": APP}]}, (group(in_x(app="a")),), None, "from[0]: an empty peer"),
    Refused(
        "a block beside a selector",
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]},
        (),
        None,
        "from[0]: a peer with both an ipBlock and a selector",
    ),
    Refused("no CIDR", {"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}, (), None, "'10.0.0.0/33': not a CIDR"),
    Refused("an address", {"from": [{"ipBlock": {"cidr": "10.0.0.1"}}]}, (), None, "'10.0.0.1': no prefix length"),
    Refused(
        "an except outside",
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]},
        (),
        None,
        "except 11.0.0.0/16: not a smaller part of 10.0.0.0/8",
    ),
    Refused(
        "an except of all",
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]},
        (),
        None,
        "except 10.0.0.0/8: not a smaller part of 10.0.0.0/8",
    ),
    Refused(
        "an except of the other family",
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["fd00::/64"]}}]},
        (),
        None,
        "except fd00::/64: not a smaller part of",
    ),
    Refused(
        "In without values",
        {"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]},
        (),
        None,
        "from[0]: a In has no values",
    ),
    Refused(
        "Exists with values",
        {"from": [{"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}]},
        (),
        None,
        "from[0]: a Exists takes no values",
    ),
    Refused("port 0", {"ports": [{"port": 0}, {"port": 80}]}, None, (A_PORT,), "ports[0]: ports 0 to 0"),
    Refused("port 65536", {"ports": [{"port": 65536}]}, None, (), "ports 65536 to 65536"),
    Refused("a range backwards", {"ports": [{"port": 90, "endPort": 80}]}, None, (), "ports 90 to 80"),
    Refused("a range without beginning", {"ports": [{"endPort": 80}]}, None, (), "endPort 80 without a port number"),
    Refused("a range from a name", {"ports": [{"port": "web", "endPort": 80}]}, None, (), "endPort 80 without"),
    Refused("an empty name", {"ports": [{"port": ""}]}, None, (), "an empty port name"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_admission_should_have_refused_allows_nothing_and_isolates_all_the_same(case: Refused) -> None:
    made = translate(netpol("x/np", {"ingress": [case.rule, {"from": [{"podSelector": {}}]}]}), CAUSE)
    (program,) = made.programs
    (problem,) = made.problems

    assert program.isolates == (IN,)
    assert program.rules == (
        Rule(index=0, direction=IN, action=Action.ALLOW, peers=case.peers, traffic=case.traffic),
        Rule(index=1, direction=IN, action=Action.ALLOW, peers=(group(in_x()),)),
    )
    assert problem.startswith("NetworkPolicy x/np $.spec.ingress[0].")
    assert case.problem in problem
    assert "; " in problem  # and what to do


def test_without_a_selector_nobody_can_say_whom_it_applies_to() -> None:
    policy = netpol("x/np", {"podSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn"}]}})

    with pytest.raises(Untranslatable, match=r"^NetworkPolicy x/np \$\.spec\.podSelector: a NotIn has no values; list"):
        translate(policy, CAUSE)


def test_equal_selectors_of_different_policies_are_one_group() -> None:
    one = translate(netpol("x/one", {"podSelector": APP}), CAUSE)
    other = translate(netpol("x/other", {"ingress": [{"from": [{"podSelector": APP}]}]}), CAUSE)
    elsewhere = translate(netpol("y/one", {"podSelector": APP}), CAUSE)

    assert one.groups.keys() & other.groups.keys() == one.groups.keys()
    assert not one.groups.keys() & elsewhere.groups.keys()


def test_ids_do_not_change_by_accident() -> None:
    """They are part of the subjects on the bus: whoever changes them writes every page and program again."""
    both = SelectorTerm(namespace_selector=normalise(selector(env="e")), pod_selector=normalise(selector(app="a")))

    assert group_id(union([SelectorTerm(namespace="x")])) == "269dc913a528570b8c01abc6a0774fcb4cbd"
    assert group_id(union([both, in_x(app="a")])) == "db95db959859ab3e6ca54277c1d4b571390d"


@pytest.mark.parametrize(("written", "ends"), [("end", True), ("keep", False), (None, False)])
def test_a_policy_may_end_what_it_comes_to_deny(written, ends):
    policy = netpol()
    annotations = {} if written is None else {"policy.sluice.dev/established": written}
    policy = replace(policy, metadata=replace(policy.metadata, annotations=annotations))

    (program,) = translate(policy, CAUSE).programs
    assert program.ends is ends
