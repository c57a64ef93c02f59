"""Who can connect to whom, for all ports at once: `verdict` over sets of packets instead of single packets.

Ports are destination ports. Rules with source ports are left out, as for a packet with an unknown source port: their
effect depends on what the sender chooses. A rule with layer 7 conditions lets TCP connections open, so that their
requests can be judged, and denies everything else. ICMP has no ports and is not covered.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cache, reduce
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import NamedTuple

from sluice.contracts.groups import NamedPort
from sluice.contracts.ids import Address, GroupId, NodeName
from sluice.contracts.objects import Pod, Protocol
from sluice.contracts.programs import K8S_TIER, Action, Direction, PortRange, TransportTraffic
from sluice.grouping.members import named_ports
from sluice.policy.facing import Faced, Facing
from sluice.policy.intervals import ALL_PORTS, NO_PORTS, Ports, common, joined, without
from sluice.policy.regions import Network, Regions, place
from sluice.policy.state import ClusterState

PROTOCOLS: tuple[Protocol, ...] = ("TCP", "UDP", "SCTP")

Allowed = tuple[Ports, ...]
"""The allowed ports for each of PROTOCOLS."""

_NOTHING: Allowed = (NO_PORTS,) * len(PROTOCOLS)
_EVERYTHING: Allowed = (ALL_PORTS,) * len(PROTOCOLS)


class Pair(NamedTuple):
    """The connections allowed from source to destination."""

    source: str
    """A Pod as namespace/name, or an IP block outside the cluster."""

    destination: str
    allowed: Allowed


class _End(NamedTuple):
    """An end, with everything that policies distinguish."""

    groups: frozenset[GroupId]
    named: tuple[NamedPort, ...] = ()
    applied: frozenset[GroupId] | None = None
    """The groups through which policies apply to it; unset if none can: it is neither a Pod with its own interface nor
    a node."""

    node: NodeName = NodeName("")
    """The node, if the address belongs to one."""

    runs_on: NodeName = NodeName("")
    """The node of a Pod with its own interface, if that node is an end, too: whatever it is, it reaches the Pod."""


class _Stand(NamedTuple):
    """An end at one of its addresses: everything that a decision depends on."""

    end: _End
    region: Network


def connectivity(state: ClusterState, about: AbstractSet[tuple[str, str]] | None = None) -> Iterator[Pair]:
    """Every ordered pair of Pods with addresses, then each Pod with what is outside the cluster; in order of names.

    Args:
        about: the keys of Pods; only pairs with one of them. Unset: all pairs.
    """
    table = _Table(state)
    pods = sorted((pod for pod in state.pods.values() if table.addresses(pod)), key=lambda pod: pod.key)
    placed = [("/".join(pod.key), table.place(pod)) for pod in pods]
    chosen = [about is None or pod.key in about for pod in pods]
    some = [one for one, is_chosen in zip(placed, chosen, strict=True) if is_chosen]
    for (source, here), is_chosen in zip(placed, chosen, strict=True):
        for destination, there in placed if is_chosen else some:
            if source != destination:
                yield Pair(source, destination, table.between(here, there))
    for pod, is_chosen in zip(pods, chosen, strict=True):
        if is_chosen:
            yield from table.beyond(pod)


class _Table:
    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._lending = {
            node.metadata.name
            for pod in state.pods.values()
            if pod.spec.host_network
            for address in pod.addresses
            if (node := state.node_at(address)) is not None
        }
        """The nodes that are an end, since Pods use their network."""

        self._regions = Regions(state.compiler.programs.values())
        self._decided = cache(self._decide)
        self._both = cache(_both)
        self._facing = cache(self._face)
        self._places: dict[tuple[_Stand, ...], int] = {}
        self._stands: list[tuple[_Stand, ...]] = []
        self.between = cache(self._between)
        """The connections allowed from a Pod of one place to a Pod of another."""

    def addresses(self, pod: Pod) -> tuple[Address, ...]:
        if not pod.on_pod_network:
            return pod.addresses if pod.spec.host_network else ()
        return tuple(one for one in pod.addresses if self._state.holder(one) is pod)

    def place(self, pod: Pod) -> int:
        """A number shared by all Pods for which the same is decided."""
        stands = tuple(_Stand(self._end(pod, one), self._regions.of(one)) for one in self.addresses(pod))
        number = self._places.setdefault(stands, len(self._stands))
        if number == len(self._stands):
            self._stands.append(stands)
        return number

    def _between(self, source: int, destination: int) -> Allowed:
        """The connections allowed over any IP version that the two share."""
        found = [
            self._allowed(here.end, there.end, here.region, there.region)
            for here in self._stands[source]
            for there in self._stands[destination]
            if here.region.version == there.region.version
        ]
        return reduce(_either, found) if found else _NOTHING

    def beyond(self, pod: Pod) -> Iterator[Pair]:
        """To and from all addresses of the Pod's IP versions; those that are treated alike are merged."""
        nobody, name = _End(frozenset()), "/".join(pod.key)
        for outwards in (True, False):
            same: dict[Allowed, list[Network]] = {}
            for address in self.addresses(pod):
                own, here = self._end(pod, address), self._regions.of(address)
                for block in self._regions.blocks:
                    if block.version == here.version and (pieces := self._regions.pieces(block)):
                        ends = (own, nobody, here, block) if outwards else (nobody, own, block, here)
                        same.setdefault(self._allowed(*ends), []).extend(pieces)
            found = [(block, allowed) for allowed, blocks in same.items() for block in _collapsed(blocks)]
            for block, allowed in sorted(found, key=lambda one: place(one[0])):
                yield Pair(name, str(block), allowed) if outwards else Pair(str(block), name, allowed)

    def _end(self, pod: Pod, address: Address) -> _End:
        """The Pod at this address; with hostNetwork it counts as its node."""
        if pod.on_pod_network:
            groups = self._state.groups_of(pod)
            runs_on = pod.node if pod.node in self._lending else NodeName("")
            return _End(groups, tuple(named_ports(pod.spec.containers)), groups, runs_on=runs_on)
        node = self._state.node_at(address)
        applied = self._state.groups_of_node(node) if node else None
        return _End(self._state.groups_at(address), (), applied, NodeName(node.metadata.name) if node else NodeName(""))

    def _allowed(self, source: _End, destination: _End, from_: Network, to: Network) -> Allowed:
        leaves = enters = _EVERYTHING
        if source.node and source.node in (destination.node, destination.runs_on):
            return _EVERYTHING  # a node can always reach the Pods that it runs
        named = destination.named
        if source.applied is not None:
            leaves = self._faces(self._facing(source.applied, Direction.EGRESS), destination, to, named)
        if destination.applied is not None:
            enters = self._faces(self._facing(destination.applied, Direction.INGRESS), source, from_, named)
        return self._both(leaves, enters)

    def _faces(self, facing: Facing, other: _End, region: Network, named: tuple[NamedPort, ...]) -> Allowed:
        return self._decided(facing, facing.telling(other.groups), region if facing.tells_addresses else None, named)

    def _decide(
        self, facing: Facing, others: frozenset[GroupId], region: Network | None, named: tuple[NamedPort, ...]
    ) -> Allowed:
        address = None
        if region is not None:
            pieces = self._regions.pieces(region)
            address = Address(str((pieces[0] if pieces else region).network_address))
        rules = facing.concerning(others, address)
        return tuple(_ports(rules, protocol, named, isolated=bool(facing.isolating)) for protocol in PROTOCOLS)

    def _face(self, groups: frozenset[GroupId], direction: Direction) -> Facing:
        return Facing(self._state.programs_of(groups), direction)


def _ports(rules: Sequence[Faced], protocol: Protocol, named: tuple[NamedPort, ...], *, isolated: bool) -> Ports:
    """The ports allowed by these rules, which must be in order."""
    open_, passed = ALL_PORTS, NO_PORTS
    allowed: list[Ports] = []

    def decide(faced: Faced) -> Ports:
        """Remove the ports that the rule matches from the open ones."""
        nonlocal open_
        about = common(open_, _about(faced, protocol, named))
        open_ = without(open_, about)
        if faced.rule.action is Action.ALLOW and (faced.rule.l7 is None or protocol == "TCP"):
            allowed.append(about)
        return about if faced.rule.action is Action.PASS else NO_PORTS

    for faced in rules:
        if faced.order.tier < K8S_TIER:
            passed = joined(passed, decide(faced))
    open_ = joined(open_, passed)
    for faced in rules:
        if faced.order.tier == K8S_TIER:
            decide(faced)
    if not isolated:
        allowed += [decide(faced) for faced in rules if faced.order.tier > K8S_TIER]
        allowed.append(open_)
    return joined(*allowed)


def _about(faced: Faced, protocol: Protocol, named: tuple[NamedPort, ...]) -> Ports:
    """The ports of the protocol that the rule matches."""
    if faced.rule.traffic is None:
        return ALL_PORTS
    found: list[tuple[int, int]] = []
    for traffic in faced.rule.traffic:
        if not isinstance(traffic, TransportTraffic) or traffic.protocol != protocol or traffic.source_ports:
            continue
        match traffic.ports:
            case None:
                return ALL_PORTS
            case PortRange(first=first, last=last):
                found.append((first, last))
            case name:
                found += [(one.port, one.port) for one in named if (one.name, one.protocol) == (name, protocol)]
    return joined(found)


def _both(one: Allowed, other: Allowed) -> Allowed:
    return tuple(common(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def _either(one: Allowed, other: Allowed) -> Allowed:
    return tuple(joined(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def _collapsed(blocks: Iterable[Network]) -> list[Network]:
    old = collapse_addresses([block for block in blocks if isinstance(block, IPv4Network)])
    new = collapse_addresses([block for block in blocks if isinstance(block, IPv6Network)])
    return [*old, *new]
