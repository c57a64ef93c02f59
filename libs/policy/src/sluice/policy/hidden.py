"""Finds rules that never match, because a single earlier rule or an isolating Kubernetes policy covers all of them.

A rule is compared only with earlier ones that may cover it: those whose groups may cover its group, and whose peers and
traffic may cover the first of its own (`_Coverers`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from heapq import merge
from ipaddress import IPv4Network, IPv6Network
from operator import itemgetter
from typing import TypeVar, assert_never

from sluice.contracts.ids import ALL_NODES, GroupId
from sluice.contracts.programs import (
    K8S_TIER,
    Action,
    BlockPeer,
    Direction,
    FqdnPeer,
    GroupPeer,
    IcmpTraffic,
    IgmpTraffic,
    Origin,
    Peer,
    PortRange,
    Program,
    ServicePeer,
    Traffic,
    TransportTraffic,
)
from sluice.policy.anchors import Anchors
from sluice.policy.covering import (
    Network,
    group_covers,
    network,
    peers_cover,
    traffic_apart,
    traffic_covers,
)
from sluice.policy.effort import Effort
from sluice.policy.order import Order
from sluice.policy.standing import Standing, standing
from sluice.policy.state import ClusterState


def hidden(
    state: ClusterState, programs: Sequence[Program], effort: Effort
) -> Iterator[tuple[Standing, Standing | Origin]]:
    """Each rule that never matches, by direction and order, and what covers it where it applies first.

    That is the first such rule, or the Kubernetes policy that isolates its Pods before the baseline.

    Raises:
        TooMuch: see `Effort`.
    """
    covers = _Covers(state, programs)
    for direction in Direction:
        rules = standing(programs, direction)
        passing = _Passing(state, [one for one in rules if one.rule.action is Action.PASS])
        coverers = _Coverers(covers, rules, effort)
        isolating: dict[GroupId, tuple[int, Program]] = {}
        for place, program in enumerate(programs):
            if direction in program.isolates:
                isolating.setdefault(program.applied_to, (place, program))
        by_rule: dict[Order, list[Standing]] = {}
        for one in rules:
            by_rule.setdefault(one.order, []).append(one)
        for places in by_rule.values():
            causes: list[Standing | Origin | None] = []
            for one in places:
                groups = covers.applied(one.program.applied_to)
                covering = (
                    other
                    for other in coverers.of(one, groups)
                    if covers.holds(other, one) and not passing.leads_by(other, one)
                )
                closing = [isolating[group] for group in groups if group in isolating]
                closed = min(closing)[1].origin if closing and one.order.tier > K8S_TIER else None
                causes.append(next(covering, None) or closed)
                if causes[-1] is None:
                    break
            else:
                assert causes[0] is not None
                yield places[0], causes[0]


class _Covers:
    """Which groups and rules cover which."""

    def __init__(self, state: ClusterState, programs: Iterable[Program]) -> None:
        self._selectors = state.selectors
        self._labels = {name: namespace.metadata.labels for name, namespace in state.namespaces.items()}
        applied, peers = set[GroupId](), set[GroupId]()
        for program in programs:
            applied.add(program.applied_to)
            peers.update(
                peer.group for rule in program.rules for peer in rule.peers or () if isinstance(peer, GroupPeer)
            )
        self._applied, self._peers = self._anchors(applied), self._anchors(peers)
        self.group = cache(self._group)
        self.applied = cache(lambda narrow: self._around(narrow, self._applied))
        """The groups that rules apply to and that cover this group, itself included."""

        self.peers = cache(lambda narrow: self._around(narrow, self._peers))
        """The same for the groups that are peers of rules."""

    def _anchors(self, groups: set[GroupId]) -> Anchors:
        return Anchors({group: self._selectors[group] for group in groups - {ALL_NODES}})

    def _group(self, wide: GroupId, narrow: GroupId) -> bool:
        if wide == narrow or ALL_NODES in (wide, narrow):
            return wide == narrow
        return group_covers(self._selectors[wide], self._selectors[narrow], self._labels)

    def _around(self, narrow: GroupId, among: Anchors) -> tuple[GroupId, ...]:
        found = set() if narrow == ALL_NODES else among.covering(self._selectors[narrow], self._labels)
        return tuple(group for group in {narrow, *found} if self.group(group, narrow))

    def holds(self, wide: Standing, narrow: Standing) -> bool:
        """Whether wide covers narrow, provided that it applies to everything that the narrow one applies to."""
        return (
            _decides_before(wide, narrow)
            and frozenset(wide.rule.services or ()).issuperset(narrow.rule.services or ())
            and traffic_covers(wide.rule.traffic, narrow.rule.traffic)
            and peers_cover(wide.rule.peers, narrow.rule.peers, self.group)
        )


def _decides_before(wide: Standing, narrow: Standing) -> bool:
    """Whether a packet that matches the wide rule never reaches the narrow one."""
    if wide.order >= narrow.order or wide.order.tier == narrow.order.tier == K8S_TIER:
        return False
    passes_by = wide.rule.action is Action.PASS and narrow.order.tier >= K8S_TIER
    return not passes_by


class _Passing:
    """The Pass rules of one direction."""

    def __init__(self, state: ClusterState, rules: Sequence[Standing]) -> None:
        """`rules` are in order."""
        self._selectors = state.selectors
        self._all = rules
        self._unnamed: list[Standing] = []
        """Those whose group does not name its Namespaces."""

        self._named: dict[str, list[Standing]] = {}
        """The others, by Namespace."""

        for one in rules:
            names = self._namespaces(one.program.applied_to)
            if names is None:
                self._unnamed.append(one)
            for name in names or ():
                self._named.setdefault(name, []).append(one)

    def leads_by(self, wide: Standing, narrow: Standing) -> bool:
        """Whether packets of the narrow rule may bypass the wide one because of a Pass before it."""
        if not wide.order.tier < K8S_TIER <= narrow.order.tier:
            return False
        return any(self._leads(each, wide, narrow) for each in self._beside(narrow.program.applied_to))

    def _leads(self, rules: Sequence[Standing], wide: Standing, narrow: Standing) -> bool:
        for one in rules:
            if one.order >= wide.order:
                return False
            if not traffic_apart(one.rule.traffic, narrow.rule.traffic):
                return True
        return False

    def _beside(self, narrow: GroupId) -> Iterator[Sequence[Standing]]:
        """All that may apply to the same Pods as the group: it and they have a Namespace in common, or name none."""
        names = self._namespaces(narrow)
        if names is None:
            yield self._all
            return
        yield self._unnamed
        for name in names:
            yield self._named.get(name, ())

    def _namespaces(self, group: GroupId) -> frozenset[str] | None:
        """The Namespaces that the group names; None if it may have members elsewhere, or nodes."""
        selector = None if group == ALL_NODES else self._selectors[group]
        if selector is None or selector.nodes:
            return None
        names = frozenset(term.namespace for term in selector.terms)
        return None if "" in names else names


_PeerKey = GroupId | Network | FqdnPeer | ServicePeer | None
_TrafficKey = tuple[str, int | None] | None
_Entry = tuple[int, Standing]


class _Coverers:
    """Rules by the group that they apply to, and by each peer and kind of traffic of theirs; None: by any."""

    def __init__(self, covers: _Covers, rules: Iterable[Standing], effort: Effort) -> None:
        self._covers, self._effort = covers, effort
        self._kept: dict[GroupId, dict[tuple[_PeerKey, _TrafficKey], list[_Entry]]] = {}
        """Those that are in neither of the following."""

        self._k8s: dict[GroupId, dict[tuple[_PeerKey, _TrafficKey], list[_Entry]]] = {}
        """No Kubernetes policy decides before another."""

        self._passing: dict[GroupId, dict[tuple[_PeerKey, _TrafficKey], list[_Entry]]] = {}
        """A Pass decides only before rules of tiers that come before those of Kubernetes."""

        lengths = set()
        for place, one in enumerate(rules):
            passes = one.rule.action is Action.PASS
            kept = self._k8s if one.order.tier == K8S_TIER else self._passing if passes else self._kept
            there = kept.setdefault(one.program.applied_to, {})
            for peer in _keys(one.rule.peers, _peer_key):
                if isinstance(peer, IPv4Network | IPv6Network):
                    lengths.add((peer.version, peer.prefixlen))
                for traffic in _keys(one.rule.traffic, _traffic_key):
                    there.setdefault((peer, traffic), []).append((place, one))
        self._lengths = sorted(lengths)

    def of(self, narrow: Standing, groups: Iterable[GroupId]) -> Iterator[Standing]:
        """The rules that apply to these groups and may cover this rule, in order."""
        tier = narrow.order.tier
        kept = (self._kept, self._passing if tier < K8S_TIER else self._k8s if tier > K8S_TIER else {})
        keys = [(peer, traffic) for peer in self._peers(narrow) for traffic in _traffics(narrow)]
        lists = [
            entries
            for group in groups
            for each in kept
            if (there := each.get(group)) is not None
            for key in keys
            if (entries := there.get(key)) is not None
        ]
        for _, wide in merge(*lists, key=itemgetter(0)):
            if wide.order >= narrow.order:
                return
            self._effort.spend(1)
            yield wide

    def _peers(self, narrow: Standing) -> Iterator[_PeerKey]:
        """The keys of all rules whose peers may cover those of this rule."""
        peers = narrow.rule.peers
        if peers is None or peers:
            yield None
        match peers[0] if peers else None:
            case None:
                return
            case GroupPeer(group=group):
                yield from self._covers.peers(group)
            case BlockPeer(cidr=cidr):
                own = network(cidr)
                for version, length in self._lengths:
                    if version == own.version and length <= own.prefixlen:
                        yield own.supernet(new_prefix=length)
            case FqdnPeer() | ServicePeer() as peer:
                yield peer


def _traffics(narrow: Standing) -> Iterator[_TrafficKey]:
    """The keys of all rules whose traffic may cover that of this rule."""
    traffic = narrow.rule.traffic
    if traffic is None or traffic:
        yield None
    if traffic:
        kind, port = _traffic_key(traffic[0])
        yield kind, None
        if port is not None:
            yield kind, port


T = TypeVar("T")
K = TypeVar("K")


def _keys(values: Iterable[T] | None, key: Callable[[T], K]) -> Iterable[K | None]:
    return (None,) if values is None else dict.fromkeys(map(key, values))


def _peer_key(peer: Peer) -> GroupId | Network | FqdnPeer | ServicePeer:
    match peer:
        case GroupPeer(group=group):
            return group
        case BlockPeer(cidr=cidr):
            return network(cidr)
        case FqdnPeer() | ServicePeer():
            return peer
        case _:
            assert_never(peer)


def _traffic_key(traffic: Traffic) -> tuple[str, int | None]:
    """Its protocol, and its port if that is a single number."""
    match traffic:
        case TransportTraffic(protocol=protocol, ports=PortRange(first=first, last=last)) if first == last:
            return protocol, first
        case TransportTraffic(protocol=protocol):
            return protocol, None
        case IcmpTraffic():
            return "ICMP", None
        case IgmpTraffic():
            return "IGMP", None
        case _:
            assert_never(traffic)
