"""Who connects to whom, for every port at once: what `verdict` says of single packets, over all of them.

Ports are destination ports. A rule about source ports is left out, as it is for a packet whose source port is not
known: what it says depends on the sender's choice. A rule that looks into what it allows lets TCP connect, to be judged
by what it asks, and nothing else. ICMP has no ports and is not here.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address
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
"""The ports of each of PROTOCOLS."""

_NOTHING: Allowed = (NO_PORTS,) * len(PROTOCOLS)
_EVERYTHING: Allowed = (ALL_PORTS,) * len(PROTOCOLS)


class Pair(NamedTuple):
    """What may be opened from the one to the other."""

    source: str
    """A Pod as namespace/name, or a block of addresses beyond the cluster."""

    destination: str
    allowed: Allowed


class _End(NamedTuple):
    """An end, as far as policy can tell it from others."""

    groups: frozenset[GroupId]
    named: tuple[NamedPort, ...] = ()
    applied: frozenset[GroupId] | None = None
    """What policies apply to it by; unset if none can: it is neither a Pod with an interface of its own nor a node."""

    node: NodeName = NodeName("")
    """Whose address it is, if it is a node's."""

    runs_on: NodeName = NodeName("")
    """Of a Pod with an interface of its own."""


def connectivity(state: ClusterState) -> Iterator[Pair]:
    """Every ordered pair of Pods that have addresses, then of each Pod and what is beyond; in order of names."""
    table = _Table(state)
    pods = sorted(pod.key for pod in state.pods.values() if table.addresses(pod))
    for source in pods:
        for destination in pods:
            if source != destination:
                yield table.between(state.pods[source], state.pods[destination])
    for key in pods:
        yield from table.beyond(state.pods[key])


class _Table:
    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._regions = Regions(state.compiler.programs.values())
        self._decided = cache(self._decide)
        self._facings: dict[tuple[frozenset[GroupId], Direction], Facing] = {}

    def addresses(self, pod: Pod) -> tuple[Address, ...]:
        if not pod.on_pod_network:
            return pod.addresses if pod.spec.host_network else ()
        return tuple(one for one in pod.addresses if self._state.holder(one) is pod)

    def between(self, source: Pod, destination: Pod) -> Pair:
        """By any family that the two share."""
        allowed = _NOTHING
        for from_ in self.addresses(source):
            for to in self.addresses(destination):
                if ip_address(from_).version == ip_address(to).version:
                    ends = self._end(source, from_), self._end(destination, to)
                    allowed = _either(allowed, self._allowed(*ends, self._regions.of(from_), self._regions.of(to)))
        return Pair("/".join(source.key), "/".join(destination.key), allowed)

    def beyond(self, pod: Pod) -> Iterator[Pair]:
        """From and to all addresses of the Pod's families, those that are the same to it together."""
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
        """The Pod at this address of it; in the host's network it is its node, whatever it is called."""
        if pod.on_pod_network:
            groups = self._state.groups_of(pod)
            return _End(groups, tuple(named_ports(pod)), groups, runs_on=pod.node)
        node = self._state.node_at(address)
        applied = self._state.groups_of_node(node) if node else None
        return _End(self._state.groups_at(address), (), applied, NodeName(node.metadata.name) if node else NodeName(""))

    def _allowed(self, source: _End, destination: _End, from_: Network, to: Network) -> Allowed:
        leaves = enters = _EVERYTHING
        if source.node and source.node in (destination.node, destination.runs_on):
            return _EVERYTHING  # a node may always reach the Pods that it runs
        if source.applied is not None:
            leaves = self._decided(source.applied, Direction.EGRESS, destination.groups, to, destination.named)
        if destination.applied is not None:
            enters = self._decided(destination.applied, Direction.INGRESS, source.groups, from_, destination.named)
        return tuple(common(one, other) for one, other in zip(leaves, enters, strict=True))

    def _decide(
        self,
        groups: frozenset[GroupId],
        direction: Direction,
        others: frozenset[GroupId],
        region: Network,
        named: tuple[NamedPort, ...],
    ) -> Allowed:
        facing = self._facing(groups, direction)
        pieces = self._regions.pieces(region)
        address = Address(str((pieces[0] if pieces else region).network_address))
        rules = facing.concerning(others, address)
        return tuple(_ports(rules, protocol, named, isolated=bool(facing.isolating)) for protocol in PROTOCOLS)

    def _facing(self, groups: frozenset[GroupId], direction: Direction) -> Facing:
        known = self._facings.get((groups, direction))
        if known is None:
            programs = self._state.compiler.programs
            known = Facing([one for (group, _), one in programs.items() if group in groups], direction)
            self._facings[groups, direction] = known
        return known


def _ports(rules: Sequence[Faced], protocol: Protocol, named: tuple[NamedPort, ...], *, isolated: bool) -> Ports:
    """The ports that these rules, in order, allow."""
    open_, passed = ALL_PORTS, NO_PORTS
    allowed: list[Ports] = []

    def decide(faced: Faced) -> Ports:
        """Take what the rule is about out of what is open."""
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
    """The ports of the protocol that the rule is about."""
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


def _either(one: Allowed, other: Allowed) -> Allowed:
    return tuple(joined(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def _collapsed(blocks: Iterable[Network]) -> list[Network]:
    old = collapse_addresses([block for block in blocks if isinstance(block, IPv4Network)])
    new = collapse_addresses([block for block in blocks if isinstance(block, IPv6Network)])
    return [*old, *new]
