"""Whether two rules can match the same packet.

Judged by the Pods and nodes that exist, since labels alone say too little.
"""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from sluice.contracts.groups import NamedPort
from sluice.contracts.ids import Address, GroupId
from sluice.contracts.objects import Pod
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
from sluice.policy.covering import block_within
from sluice.policy.state import ClusterState


class Population:
    """The Pods and the nodes that policies are about, by group."""

    def __init__(self, state: ClusterState) -> None:
        self._members: dict[GroupId, set[tuple[str, str]]] = {}
        self._pods: dict[tuple[str, str], Pod] = {}
        self._addresses: dict[tuple[str, str], tuple[Address, ...]] = {}
        self._named: set[NamedPort] = set()
        for pod in state.pods.values():
            if pod.on_pod_network:
                self._pods[pod.key] = pod
                self._addresses[pod.key] = pod.addresses
                self._named.update(named_ports(pod.spec.containers))
                for group in state.groups_of(pod):
                    self._members.setdefault(group, set()).add(pod.key)
        for node in state.nodes.values():
            self._addresses[node.key] = node_addresses(node)
            for group in state.groups_of_node(node):
                self._members.setdefault(group, set()).add(node.key)

    def __len__(self) -> int:
        return len(self._pods)

    def members(self, group: GroupId) -> set[tuple[str, str]]:
        """Namespace and name of each Pod and node; the namespace is empty for nodes."""
        return self._members.get(group, set())

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
                return bool(self.members(one.group) & self.members(other.group))
            case BlockPeer(), BlockPeer():
                inner, outer = sorted((one, other), key=lambda peer: -ip_network(peer.cidr).prefixlen)
                if not block_within(inner.cidr, outer.cidr):
                    return False
                return not any(block_within(inner.cidr, hole) for hole in outer.excepts)
            case (BlockPeer() as block, GroupPeer() as group) | (GroupPeer() as group, BlockPeer() as block):
                return any(self._holds(block, self._addresses[key]) for key in self.members(group.group))
            case (FqdnPeer(), FqdnPeer()) | (ServicePeer(), ServicePeer()):
                return one == other
            case _:
                return False

    def _holds(self, block: BlockPeer, addresses: tuple[Address, ...]) -> bool:
        def inside(cidr: str) -> bool:
            return any(ip_address(address) in ip_network(cidr) for address in addresses)

        return inside(block.cidr) and not any(inside(hole) for hole in block.excepts)

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
        known = (one for one in self._named if (one.name, one.protocol) == (ports, traffic.protocol))
        return [PortRange(one.port, one.port) for one in known]


def _range(ports: PortRange | None) -> PortRange:
    return ports or PortRange(0, 65_535)


def _meet(one: PortRange, other: PortRange) -> bool:
    return one.first <= other.last and other.first <= one.last
