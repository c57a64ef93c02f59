"""Parses packets that a datapath hands over: who sends what to whom.

Source: RFC 791 and RFC 8200 (IP), RFC 9293 section 3.1 (TCP), RFC 768 (UDP); Ethernet types as in `EthType`.
"""

from struct import Struct
from typing import NamedTuple

from sluice.dataplane.protocols import EthType, IpProto

ETHERNET = Struct("!6s6sH")
"""Destination, source, type."""

_IPV4_LEAST = 20
_IPV6_LEAST = 40
_FRAGMENT = 44
"""The fragment header of IPv6. Source: RFC 8200 section 4.5."""

_EXTENSIONS = frozenset((0, 43, 60))
"""Hop-by-hop, routing and destination options, which contain their own length. Source: RFC 8200 section 4."""

_PORTS = frozenset((IpProto.TCP, IpProto.UDP, IpProto.SCTP))


class Frame(NamedTuple):
    """An IP packet."""

    version: int
    proto: int
    """Protocol of the payload, after all extension headers."""

    source: bytes
    target: bytes
    packet: bytes
    """The packet from its IP header on, without Ethernet padding."""

    header: int
    """Bytes in `packet` before the payload."""

    first: bool
    """It is unfragmented or the first fragment: `payload` begins with the header of `proto`."""

    whole: bool = True
    """It is not a fragment."""

    @property
    def payload(self) -> bytes:
        return self.packet[self.header :]

    @property
    def ports(self) -> tuple[int, int] | None:
        """Source and destination port, if the protocol has ports."""
        carried = self.payload
        if self.proto not in _PORTS or not self.first or len(carried) < 4:
            return None
        return int.from_bytes(carried[:2], "big"), int.from_bytes(carried[2:4], "big")


def read(octets: bytes) -> Frame | None:
    """The packet in an Ethernet frame; None if it is not IP, or is truncated."""
    if len(octets) < ETHERNET.size:
        return None
    kind = ETHERNET.unpack_from(octets)[2]
    packet = octets[ETHERNET.size :]
    if kind == EthType.IPV4:
        return _ipv4(packet)
    return _ipv6(packet) if kind == EthType.IPV6 else None


def _ipv4(packet: bytes) -> Frame | None:
    if len(packet) < _IPV4_LEAST:
        return None
    header, length = (packet[0] & 0x0F) * 4, int.from_bytes(packet[2:4], "big")
    if not _IPV4_LEAST <= header <= length <= len(packet):
        return None
    offset, more = int.from_bytes(packet[6:8], "big") & 0x1FFF, packet[6] & 0x20
    whole = offset == 0 and not more
    return Frame(4, packet[9], packet[12:16], packet[16:20], packet[:length], header, offset == 0, whole)


def _ipv6(packet: bytes) -> Frame | None:
    if len(packet) < _IPV6_LEAST:
        return None
    length = _IPV6_LEAST + int.from_bytes(packet[4:6], "big")
    if length > len(packet):
        return None
    proto, header, first, whole = packet[6], _IPV6_LEAST, True, True
    while proto in _EXTENSIONS or proto == _FRAGMENT:
        if header + 8 > length:
            return None
        if proto == _FRAGMENT:
            offset_and_more = int.from_bytes(packet[header + 2 : header + 4], "big")
            first, whole = offset_and_more >> 3 == 0, offset_and_more & ~0x6 == 0
            size = 8
        else:
            size = 8 + packet[header + 1] * 8
        proto, header = packet[header], header + size
    if header > length:
        return None
    return Frame(6, proto, packet[8:24], packet[24:40], packet[:length], header, first, whole)


def checksum(octets: bytes) -> int:
    """The Internet checksum. Source: RFC 1071."""
    padded = octets + bytes(len(octets) & 1)
    total: int = sum(_words(len(padded)).unpack(padded))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def _words(size: int) -> Struct:
    return Struct(f"!{size // 2}H")
