"""Whether two rules can match the same packet.

Judged by the Pods and nodes that exist, since labels alone say too little.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import cache, cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from operator import itemgetter

from sluice.contracts.ids import Address, GroupId
from sluice.contracts.programs import (
    BlockPeer,
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
from sluice.grouping.members import named_ports, node_addresses
from sluice.policy.covering import block_within, network
from sluice.policy.state import ClusterState

_Address = IPv4Address | IPv6Address


class Population:
    """The Pods and the nodes that policies are about.

    Those in the same groups are of one *kind*: two groups have a member in common if they have a kind in common.
    """

    def __init__(self, state: ClusterState) -> None:
        self._kind_of: dict[frozenset[GroupId], int] = {}
        self._kinds: dict[GroupId, set[int]] = {}
        self._named: dict[tuple[str, str], set[int]] = {}
        """Numbers of named ports, by name and protocol."""

        self._pods = 0
        addresses: list[tuple[int, tuple[Address, ...]]] = []
        for pod in state.pods.values():
            if pod.on_pod_network:
                self._pods += 1
                for port in named_ports(pod.spec.containers):
                    self._named.setdefault((port.name, port.protocol), set()).add(port.port)
                addresses.append((self._kind(state.groups_of(pod)), pod.addresses))
        addresses += [(self._kind(state.groups_of_node(node)), node_addresses(node)) for node in state.nodes.values()]
        self._addressed = addresses
        self.kinds_in = cache(self._kinds_in)

    def _kind(self, groups: frozenset[GroupId]) -> int:
        kind = self._kind_of.get(groups)
        if kind is None:
            kind = self._kind_of[groups] = len(self._kind_of)
            for group in groups:
                self._kinds.setdefault(group, set()).add(kind)
        return kind

    def __len__(self) -> int:
        return self._pods

    def kinds(self, group: GroupId) -> AbstractSet[int]:
        """The kinds of the Pods and nodes in the group."""
        return self._kinds.get(group, frozenset())

    def meet(self, one: GroupId, other: GroupId) -> bool:
        """Whether the groups have a member in common."""
        return not self.kinds(one).isdisjoint(self.kinds(other))

    def _kinds_in(self, block: BlockPeer) -> frozenset[int]:
        """The kinds of which a Pod or node has an address in the block, and none in its exceptions."""
        within = network(block.cidr)
        holes = [network(hole) for hole in block.excepts]
        known = self._sorted[within.version]
        first = bisect_left(known, int(within.network_address), key=itemgetter(0))
        last = bisect_right(known, int(within.broadcast_address), key=itemgetter(0))
        found: set[int] = set()
        for _, kind, addresses in known[first:last]:
            if kind not in found and not any(address in hole for address in addresses for hole in holes):
                found.add(kind)
        return frozenset(found)

    @cached_property
    def _sorted(self) -> Mapping[int, list[tuple[int, int, tuple[_Address, ...]]]]:
        """By IP version: each address, the kind that has it, and all addresses of the Pod or node."""
        found: dict[int, list[tuple[int, int, tuple[_Address, ...]]]] = {4: [], 6: []}
        for kind, texts in self._addressed:
            addresses = tuple(map(ip_address, texts))
            for address in addresses:
                found[address.version].append((int(address), kind, addresses))
        return {version: sorted(entries, key=itemgetter(0)) for version, entries in found.items()}

    def peers_meet(self, one: tuple[Peer, ...] | None, other: tuple[Peer, ...] | None) -> bool:
        if one is None or other is None:
            return () not in (one, other)
        return any(self._peer_meets(mine, theirs) for mine in one for theirs in other)

    def traffic_meets(self, one: tuple[Traffic, ...] | None, other: tuple[Traffic, ...] | None) -> bool:
        if one is None or other is None:
            return () not in (one, other)
        return any(self._kind_meets(mine, theirs) for mine in one for theirs in other)

    def _peer_meets(self, one: Peer, other: Peer) -> bool:
        match one, other:
            case GroupPeer(), GroupPeer():
                return self.meet(one.group, other.group)
            case BlockPeer(), BlockPeer():
                inner, outer = sorted((one, other), key=lambda peer: -network(peer.cidr).prefixlen)
                if not block_within(inner.cidr, outer.cidr):
                    return False
                return not any(block_within(inner.cidr, hole) for hole in outer.excepts)
            case (BlockPeer() as block, GroupPeer() as group) | (GroupPeer() as group, BlockPeer() as block):
                return not self.kinds_in(block).isdisjoint(self.kinds(group.group))
            case (FqdnPeer(), FqdnPeer()) | (ServicePeer(), ServicePeer()):
                return one == other
            case _:
                return False

    def _kind_meets(self, one: Traffic, other: Traffic) -> bool:
        match one, other:
            case TransportTraffic(), TransportTraffic():
                sources = _meet(_range(one.source_ports), _range(other.source_ports))
                if one.protocol != other.protocol or not sources:
                    return False
                return any(_meet(mine, theirs) for mine in self._ranges(one) for theirs in self._ranges(other))
            case IcmpTraffic(), IcmpTraffic():
                types = one.icmp_type is None or other.icmp_type in (None, one.icmp_type)
                return types and (one.icmp_code is None or other.icmp_code in (None, one.icmp_code))
            case IgmpTraffic(), IgmpTraffic():
                types = one.igmp_type is None or other.igmp_type in (None, one.igmp_type)
                return types and (one.group is None or other.group in (None, one.group))
            case _:
                return False

    def _ranges(self, traffic: TransportTraffic) -> Iterable[PortRange]:
        ports = traffic.ports
        if not isinstance(ports, str):
            return (_range(ports),)
        return [PortRange(number, number) for number in self._named.get((ports, traffic.protocol), ())]


def _range(ports: PortRange | None) -> PortRange:
    return ports or PortRange(0, 65_535)


def _meet(one: PortRange, other: PortRange) -> bool:
    return one.first <= other.last and other.first <= one.last
