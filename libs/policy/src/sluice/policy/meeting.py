"""Finds for a rule those of its equals that it may meet: on a common subject, at a common peer, or in common traffic.

Each index alone leaves out no rule that matches a common packet; it may find others.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Generic, Protocol, TypeVar, assert_never

from sluice.contracts.ids import GroupId
from sluice.contracts.programs import (
    Action,
    BlockPeer,
    FqdnPeer,
    GroupPeer,
    IcmpTraffic,
    IgmpTraffic,
    Peer,
    PortRange,
    ServicePeer,
    ServiceRef,
    Traffic,
    TransportTraffic,
)
from sluice.policy.covering import Network, network
from sluice.policy.overlapping import Population
from sluice.policy.standing import Standing

K = TypeVar("K", bound=Hashable)


class Lot:
    """Places of rules in order, by action."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: dict[Action, list[int]] = {}

    def add(self, place: int, action: Action) -> None:
        """Add a place, which is after all others."""
        self._places.setdefault(action, []).append(place)

    def opposed(self, place: int, action: Action) -> Iterator[tuple[Sequence[int], int]]:
        """The places after this one of rules with another action: lists, each from an index on."""
        for other, places in self._places.items():
            if other is not action:
                yield places, bisect_right(places, place)


class Meeting(Protocol):
    def of(self, one: Standing) -> Iterable[Lot] | None:
        """Lots with all rules that it may meet, itself possibly included; None: it may meet any."""


class _Lots(Generic[K]):
    """Lots by what the rules have in common. A rule is in a lot once."""

    def __init__(self) -> None:
        self._lots: dict[K, Lot] = {}

    def add(self, keys: Iterable[K], place: int, action: Action) -> None:
        for key in dict.fromkeys(keys):
            self._lots.setdefault(key, Lot()).add(place, action)

    def of(self, keys: Iterable[K]) -> list[Lot]:
        return [lot for key in keys if (lot := self._lots.get(key)) is not None]


class Everything:
    """All rules."""

    def __init__(self, equals: Sequence[Standing]) -> None:
        self._lot = Lot()
        for place, one in enumerate(equals):
            self._lot.add(place, one.rule.action)

    def of(self, _: Standing) -> Iterable[Lot]:
        return (self._lot,)


class _Groups:
    """Groups by the kinds of Pods and nodes in them."""

    def __init__(self, people: Population, groups: Iterable[GroupId]) -> None:
        self._people = people
        self._all = dict.fromkeys(groups)
        self._with: dict[int, list[GroupId]] = {}
        for group in self._all:
            for kind in people.kinds(group):
                self._with.setdefault(kind, []).append(group)
        self.near = cache(self._near)

    def _near(self, group: GroupId) -> tuple[GroupId, ...]:
        """Those of the groups that have a member in common with this one."""
        return self.at(self._people.kinds(group))

    def at(self, kinds: Iterable[int]) -> tuple[GroupId, ...]:
        """Those of the groups with a member of one of these kinds."""
        found: dict[GroupId, None] = {}
        for kind in kinds:
            found.update(dict.fromkeys(self._with.get(kind, ())))
            if len(found) == len(self._all):
                break
        return tuple(found)


class Subjects:
    """Rules by what they apply to: Pods and nodes, or NodePorts of Services."""

    def __init__(self, people: Population, equals: Sequence[Standing]) -> None:
        self._lots: _Lots[GroupId | ServiceRef] = _Lots()
        self._groups = _Groups(people, (one.program.applied_to for one in equals if one.rule.services is None))
        for place, one in enumerate(equals):
            services = one.rule.services
            keys = (one.program.applied_to,) if services is None else services
            self._lots.add(keys, place, one.rule.action)

    def of(self, one: Standing) -> Iterable[Lot]:
        services = one.rule.services
        return self._lots.of(self._groups.near(one.program.applied_to) if services is None else services)


class Traffics:
    """Rules by protocol and port. What has no single port counts by its protocol alone."""

    def __init__(self, equals: Sequence[Standing]) -> None:
        self._any: _Lots[None] = _Lots()
        self._ports: _Lots[tuple[str, int]] = _Lots()
        self._loose: _Lots[str] = _Lots()
        """By protocol, the rules of which some traffic has no single port."""

        self._all: _Lots[str] = _Lots()
        """By protocol."""

        for place, one in enumerate(equals):
            action, traffic = one.rule.action, one.rule.traffic
            if traffic is None:
                self._any.add((None,), place, action)
                continue
            ports = [(each, _port(each)) for each in traffic]
            self._all.add(map(_protocol, traffic), place, action)
            self._loose.add((_protocol(each) for each, port in ports if port is None), place, action)
            self._ports.add(((_protocol(each), port) for each, port in ports if port is not None), place, action)

    def of(self, one: Standing) -> Iterable[Lot] | None:
        traffic = one.rule.traffic
        if traffic is None:
            return None
        if not traffic:
            return ()
        found = self._any.of((None,))
        whole = dict.fromkeys(_protocol(each) for each in traffic if _port(each) is None)
        found += self._all.of(whole)
        exact = dict.fromkeys((_protocol(each), port) for each in traffic if (port := _port(each)) is not None)
        found += self._ports.of(exact)
        found += self._loose.of(dict.fromkeys(protocol for protocol, _ in exact))
        return found


def _protocol(traffic: Traffic) -> str:
    match traffic:
        case TransportTraffic(protocol=protocol):
            return protocol
        case IcmpTraffic():
            return "ICMP"
        case IgmpTraffic():
            return "IGMP"
        case _:
            assert_never(traffic)


def _port(traffic: Traffic) -> int | None:
    """The only destination port; None if there are several, or a name."""
    match traffic:
        case TransportTraffic(ports=PortRange(first=first, last=last)) if first == last:
            return first
        case _:
            return None


class Peers:
    """Rules by their peers. Groups and blocks are compared by the Pods and nodes that exist."""

    def __init__(self, people: Population, equals: Sequence[Standing]) -> None:
        self._people = people
        self._any: _Lots[None] = _Lots()
        self._lots: _Lots[Peer] = _Lots()
        named: dict[Peer, None] = {}
        for place, one in enumerate(equals):
            action, peers = one.rule.action, one.rule.peers
            if peers is None:
                self._any.add((None,), place, action)
            else:
                self._lots.add(peers, place, action)
                named.update(dict.fromkeys(peers))
        self._groups = _Groups(people, (peer.group for peer in named if isinstance(peer, GroupPeer)))
        self._blocks = _Blocks(people, [peer for peer in named if isinstance(peer, BlockPeer)])
        self._near = cache(self._found)

    def of(self, one: Standing) -> Iterable[Lot] | None:
        peers = one.rule.peers
        if peers is None:
            return None
        if not peers:
            return ()
        near = dict.fromkeys(other for peer in peers for other in self._near(peer))
        return [*self._any.of((None,)), *self._lots.of(near)]

    def _found(self, peer: Peer) -> tuple[Peer, ...]:
        """The peers of all rules that may have an address in common with this one."""
        match peer:
            case GroupPeer(group=group):
                groups, blocks = self._groups.near(group), self._blocks.at(self._people.kinds(group))
            case BlockPeer():
                groups, blocks = self._groups.at(self._people.kinds_in(peer)), self._blocks.near(peer)
            case FqdnPeer() | ServicePeer():
                return (peer,)
            case _:
                assert_never(peer)
        return (*(GroupPeer(group=group) for group in groups), *blocks)


class _Blocks:
    """Blocks by the addresses in them."""

    def __init__(self, people: Population, blocks: Sequence[BlockPeer]) -> None:
        self._of: dict[Network, list[BlockPeer]] = {}
        self._with: dict[int, list[BlockPeer]] = {}
        """By the kind of the Pods and nodes that have an address in them."""

        for block in blocks:
            self._of.setdefault(network(block.cidr), []).append(block)
            for kind in people.kinds_in(block):
                self._with.setdefault(kind, []).append(block)
        self._lengths = {(each.version, each.prefixlen) for each in self._of}
        self._sorted: Mapping[int, list[tuple[int, int, Network]]] = {
            version: sorted(
                (int(one.network_address), one.prefixlen, one) for one in self._of if one.version == version
            )
            for version in (4, 6)
        }

    def at(self, kinds: Iterable[int]) -> Iterable[BlockPeer]:
        """The blocks with an address of a Pod or node of one of these kinds."""
        return dict.fromkeys(block for kind in kinds for block in self._with.get(kind, ()))

    def near(self, peer: BlockPeer) -> Iterator[BlockPeer]:
        """The blocks that are within this one, or that it is within."""
        own = network(peer.cidr)
        for version, length in self._lengths:
            if version == own.version and length < own.prefixlen:
                yield from self._of.get(own.supernet(new_prefix=length), ())
        inside = self._sorted[own.version]
        first = bisect_left(inside, (int(own.network_address), own.prefixlen))
        last = bisect_right(inside, int(own.broadcast_address), key=lambda entry: entry[0])
        for _, _, each in inside[first:last]:
            yield from self._of[each]
