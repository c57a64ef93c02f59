"""Flow counters: decodes only this part of flow descriptions, since there may be many and they are polled often.

Source: OpenFlow 1.5.1 section 7.2.4 (OXS: class 0x8002, fields of statistics) and 7.3.5.2 (OFPMP_FLOW_DESC).
"""

from collections.abc import Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812  # it is a class
from typing import NamedTuple

from sluice.drivers.openflow.oxm import Undecodable

_DESC = Struct("!H2xBxH8xQ2xH")
"""length, table, priority, (timeouts, flags, importance), cookie, (type and) length of the match"""

_MATCH_AT = 24
_STATISTIC = Struct("!HBB")
"""Class, field (shifted by one, the last bit is reserved), length."""

_OXS = 0x8002
_PACKETS, _BYTES = 4 << 1, 5 << 1


class Counted(NamedTuple):
    """What one flow has counted since it was added."""

    priority: int
    cookie: int
    packets: int
    bytes: int


def decode_counts(part: bytes) -> Iterator[Counted]:
    """The flows in one part of an OFPMP_FLOW_DESC reply.

    Raises:
        Undecodable
    """
    position = 0
    try:
        while position < len(part):
            length, _, priority, cookie, match_length = _DESC.unpack_from(part, position)
            if length < _DESC.size or position + length > len(part):
                raise Undecodable(f"a flow description at {position} has {length} octets")
            yield Counted(priority, cookie, *_counts(part, position + _MATCH_AT + (match_length + 7) // 8 * 8))
            position += length
    except (StructError, IndexError) as error:
        raise Undecodable(f"a flow description at {position} is cut short") from error


def _counts(part: bytes, at: int) -> tuple[int, int]:
    end = at + (part[at + 2] << 8 | part[at + 3])
    at += 4
    packets = size = 0
    while at < end:
        kind, field, length = _STATISTIC.unpack_from(part, at)
        at += _STATISTIC.size
        if kind == _OXS and field == _PACKETS:
            packets = int.from_bytes(part[at : at + length], "big")
        elif kind == _OXS and field == _BYTES:
            size = int.from_bytes(part[at : at + length], "big")
        at += length
    return packets, size
