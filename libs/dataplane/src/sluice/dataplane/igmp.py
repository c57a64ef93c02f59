"""IGMP: parses membership reports of hosts, and builds queries.

Source: RFC 1112 appendix I (version 1), RFC 2236 (2), RFC 3376 (3). Source filtering (version 3) is left to the host:
one that wants some sources of a group is a member of the group.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from sluice.dataplane.frame import ETHERNET, checksum, read
from sluice.dataplane.protocols import EthType, IpProto

QUERY = 0x11
REPORT_V1, REPORT_V2, LEAVE, REPORT_V3 = 0x12, 0x16, 0x17, 0x22
"""Source: RFC 2236 section 2.1, RFC 3376 section 4.2."""

ALL_HOSTS = 0xE0000001
"""224.0.0.1, the destination of general queries."""

FIRST_ROUTED, LAST_ROUTED = 0xE0000100, 0xEFFFFFFF
"""224.0.1.0 to 239.255.255.255: lower groups are never routed. Source: RFC 5771 sections 3 and 4."""

_MESSAGE = Struct("!BBH4s")
_RECORD = Struct("!BBH4s")
_IPV4 = Struct("!BBHHHBBH4s4s")
_ROUTER_ALERT = bytes((0x94, 4, 0, 0))
"""Source: RFC 2113 section 2.1."""

_IS_INCLUDE, _IS_EXCLUDE, _TO_INCLUDE, _TO_EXCLUDE, _ALLOW, _BLOCK = range(1, 7)
"""Source: RFC 3376 section 4.2.12."""

_MOST_TENTHS = 0x7F
"""Tenths of a second that a host may wait before it answers; from 128 on, the encoding differs. Source: RFC 3376
4.1.1."""


class Report(NamedTuple):
    """A host reports whether it is a member of a group."""

    type: int
    """Type of the message."""

    group: int
    """The group's IPv4 address."""

    joins: bool


def reports(octets: bytes) -> tuple[Report, ...]:
    """The reports in the packet; empty if it is not a report, is truncated, or has a wrong checksum.

    Args:
        octets: from the Ethernet header on.
    """
    frame = read(octets)
    if frame is None or frame.version != 4 or frame.proto != IpProto.IGMP or not frame.first:
        return ()
    message = frame.payload
    if len(message) < _MESSAGE.size or checksum(message) != 0:
        return ()
    kind, _, _, group = _MESSAGE.unpack_from(message)
    match kind:
        case 0x12 | 0x16:
            return (Report(kind, int.from_bytes(group, "big"), joins=True),)
        case 0x17:
            return (Report(kind, int.from_bytes(group, "big"), joins=False),)
        case 0x22:
            return tuple(_records(message))
        case _:
            return ()


def _records(message: bytes) -> Iterator[Report]:
    left, at = int.from_bytes(message[6:8], "big"), _MESSAGE.size
    while left and at + _RECORD.size <= len(message):
        kind, auxiliary, sources, group = _RECORD.unpack_from(message, at)
        at += _RECORD.size + 4 * (sources + auxiliary)
        left -= 1
        number = int.from_bytes(group, "big")
        if kind in (_IS_EXCLUDE, _TO_EXCLUDE) or (kind in (_IS_INCLUDE, _TO_INCLUDE, _ALLOW) and sources):
            yield Report(REPORT_V3, number, joins=True)
        elif kind == _TO_INCLUDE:
            yield Report(REPORT_V3, number, joins=False)


def query(mac: int, source: int, answer_within_s: float) -> bytes:
    """A frame from `mac` with a general query, to which every host answers with its groups.

    Args:
        source: IPv4 address of the querier.
        answer_within_s: 0.1 to 12.7.
    """
    tenths = max(1, min(_MOST_TENTHS, round(answer_within_s * 10)))
    message = _with_checksum(_MESSAGE.pack(QUERY, tenths, 0, bytes(4)) + bytes(4), 2)
    total = _IPV4.size + len(_ROUTER_ALERT) + len(message)
    header = _IPV4.pack(
        0x46, 0xC0, total, 0, 0, 1, IpProto.IGMP, 0, source.to_bytes(4, "big"), ALL_HOSTS.to_bytes(4, "big")
    )
    packet = _with_checksum(header + _ROUTER_ALERT, 10) + message
    return ETHERNET.pack((0x01005E << 24 | 1).to_bytes(6, "big"), mac.to_bytes(6, "big"), EthType.IPV4) + packet


def _with_checksum(octets: bytes, at: int) -> bytes:
    return octets[:at] + checksum(octets).to_bytes(2, "big") + octets[at + 2 :]
