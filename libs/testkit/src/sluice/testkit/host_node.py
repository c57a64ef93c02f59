"""A node that policies may apply to, whose objects arrive one after the other: its table, and packets."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from msgspec.structs import replace

from sluice.contracts.groups import NodeRoute
from sluice.contracts.ids import NEVER, Address, NodeName
from sluice.contracts.programs import Direction
from sluice.dataplane.host.engine import Engine
from sluice.dataplane.host.guard import HOOKS
from sluice.dataplane.host.table import Version
from sluice.dataplane.protocols import IpProto
from sluice.grouping.events import ObjectEvent
from sluice.policy.packet import AddressEnd, Packet
from sluice.testkit.fed import fill
from sluice.testkit.host_walker import Sent

HERE = NodeName("node-1")
PROTOCOLS = {"TCP": IpProto.TCP, "UDP": IpProto.UDP, "SCTP": IpProto.SCTP}
ECHO = {4: (IpProto.ICMP, 8), 6: (IpProto.ICMPV6, 128)}


class HostNode:
    """Its table has only the lifelines common to all nodes."""

    def __init__(self, events: Iterable[ObjectEvent], name: NodeName = HERE) -> None:
        self.name = name
        self.engine = Engine(name)
        self.state, self.grouping = fill(self.engine, events, lambda program: program.about_nodes)
        if (own_node := self.state.nodes.get(name)) is not None:
            own = (each for each in self.state.pods.values() if each.on_pod_network and each.node == name)
            strays = tuple(address for each in own for address in each.addresses)
            self.engine.route_is(NodeRoute(node=name, cause=NEVER, pod_cidrs=own_node.spec.pod_cidrs, strays=strays))


KINDS = [
    *(("TCP", port, source) for port in (53, 80, 81) for source in (1024, 40_000)),
    *((protocol, port, 40_000) for protocol in ("UDP", "SCTP") for port in (53, 80, 8080)),
    ("ICMP", 0, 0),
]


def packets(own: Iterable[Address], others: Iterable[Address]) -> Iterator[tuple[Direction, Packet, Sent]]:
    """First packets between the node and others, in the forms for a verdict and for the node's hooks."""
    others = tuple(others)
    for here in own:
        for there in others:
            version = ip_address(here).version
            if here == there or ip_address(there).version != version:
                continue
            for direction in Direction:
                ends = (there, here) if direction is Direction.INGRESS else (here, there)
                for kind in KINDS:
                    yield direction, *_packet(direction, *ends, kind)


def _packet(
    direction: Direction, source: Address, destination: Address, kind: tuple[str, int, int]
) -> tuple[Packet, Sent]:
    protocol, port, source_port = kind
    version: Version = 4 if ip_address(source).version == 4 else 6
    said = Packet(source=AddressEnd(source), destination=AddressEnd(destination), protocol="ICMP")
    sent = Sent(HOOKS[direction], version, int(ip_address(source)), int(ip_address(destination)), IpProto.ICMP)
    if protocol == "ICMP":
        number, echo = ECHO[version]
        return replace(said, icmp_type=echo, icmp_code=0), sent._replace(protocol=number, source_port=echo)
    said = replace(said, protocol=protocol, port=port, source_port=source_port)
    return said, sent._replace(protocol=PROTOCOLS[protocol], source_port=source_port, port=port)
