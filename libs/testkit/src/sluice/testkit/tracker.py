"""A connection tracker for the walker: which packets belong to a committed connection.

Source: ovs-fields(7), "Connection Tracking Fields", for the bits of ct_state, and ovs-actions(7), "The ct action". As
in Open vSwitch's own tracker (lib/conntrack*.c), a committed connection counts as established once a reply was seen,
only a request can begin an ICMP connection, and an ICMP error about an unknown connection is invalid.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sluice.dataplane.ovs.fields import CtState, Field
from sluice.dataplane.ovs.flow import Nat
from sluice.dataplane.protocols import EthType, IpProto

Packet = Mapping[Field, int]
"""Fields of a packet and of its pipeline metadata; missing ones are 0."""

_PORTS = {
    IpProto.TCP: (Field.TCP_SRC, Field.TCP_DST),
    IpProto.UDP: (Field.UDP_SRC, Field.UDP_DST),
    IpProto.SCTP: (Field.SCTP_SRC, Field.SCTP_DST),
}
_ICMP_TYPE = {IpProto.ICMP: Field.ICMP_TYPE, IpProto.ICMPV6: Field.ICMPV6_TYPE}
_REPLIES = {8: 0, 128: 129}
"""Echo request and reply, the only ICMP that begins a connection here. Source: IANA, "ICMP (and ICMPv6) Parameters"."""

_ANSWERED = _REPLIES | {reply: request for request, reply in _REPLIES.items()}


class Tuple(NamedTuple):
    """What identifies a connection, seen from a packet's sender."""

    proto: int
    source: int
    target: int
    source_port: int
    """For ICMP, the type of the packet."""

    target_port: int
    """For ICMP, the type of its answer."""

    @property
    def reverse(self) -> "Tuple":
        return Tuple(self.proto, self.target, self.source, self.target_port, self.source_port)


class Connection:
    """A committed connection: its packets before translation, and its replies."""

    def __init__(self, original: Tuple, translated: Tuple) -> None:
        self.original, self.translated = original, translated
        self.replied = False
        self.mark = 0
        self.label = 0


class Found(NamedTuple):
    state: int
    """Bits of ct_state."""

    connection: Connection | None
    forward: bool = True


class Tracker:
    """The connections of a switch, by zone.

    Args:
        sctp_ports: whether it reads SCTP ports; Open vSwitch 3.1 in user space does not.
    """

    def __init__(self, *, sctp_ports: bool = True) -> None:
        self._sctp_ports = sctp_ports
        self._connections: dict[tuple[int, Tuple], Connection] = {}
        self._answers: dict[tuple[int, Tuple], Connection] = {}

    def look_up(self, zone: int, packet: Packet, about: Packet | None = None) -> Found:
        """How the packet relates to the connections of the zone.

        Args:
            about: the packet that an ICMP error quotes.
        """
        quoted = about is not None
        key = self._tuple(packet if about is None else about)
        found = self._connections.get((zone, key)), self._answers.get((zone, key))
        match found:
            case (Connection() as connection, _):
                forward = True
            case (_, Connection() as connection):
                forward = False
            case _:
                invalid = quoted or not _may_begin(packet)
                return Found(CtState.TRK | (CtState.INV if invalid else CtState.NEW), None)
        if quoted:  # it goes back to the sender of the quoted packet
            return Found(CtState.TRK | CtState.REL | (CtState.RPL if forward else 0), connection, forward)
        connection.replied |= not forward
        established = CtState.EST if connection.replied else CtState.NEW
        return Found(CtState.TRK | established | (0 if forward else CtState.RPL), connection, forward)

    def commit(self, zone: int, packet: Packet, nat: Nat | None = None) -> Connection:
        """Commit the packet's connection; a new one gets this translation."""
        key = self._tuple(packet)
        translated = self._answers.get(
            (zone, key.reverse)
        )  # it was translated just now, and still belongs to its connection
        found = translated or self.look_up(zone, packet).connection
        if found is None:
            found = Connection(key, _translated(key, nat) if nat and nat.end else key)
            self._connections[zone, key] = self._answers[zone, found.translated.reverse] = found
        return found

    def _tuple(self, packet: Packet) -> Tuple:
        found = _tuple(packet)
        if found.proto == IpProto.SCTP and not self._sctp_ports:
            return found._replace(source_port=0, target_port=0)
        return found

    def flush(self, address: int | None = None) -> None:
        """Remove the connections of an address, or all."""
        for known in (self._connections, self._answers):
            for key in list(known):
                ends = {end for one in (known[key].original, known[key].translated) for end in (one.source, one.target)}
                if address is None or address in ends:
                    del known[key]

    @property
    def connections(self) -> tuple[Connection, ...]:
        return tuple(self._connections.values())


def _translated(key: Tuple, nat: Nat) -> Tuple:
    if nat.end == "dst":
        return key._replace(target=nat.address, target_port=key.target_port if nat.port is None else nat.port)
    return key._replace(source=nat.address, source_port=key.source_port if nat.port is None else nat.port)


def translate(packet: dict[Field, int], found: Found) -> None:
    """Apply the connection's translation to the packet."""
    if found.connection is None or found.connection.original == found.connection.translated:
        return
    ends = found.connection.translated if found.forward else found.connection.original.reverse
    ipv4 = packet.get(Field.ETH_TYPE, 0) == EthType.IPV4
    packet[Field.IPV4_SRC if ipv4 else Field.IPV6_SRC] = ends.source
    packet[Field.IPV4_DST if ipv4 else Field.IPV6_DST] = ends.target
    source_port, target_port = _PORTS.get(packet.get(Field.IP_PROTO, 0), (None, None))
    if source_port is not None and target_port is not None:
        packet[source_port], packet[target_port] = ends.source_port, ends.target_port


def _tuple(packet: Packet) -> Tuple:
    proto = packet.get(Field.IP_PROTO, 0)
    ipv4 = packet.get(Field.ETH_TYPE, 0) == EthType.IPV4
    source, target = (Field.IPV4_SRC, Field.IPV4_DST) if ipv4 else (Field.IPV6_SRC, Field.IPV6_DST)
    if proto in _ICMP_TYPE:
        from_ = packet.get(_ICMP_TYPE[proto], 0)
        to = _ANSWERED.get(from_, from_)
    else:
        from_, to = (packet.get(field, 0) for field in _PORTS.get(proto, (Field.TCP_SRC, Field.TCP_DST)))
    return Tuple(proto, packet.get(source, 0), packet.get(target, 0), from_, to)


def _may_begin(packet: Packet) -> bool:
    proto = packet.get(Field.IP_PROTO, 0)
    return proto not in _ICMP_TYPE or packet.get(_ICMP_TYPE[proto], 0) in _REPLIES
