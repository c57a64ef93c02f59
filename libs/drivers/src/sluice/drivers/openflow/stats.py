"""Flow descriptions: a switch's flows, read back as the same values that were sent.

Source: OpenFlow 1.5.1 section 7.3.5.2 (multipart OFPMP_FLOW_DESC), section 7.2.4 for the statistics in between.
"""

from struct import Struct
from struct import error as StructError  # noqa: N812  # it is a class

from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.flow import FlowBody, FlowKey, Flows
from sluice.dataplane.ovs.pipeline import Table
from sluice.drivers.openflow.actions_read import decode_instructions
from sluice.drivers.openflow.flow_mod import Stranger
from sluice.drivers.openflow.oxm import Terms, Undecodable, encode_match

FLOW_DESC = 1
"""OFPMP_FLOW_DESC"""

REPLY_MORE = 1
"""OFPMPF_REPLY_MORE: another part follows."""

ANY = 0xFFFFFFFF
ALL_TABLES = 0xFF

MULTIPART = Struct("!HH4x")
"""type, flags"""

_REQUEST = Struct("!B3xII4xQQ")
_DESC = Struct("!4xBxHHH4xQ2xH")
"""(length), table, priority, idle and hard timeout, (flags, importance), cookie, (type and) length of the match"""

_MATCH_AT = 24
"""Offset of the match in struct ofp_flow_desc."""


def is_learnt(cookie: int) -> bool:
    """Whether the switch learnt the flow through one of ours; it removes the flow again by itself."""
    said = cookies.unpack(cookie)
    return said is not None and said.kind is CookieKind.AFFINITY


def encode_request(cookie: int = 0, cookie_mask: int = 0, table: int = ALL_TABLES) -> bytes:
    """The body of a MULTIPART_REQUEST for the flows whose cookie equals `cookie` in the bits of the mask."""
    wanted = _REQUEST.pack(table, ANY, ANY, cookie, cookie_mask)
    return MULTIPART.pack(FLOW_DESC, 0) + wanted + encode_match(())


class FlowReader:
    """Decodes the parts of one reply, with a cache: flows share fields and bodies."""

    def __init__(self) -> None:
        self.flows: Flows = {}
        self.strangers: list[Stranger] = []
        self._terms = Terms()
        self._bodies: dict[tuple[int, bytes], FlowBody] = {}

    def take(self, part: bytes) -> None:
        """Decode the flows of one part: the body after MULTIPART.

        Raises:
            Undecodable: the part itself is broken. A flow that cannot be ours becomes a stranger instead.
        """
        position = 0
        try:
            while position < len(part):
                length = int.from_bytes(part[position : position + 2], "big")
                if length < _DESC.size or position + length > len(part):
                    raise Undecodable(f"a flow description at {position} has {length} octets")
                self._take_one(part[position : position + length])
                position += length
        except (StructError, IndexError) as error:
            raise Undecodable(f"a flow description at {position} is cut short") from error

    def _take_one(self, octets: bytes) -> None:
        table, priority, idle_s, hard_s, cookie, match_length = _DESC.unpack_from(octets)
        fields = octets[_DESC.size : _MATCH_AT + match_length]
        statistics_at = _MATCH_AT + (match_length + 7) // 8 * 8
        statistics_length = octets[statistics_at + 2] << 8 | octets[statistics_at + 3]
        instructions = octets[statistics_at + (statistics_length + 7) // 8 * 8 :]
        try:
            if table == Table.AFFINITY and is_learnt(cookie):
                return
            if idle_s or hard_s:
                raise Undecodable("it has a timeout")
            match = self._terms.read(fields)
            body = self._bodies.get((cookie, instructions))
            if body is None:
                body = self._bodies[cookie, instructions] = FlowBody(decode_instructions(instructions), cookie)
        except Undecodable as error:
            self.strangers.append(Stranger(table, priority, cookie, fields, str(error)))
        else:
            self.flows[FlowKey(table, priority, match)] = body
