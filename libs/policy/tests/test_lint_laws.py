"""Lint finds exactly what comparing each rule with each other one finds, and its work does not grow with the square."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import ip_address, ip_network
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.ids import ALL_NODES, GroupId
from sluice.contracts.objects import AnyObject, AnyPolicy
from sluice.contracts.programs import (
    K8S_TIER,
    Action,
    BlockPeer,
    Direction,
    FqdnPeer,
    GroupPeer,
    IcmpTraffic,
    IgmpTraffic,
    Peer,
    PortRange,
    ServicePeer,
    Traffic,
    TransportTraffic,
)
from sluice.grouping.events import ObjectEvent
from sluice.grouping.members import named_ports, node_addresses
from sluice.policy.conflicts import Candidates, conflicting
from sluice.policy.covering import group_covers, peers_cover, traffic_apart, traffic_covers
from sluice.policy.effort import Effort
from sluice.policy.lint import Conflict, NeverMatches, lint
from sluice.policy.overlapping import Population
from sluice.policy.standing import Standing, standing
from sluice.policy.state import ClusterState
from sluice.policy.verdict import RuleRef
from sluice.testkit.antrea_strategies import antrea_stories
from sluice.testkit.builders import acnp, annp, namespace, netpol, node, pod
from sluice.testkit.work import work

# ---------------------------------------------------------------------------------------------- each with each, plainly


class Plainly:
    """The same questions, answered Pod by Pod and rule by rule."""

    def __init__(self, state: ClusterState) -> None:
        self.state = state
        self.programs = [state.compiler.programs[key] for key in sorted(state.compiler.programs)]
        self.pods = [one for one in state.pods.values() if one.on_pod_network]

    def members(self, group: GroupId) -> set[tuple[str, str]]:
        pods = {one.key for one in self.pods if group in self.state.groups_of(one)}
        return pods | {one.key for one in self.state.nodes.values() if group in self.state.groups_of_node(one)}

    def addresses(self, key: tuple[str, str]) -> list[Any]:
        found = [one.addresses for one in self.pods if one.key == key]
        found += [node_addresses(one) for one in self.state.nodes.values() if one.key == key]
        return [ip_address(text) for each in found for text in each]

    def levels(self) -> Iterator[list[Standing]]:
        for direction in Direction:
            rules = [one for one in standing(self.programs, direction) if one.order.tier != K8S_TIER]
            for level in sorted({one.order[:2] for one in rules}):
                yield [one for one in rules if one.order[:2] == level]

    def conflicts(self) -> list[tuple[RuleRef, RuleRef]]:
        pairs = [
            (first.ref, second.ref)
            for equals in self.levels()
            for first, second in combinations(equals, 2)
            if self.disagree(first, second)
        ]
        return list(dict.fromkeys(pairs))

    def disagree(self, one: Standing, other: Standing) -> bool:
        if one.program.unit == other.program.unit or one.rule.action is other.rule.action:
            return False
        services = [frozenset(each.rule.services or ()) for each in (one, other)]
        if one.rule.services is not None or other.rule.services is not None:
            shared = bool(services[0] & services[1])
        else:
            shared = bool(self.members(one.program.applied_to) & self.members(other.program.applied_to))
        return (
            shared
            and _some(one.rule.traffic, other.rule.traffic, self.traffic_meets)
            and _some(one.rule.peers, other.rule.peers, self.peers_meet)
        )

    def peers_meet(self, one: Peer, other: Peer) -> bool:
        match one, other:
            case GroupPeer(), GroupPeer():
                return bool(self.members(one.group) & self.members(other.group))
            case BlockPeer(), BlockPeer():
                inner, outer = sorted((one, other), key=lambda each: -ip_network(each.cidr).prefixlen)
                return _within(inner.cidr, outer.cidr) and not any(_within(inner.cidr, hole) for hole in outer.excepts)
            case (BlockPeer() as block, GroupPeer() as group) | (GroupPeer() as group, BlockPeer() as block):
                return any(self.holds(block, key) for key in self.members(group.group))
            case (FqdnPeer(), FqdnPeer()) | (ServicePeer(), ServicePeer()):
                return one == other
            case _:
                return False

    def holds(self, block: BlockPeer, key: tuple[str, str]) -> bool:
        addresses = self.addresses(key)
        inside, *holes = ([one in ip_network(cidr) for one in addresses] for cidr in (block.cidr, *block.excepts))
        return any(inside) and not any(map(any, holes))

    def traffic_meets(self, one: Traffic, other: Traffic) -> bool:
        match one, other:
            case TransportTraffic(), TransportTraffic():
                sources = _meet(one.source_ports or ALL, other.source_ports or ALL)
                ports = any(_meet(mine, theirs) for mine in self.ports(one) for theirs in self.ports(other))
                return one.protocol == other.protocol and sources and ports
            case IcmpTraffic(), IcmpTraffic():
                return _equal(one.icmp_type, other.icmp_type) and _equal(one.icmp_code, other.icmp_code)
            case IgmpTraffic(), IgmpTraffic():
                return _equal(one.igmp_type, other.igmp_type) and _equal(one.group, other.group)
            case _:
                return False

    def ports(self, traffic: TransportTraffic) -> list[PortRange]:
        if not isinstance(traffic.ports, str):
            return [traffic.ports or ALL]
        named = [port for one in self.pods for port in named_ports(one.spec.containers)]
        asked = traffic.ports, traffic.protocol
        return [PortRange(one.port, one.port) for one in named if (one.name, one.protocol) == asked]

    def never(self) -> Iterator[RuleRef]:
        """The rules that never match."""
        for direction in Direction:
            rules = standing(self.programs, direction)
            for place in dict.fromkeys(one.order for one in rules):
                its = [one for one in rules if one.order == place]
                if all(
                    self.is_closed(direction, one) or any(self.hides(wide, one, rules) for wide in rules) for one in its
                ):
                    yield its[0].ref

    def is_closed(self, direction: Direction, narrow: Standing) -> bool:
        return narrow.order.tier > K8S_TIER and any(
            direction in one.isolates and self.covers(one.applied_to, narrow.program.applied_to)
            for one in self.programs
        )

    def hides(self, wide: Standing, narrow: Standing, rules: Sequence[Standing]) -> bool:
        if wide.order >= narrow.order or wide.order.tier == narrow.order.tier == K8S_TIER:
            return False
        if wide.rule.action is Action.PASS and narrow.order.tier >= K8S_TIER:
            return False
        led_by = wide.order.tier < K8S_TIER <= narrow.order.tier and any(
            one.rule.action is Action.PASS
            and one.order < wide.order
            and not traffic_apart(one.rule.traffic, narrow.rule.traffic)
            and not self.apart(one.program.applied_to, narrow.program.applied_to)
            for one in rules
        )
        return (
            not led_by
            and self.covers(wide.program.applied_to, narrow.program.applied_to)
            and set(wide.rule.services or ()) >= set(narrow.rule.services or ())
            and traffic_covers(wide.rule.traffic, narrow.rule.traffic)
            and peers_cover(wide.rule.peers, narrow.rule.peers, self.covers)
        )

    def covers(self, wide: GroupId, narrow: GroupId) -> bool:
        if wide == narrow or ALL_NODES in (wide, narrow):
            return wide == narrow
        labels = {name: one.metadata.labels for name, one in self.state.namespaces.items()}
        return group_covers(self.state.selectors[wide], self.state.selectors[narrow], labels)

    def apart(self, one: GroupId, other: GroupId) -> bool:
        """Whether no Pod can be in both: each names its Namespaces, and they have none in common."""
        if ALL_NODES in (one, other):
            return False
        mine, theirs = self.state.selectors[one], self.state.selectors[other]
        here, there = {term.namespace for term in mine.terms}, {term.namespace for term in theirs.terms}
        return "" not in here | there and not here & there and not mine.nodes and not theirs.nodes


ALL = PortRange(0, 65_535)


def _some(one: Any, other: Any, meets: Callable[[Any, Any], bool]) -> bool:
    if one is None or other is None:
        return () not in (one, other)
    return any(meets(mine, theirs) for mine in one for theirs in other)


def _within(inner: str, outer: str) -> bool:
    one, other = ip_network(inner), ip_network(outer)
    return one.version == other.version and one.overlaps(other) and one.prefixlen >= other.prefixlen


def _meet(one: PortRange, other: PortRange) -> bool:
    return one.first <= other.last and other.first <= one.last


def _equal(one: object, other: object) -> bool:
    return one is None or other is None or one == other


# ------------------------------------------------------------------------------------------------------- small clusters

SELECTORS: list[Any] = [{}, *({"matchLabels": {"app": one}} for one in "ab")]
TEAMS: list[Any] = [{}, {"matchLabels": {"team": "x"}}]
NAMESPACED: list[Any] = [{"podSelector": one, "namespaceSelector": other} for one in SELECTORS for other in TEAMS]
BLOCKS: list[Any] = [
    {"ipBlock": {"cidr": cidr, **({"except": holes} if holes else {})}}
    for cidr, holes in (
        ("10.0.0.0/8", []),
        ("10.0.0.0/8", ["10.0.0.0/30"]),
        ("10.0.0.0/24", []),
        ("10.0.0.1/32", []),
        ("10.0.0.2/32", []),
        ("fd00::/64", []),
        ("0.0.0.0/0", ["10.0.0.0/24"]),
    )
]
OTHERS: list[Any] = [{"nodeSelector": {}}, {"fqdn": "*.a.com"}, {"fqdn": "b.com"}]
TRAFFIC: list[dict[str, Any]] = [
    {},
    *(
        {"ports": ports}
        for ports in (
            [{"port": 80}],
            [{"port": "web"}],
            [{"port": 1, "endPort": 100}],
            [{"protocol": "UDP", "port": 80}],
            [{"protocol": "TCP"}],
            [{"port": 443}, {"protocol": "UDP"}],
            [{"port": 80, "sourcePort": 5}],
        )
    ),
    {"protocols": [{"icmp": {"icmpType": 8}}]},
    {"protocols": [{"icmp": {}}]},
]
_PODS = st.sampled_from([{"podSelector": one} for one in SELECTORS])
_NAMESPACED, _BLOCKS, _OTHERS, _TRAFFIC = map(st.sampled_from, (NAMESPACED, BLOCKS, OTHERS, TRAFFIC))
_ACTIONS = st.sampled_from(["Allow", "Drop", "Reject", "Pass"])


@st.composite
def _rules(draw: st.DrawFn, side: str) -> list[dict[str, Any]]:
    peers = st.one_of(_NAMESPACED, _BLOCKS, _OTHERS if side == "to" else _BLOCKS)
    found = []
    for number in range(draw(st.integers(0, 2))):
        chosen = draw(st.none() | st.lists(peers, min_size=1, max_size=2))
        some = {} if chosen is None else {side: chosen}
        found.append({"name": f"r{number}", "action": draw(_ACTIONS), **some, **draw(_TRAFFIC)})
    return found


@st.composite
def _policy(draw: st.DrawFn, number: int) -> AnyPolicy:
    if draw(st.integers(0, 4)) == 0:
        ingress = [{"from": [draw(_PODS)], **draw(st.sampled_from([{}, {"ports": [{"port": 80}]}]))}]
        return netpol(
            f"{draw(st.sampled_from('xy'))}/n{number}",
            {"podSelector": draw(st.sampled_from(SELECTORS)), "ingress": ingress},
        )
    tier = draw(st.sampled_from(["application", "application", "baseline"]))
    spec = {"priority": draw(st.sampled_from([1, 1, 1, 2])), "tier": tier}
    kind = draw(st.sampled_from(["annp", "acnp", "service"]))
    if kind == "annp":
        applied = {"appliedTo": [draw(_PODS)]}
        rules = {"ingress": draw(_rules("from")), "egress": draw(_rules("to"))}
        return annp(f"{draw(st.sampled_from('xy'))}/p{number}", {**spec, **applied, **rules})
    if kind == "service":
        service = draw(st.sampled_from(["s", "t"]))
        applied = {"appliedTo": [{"service": {"name": service, "namespace": "x"}}]}
        rule = {"name": "r", "action": draw(_ACTIONS), "from": [draw(_BLOCKS)]}
        return acnp(f"p{number}", {**spec, **applied, "ingress": [rule]})
    applied = {"appliedTo": draw(st.lists(_NAMESPACED, min_size=1, max_size=2))}
    return acnp(f"p{number}", {**spec, **applied, "ingress": draw(_rules("from")), "egress": draw(_rules("to"))})


THERE: list[AnyObject] = [
    namespace("x", team="x"),
    namespace("y"),
    pod("x/a", ip=["10.0.0.1", "fd00::1"], ports=[("web", 80)], app="a"),
    pod("x/b", ip="10.0.0.2", app="b"),
    pod("y/b", ip="10.0.1.3", ports=[("web", 443)], app="b"),
    node("node-1", ip=["172.18.0.1"]),
]


@st.composite
def clusters(draw: st.DrawFn) -> ClusterState:
    """Policies that often have the same priority, on a few Pods."""
    count = draw(st.integers(2, 8))
    return ClusterState([*THERE, *(draw(_policy(number)) for number in range(count))])


def told(state: ClusterState) -> tuple[list[tuple[RuleRef, RuleRef]], list[RuleRef]]:
    found = lint(state, [])
    conflicts = [(one.first, one.second) for one in found if isinstance(one, Conflict)]
    return conflicts, [one.rule for one in found if isinstance(one, NeverMatches)]


@given(clusters())
def test_lint_finds_what_comparing_each_with_each_finds(state: ClusterState) -> None:
    plainly = Plainly(state)

    assert told(state) == (plainly.conflicts(), list(plainly.never()))


@given(antrea_stories())
def test_it_does_as_objects_come_and_go(events: list[ObjectEvent]) -> None:
    state = ClusterState()
    for event in events:
        state.evolve(event)
    plainly = Plainly(state)

    assert told(state) == (plainly.conflicts(), list(plainly.never()))


@given(clusters())
def test_each_index_alone_finds_all_that_disagree(state: ClusterState) -> None:
    plainly, people = Plainly(state), Population(state)
    found = []
    for equals in plainly.levels():
        candidates = Candidates(people, equals)
        for first, second in combinations(range(len(equals)), 2):
            if plainly.disagree(equals[first], equals[second]):
                for each in candidates.meetings:
                    assert second in candidates.after_by(each, first), type(each).__name__
        found += [(first.ref, second.ref) for first, second in conflicting(people, equals, Effort(), few=0)]
    assert found == plainly.conflicts()


def _egress(number: int, action: str, **rule: Any) -> AnyPolicy:
    rules = [{"name": "r", "action": action, **rule}]
    return acnp(f"p{number:04}", {"priority": 5, "appliedTo": [{"namespaceSelector": {}}], "egress": rules})


EACH = {
    "peers": [{"to": [peer]} for peer in (*NAMESPACED, *BLOCKS, *OTHERS)],
    "traffic": TRAFFIC,
}


@pytest.mark.parametrize("rules", EACH.values(), ids=EACH.keys())
def test_each_with_each(rules: list[dict[str, Any]]) -> None:
    actions = ("Allow", "Drop", "Allow")
    policies = [
        _egress(number, action, **rule) for number, (action, rule) in enumerate((a, r) for a in actions for r in rules)
    ]
    state = ClusterState([*THERE, *policies])
    plainly, people = Plainly(state), Population(state)
    (equals,) = plainly.levels()
    candidates = Candidates(people, equals)

    for first, second in combinations(range(len(equals)), 2):
        if plainly.disagree(equals[first], equals[second]):
            for each in candidates.meetings:
                assert second in candidates.after_by(each, first), (type(each).__name__, equals[first], equals[second])
    assert told(state)[0] == plainly.conflicts()


# ----------------------------------------------------------------------------------------------------------------- work


def _on_all(number: int, **rule: Any) -> AnyPolicy:
    action = "Allow" if number % 2 else "Drop"
    rules = [{"name": "r", "action": action, **rule}]
    return acnp(f"p{number:04}", {"priority": 5, "appliedTo": [{"namespaceSelector": {}}], "ingress": rules})


def apart(number: int) -> Iterator[AnyObject]:
    """A Namespace with a policy of its own, which names it by a label."""
    name = f"n{number:04}"
    own = {"namespaceSelector": {"matchLabels": {"team": name}}}
    rules = [{"name": "a", "action": "Allow", "from": [own]}, {"name": "d", "action": "Drop", "ports": [{"port": 80}]}]
    yield namespace(name, team=name)
    yield pod(f"{name}/a", ip=f"10.1.{number // 250}.{number % 250}", app="a")
    yield acnp(f"p{number:04}", {"priority": 5, "appliedTo": [own], "ingress": rules})


def ports(number: int) -> Iterator[AnyObject]:
    yield _on_all(number, ports=[{"port": 1 + number}])


def blocks(number: int) -> Iterator[AnyObject]:
    yield _on_all(number, **{"from": [{"ipBlock": {"cidr": f"172.16.{number // 250}.{number % 250}/32"}}]})


def peers(number: int) -> Iterator[AnyObject]:
    name = f"n{number:04}"
    yield namespace(name, team=name)
    yield pod(f"{name}/a", ip=f"10.1.{number // 250}.{number % 250}", app="a")
    yield _on_all(number, **{"from": [{"namespaceSelector": {"matchLabels": {"team": name}}}]})


@pytest.mark.parametrize("made", [apart, ports, blocks, peers], ids=lambda made: made.__name__)
def test_twice_the_policies_are_twice_the_work(made: Callable[[int], Iterator[AnyObject]]) -> None:
    def state(count: int) -> ClusterState:
        return ClusterState([*THERE, *(one for number in range(count) for one in made(number))])

    lint(state(4), [])
    few, many = state(100), state(200)

    assert work(partial(lint, many, [])) < 2.3 * work(partial(lint, few, []))
