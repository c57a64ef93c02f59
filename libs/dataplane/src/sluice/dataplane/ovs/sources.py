"""Sources: sets of packets, from which the clauses of rules are built.

A clause of a rule is a union of sources: the rule's own Pods, its peers, its traffic. Rules share sources. A source is
a set of *values*, and each value is the match of one flow. So a flow exists once for all rules that share it, and when
a Pod joins a group, one value joins one source, however many rules use it.

A named port is a different number for each Pod. Such traffic is combined with the Pod in one source (this Pod, at the
number that it gives the name), instead of being a clause of its own.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple, assert_never

from msgspec import Struct

from sluice.contracts.groups import Member, NamedPort
from sluice.contracts.ids import GroupId
from sluice.contracts.programs import (
    BlockPeer,
    Direction,
    GroupPeer,
    IcmpTraffic,
    IgmpTraffic,
    PortRange,
    ServicePeer,
    ServiceRef,
    Traffic,
    TransportTraffic,
)
from sluice.dataplane.addresses import WIDTH, Block, address, cover, network, port_masks
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Match, Term, match
from sluice.dataplane.ovs.ports import destination, source
from sluice.dataplane.ovs.registers import BY_NODE_PORT, FLAGS, FROM_WORLD, OUT_PORT, SERVICE_PORT
from sluice.dataplane.protocols import EthType, IpProto


class Own(Struct, frozen=True):
    """The open ports of the group's members on this node."""

    group: GroupId


class Door(Struct, frozen=True):
    """The NodePorts of a Service, for clients outside the cluster."""

    service: ServiceRef


class Client(Struct, frozen=True):
    """The addresses of the group's members on this node whose ports are open, as destinations."""

    group: GroupId


class Named(Struct, frozen=True):
    """The addresses that DNS gave for names that match the pattern."""

    pattern: str
    opens: bool
    """True if the rule allows or passes; False if it drops or rejects."""


Place = Own | Door | Client | Named | GroupPeer | BlockPeer | ServicePeer
Bringer = GroupId | ServiceRef | Named
"""What brings a source its values: a group's members, a Service's ports, or a pattern's names."""


class Source(NamedTuple):
    """Packets at the place and of the traffic; unset means any."""

    place: Place | None
    traffic: Traffic | None

    @property
    def group(self) -> Bringer | None:
        """What brings the source its values; None if they are fixed."""
        match self.place:
            case Own(group) | Client(group) | GroupPeer(group=group):
                return group
            case Named():
                return self.place
            case Door(service) | ServicePeer(service=service):
                return service
            case BlockPeer() | None:
                return None
            case _:
                assert_never(self.place)


class Value(NamedTuple):
    """One match of a clause, independent of its direction."""

    ofport: int | None = None
    block: Block | None = None
    packets: Match = ()
    """Terms that do not depend on the direction."""

    def match(self, direction: Direction) -> Match:
        """The match of the Pod's own port and the peer's address in this direction's tables."""
        out = direction is Direction.EGRESS
        if self.block is not None and self.ofport is None and not self.packets:
            return destination(self.block) if out else source(self.block)
        at: Match = () if self.block is None else destination(self.block) if out else source(self.block)
        own: Match = () if self.ofport is None else (Term(Field.IN_PORT if out else OUT_PORT, self.ofport),)
        parts = [part for part in (own, at, self.packets) if part]
        return parts[0] if len(parts) == 1 else match(*own, *at, *self.packets)


def matches(values: Iterable[Value], direction: Direction) -> list[Match]:
    """The match of each value. Fast for the most frequent ones: one IPv4 address and nothing else."""
    field = Field.IPV4_DST if direction is Direction.EGRESS else Field.IPV4_SRC
    new, ipv4, width = tuple.__new__, Term(Field.ETH_TYPE, EthType.IPV4), WIDTH[4]
    return [
        (ipv4, new(Term, (field, block[1], None)))
        if ofport is None and block is not None and not packets and block[2] == width and block[0] == 4
        else Value(ofport, block, packets).match(direction)
        for ofport, block, packets in values
    ]


def standing_values(of: Source) -> Iterator[Value]:
    """The fixed values of a source, which no member brings."""
    match of.place:
        case None:
            for _, packets in _packets(of.traffic, ()):
                yield Value(packets=packets)
        case BlockPeer(cidr=cidr, excepts=excepts):
            for block in cover(network(cidr), map(network, excepts)):
                yield from at_block(block, of.traffic, ())
        case Own() | Client() | Named() | GroupPeer() | Door() | ServicePeer():
            return
        case _:
            assert_never(of.place)


def member_values(of: Source, member: Member, ofport: int | None) -> Iterator[Value]:
    """The values that a member of the source's group brings it.

    Args:
        ofport: the member's open port on this node, if it has one.

    Raises:
        NotAnAddress: the member has an invalid address.
    """
    if isinstance(of.place, Own):
        for _, packets in _packets(of.traffic, member.ports) if ofport is not None else ():
            yield Value(ofport=ofport, packets=packets)
    elif isinstance(of.place, GroupPeer) or (isinstance(of.place, Client) and ofport is not None):
        for text in member.addresses:
            yield from at_block(address(text), of.traffic, member.ports)


def service_values(of: Source, number: int) -> Iterator[Value]:
    """The values that the Service port with this number brings the source."""
    by: Match = (Term(SERVICE_PORT, number),)
    if isinstance(of.place, Door):
        by = (Term(SERVICE_PORT, number | BY_NODE_PORT), Term(FLAGS, FROM_WORLD, FROM_WORLD))
    for _, packets in _packets(of.traffic, ()):
        yield Value(packets=match(*by, *packets))


def member_addresses(members: Iterable[Member]) -> list[Value]:
    """The values that members bring a source of all traffic at their addresses: one per address.

    Raises:
        NotAnAddress: one of the members has an invalid address.
    """
    new, at = tuple.__new__, address
    return [new(Value, (None, at(text), ())) for member in members for text in member.addresses]


def at_block(block: Block, traffic: Traffic | None, named: Iterable[NamedPort]) -> Iterator[Value]:
    """The values of the traffic at these addresses; named ports are looked up in `named`."""
    if traffic is None:
        yield Value(None, block)
        return
    for version, packets in _packets(traffic, named):
        if version in (None, block.version):
            yield Value(block=block, packets=packets)


_ETH_TYPES = {4: EthType.IPV4, 6: EthType.IPV6}
_TRANSPORTS = {
    "TCP": (IpProto.TCP, Field.TCP_SRC, Field.TCP_DST),
    "UDP": (IpProto.UDP, Field.UDP_SRC, Field.UDP_DST),
    "SCTP": (IpProto.SCTP, Field.SCTP_SRC, Field.SCTP_DST),
}
_ICMPS = {
    4: (IpProto.ICMP, Field.ICMP_TYPE, Field.ICMP_CODE),
    6: (IpProto.ICMPV6, Field.ICMPV6_TYPE, Field.ICMPV6_CODE),
}
_ANY_PORT = ((0, 0),)


def _packets(traffic: Traffic | None, named: Iterable[NamedPort]) -> Iterator[tuple[int | None, Match]]:
    """Matches of the traffic, each with its IP version; named ports are looked up in `named`."""
    match traffic:
        case None:
            yield None, ()
        case TransportTraffic():
            protocol, source_field, target_field = _TRANSPORTS[traffic.protocol]
            targets = sorted(set(_targets(traffic, named)))
            sources = _masks(traffic.source_ports)
            for version, target, from_ in product(_ETH_TYPES, targets, sources):
                yield version, match(*_ip(version, protocol), (target_field, *target), (source_field, *from_))
        case IcmpTraffic():
            for version, (protocol, type_field, code_field) in _ICMPS.items():
                wanted = ((type_field, traffic.icmp_type), (code_field, traffic.icmp_code))
                terms = (Term(field, number) for field, number in wanted if number is not None)
                yield version, match(*_ip(version, protocol), *terms)
        case IgmpTraffic():
            raise AssertionError("IGMP has no flows: the programmer decides about it")
        case _:
            assert_never(traffic)


def _targets(traffic: TransportTraffic, named: Iterable[NamedPort]) -> Iterable[tuple[int, int]]:
    if not isinstance(traffic.ports, str):
        return _masks(traffic.ports)
    wanted = traffic.ports, traffic.protocol
    return [(port.port, 0xFFFF) for port in named if (port.name, port.protocol) == wanted]


def _masks(ports: PortRange | None) -> tuple[tuple[int, int], ...]:
    return _ANY_PORT if ports is None else tuple(port_masks(ports.first, ports.last))


def _ip(version: int, protocol: int) -> tuple[Term, Term]:
    return Term(Field.ETH_TYPE, _ETH_TYPES[version]), Term(Field.IP_PROTO, protocol)
