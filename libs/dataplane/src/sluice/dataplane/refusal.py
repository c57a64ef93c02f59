"""Builds the answer to a rejected packet: a TCP reset, or ICMP "administratively prohibited".

The answer comes from the packet's destination, so that conntrack and NAT on the path can match it. Packets that must
never be answered are not, whatever policies say; so two ends that reject each other stop after one answer.

Source: RFC 9293 section 3.5.2 (resets), RFC 1122 section 3.2.2 and RFC 4443 section 2.4 (e) (ICMP errors).
"""

from struct import Struct
from typing import NamedTuple

from sluice.dataplane.frame import ETHERNET, Frame, checksum, read
from sluice.dataplane.protocols import EthType, IpProto

TTL = 64

PROHIBITED = {4: (3, 10), 6: (1, 1)}
"""ICMP (type, code): the host, or any communication, is administratively prohibited. Source: RFC 1122 section 3.2.2.1,
RFC 4443 section 3.1."""

QUOTED = {4: 576 - 28, 6: 1280 - 48}
"""Maximum bytes of the packet that an error quotes. Source: RFC 1812 section 4.3.2.3, RFC 4443 section 3.1."""

_TCP = Struct("!HHIIBBHHH")
"""Ports, sequence, acknowledgement, offset, flags, window, checksum, urgent pointer."""

_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10

_ICMP_ERRORS = frozenset((3, 4, 5, 11, 12))
"""ICMP for IPv4: unreachable, source quench, redirect, time exceeded, parameter problem. Source: RFC 1122 section
3.2.2."""

_FIRST_ICMPV6_INFORMATION = 128
"""Lower types are errors. Source: RFC 4443 section 2.1."""

_IPV4 = Struct("!BBHHHBBH4s4s")
_IPV6 = Struct("!IHBB16s16s")
_PSEUDO_V6 = Struct("!16s16sI3xB")
_PSEUDO_V4 = Struct("!4s4sxBH")


class SentTo(NamedTuple):
    """The destination that the sender used, if DNAT has replaced it: a Service instead of its endpoint."""

    address: bytes
    port: int


def refuse(octets: bytes, mac: bytes, sent_to: SentTo | None = None) -> bytes | None:
    """The answer to a packet, as a frame from `mac` to `mac`; None if the packet must not be answered.

    Args:
        octets: the packet from its Ethernet header on.
        sent_to: None: the packet's own destination.
        mac: a placeholder; whatever forwards the answer sets the right addresses.
    """
    frame = read(octets)
    if frame is None or not frame.first or not _has_one_sender(frame) or _is_for_many(frame):
        return None
    if sent_to is not None:
        frame = _as_sent(frame, sent_to)
    answer = _reset(frame) if frame.proto == IpProto.TCP else _prohibited(frame)
    if answer is None:
        return None
    return ETHERNET.pack(mac, mac, EthType.IPV4 if frame.version == 4 else EthType.IPV6) + answer


def sever(octets: bytes, mac: bytes) -> tuple[bytes, ...]:
    """Resets of a TCP connection for both ends, made from one of its packets: the sender's first; none for a reset.

    The receiver has everything before the packet, or waits for nothing: the reset takes the packet's place.
    """
    frame, back = read(octets), refuse(octets, mac)
    if frame is None or back is None or frame.proto != IpProto.TCP:
        return ()
    source, target, sequence, acknowledged, _, flags, *_ = _TCP.unpack_from(frame.payload)
    turned = frame._replace(source=frame.target, target=frame.source)
    onward = _segment(turned, (source, target), sequence, acknowledged, _RST | flags & _ACK)
    return back, back[: ETHERNET.size] + onward


def _as_sent(frame: Frame, to: SentTo) -> Frame:
    """The packet as its sender knows it, except for the transport checksum, which nobody verifies in a quotation."""
    if len(to.address) != len(frame.target):
        return frame
    packet = bytearray(frame.packet)
    at = 16 if frame.version == 4 else 24
    packet[at : at + len(to.address)] = to.address
    if frame.ports is not None:
        packet[frame.header + 2 : frame.header + 4] = to.port.to_bytes(2, "big")
    if frame.version == 4:
        packet[10:12] = bytes(2)
        packet[10:12] = checksum(bytes(packet[: frame.header])).to_bytes(2, "big")
    return frame._replace(target=to.address, packet=bytes(packet))


def _reset(frame: Frame) -> bytes | None:
    segment = frame.payload
    if len(segment) < _TCP.size:
        return None
    source, target, sequence, acknowledged, offset, flags, *_ = _TCP.unpack_from(segment)
    if flags & _RST:
        return None
    if flags & _ACK:
        said = acknowledged, 0, _RST
    else:
        length = len(segment) - (offset >> 4) * 4 + bool(flags & _SYN) + bool(flags & _FIN)
        said = 0, (sequence + length) & 0xFFFFFFFF, _RST | _ACK
    return _segment(frame, (target, source), *said)


def _segment(frame: Frame, ports: tuple[int, int], sequence: int, acknowledged: int, flags: int) -> bytes:
    """A segment without data to the sender of the frame, with these ports."""
    reset = _TCP.pack(*ports, sequence, acknowledged, _TCP.size // 4 << 4, flags, 0, 0, 0)
    summed = checksum(_pseudo(frame, IpProto.TCP, len(reset)) + reset)
    return _back(frame, IpProto.TCP, reset[:16] + summed.to_bytes(2, "big") + reset[18:])


def _prohibited(frame: Frame) -> bytes | None:
    if _is_icmp_error(frame):
        return None
    kind, code = PROHIBITED[frame.version]
    quoted = bytes(4) + frame.packet[: QUOTED[frame.version]]
    proto = IpProto.ICMP if frame.version == 4 else IpProto.ICMPV6
    error = bytes((kind, code, 0, 0)) + quoted
    summed = checksum((_pseudo(frame, proto, len(error)) if frame.version == 6 else b"") + error)
    return _back(frame, proto, error[:2] + summed.to_bytes(2, "big") + quoted)


def _is_icmp_error(frame: Frame) -> bool:
    """Whether it is an ICMP error, or too truncated to tell."""
    if frame.proto not in (IpProto.ICMP, IpProto.ICMPV6):
        return False
    if not frame.payload:
        return True
    kind = frame.payload[0]
    return kind in _ICMP_ERRORS if frame.proto == IpProto.ICMP else kind < _FIRST_ICMPV6_INFORMATION


def _has_one_sender(frame: Frame) -> bool:
    """Whether the source is the address of a single host: not unspecified, loopback, multicast or broadcast."""
    if frame.version == 4:
        return frame.source[0] not in (0, 127) and frame.source[0] < 224
    return frame.source[0] != 0xFF and any(frame.source[:15])


def _is_for_many(frame: Frame) -> bool:
    return frame.target[0] >= 224 if frame.version == 4 else frame.target[0] == 0xFF


def _back(frame: Frame, proto: int, carried: bytes) -> bytes:
    """An IP packet with this payload to the source of the frame."""
    if frame.version == 6:
        return _IPV6.pack(6 << 28, len(carried), proto, TTL, frame.target, frame.source) + carried
    said = (0x45, 0, _IPV4.size + len(carried), 0, 0, TTL, proto)
    header = _IPV4.pack(*said, 0, frame.target, frame.source)
    return _IPV4.pack(*said, checksum(header), frame.target, frame.source) + carried


def _pseudo(frame: Frame, proto: int, length: int) -> bytes:
    """The pseudo-header for checksums. Source: RFC 9293 section 3.1, RFC 8200 section 8.1."""
    if frame.version == 6:
        return _PSEUDO_V6.pack(frame.target, frame.source, length, proto)
    return _PSEUDO_V4.pack(frame.target, frame.source, proto, length)
