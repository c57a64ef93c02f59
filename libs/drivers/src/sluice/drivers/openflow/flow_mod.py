"""Flow mods: add a flow, change its actions, delete it.

Source: OpenFlow 1.5.1 section 7.3.4.3, struct ofp_flow_mod.
"""

from enum import IntEnum
from struct import Struct
from struct import error as StructError  # noqa: N812  # it is a class
from typing import NamedTuple

from sluice.dataplane.ovs.flow import FlowBody, FlowKey
from sluice.dataplane.ovs.text import write_match
from sluice.drivers.openflow.actions import encode_instructions
from sluice.drivers.openflow.headers import LONGEST_MESSAGE, VERSION, NotEncodable, Type
from sluice.drivers.openflow.oxm import MATCH_HEADER, OXM, encode_fields


class Command(IntEnum):
    """enum ofp_flow_mod_command. An add replaces a flow with the same key and keeps its counters."""

    ADD = 0
    MODIFY_STRICT = 2
    DELETE_STRICT = 4


class Stranger(NamedTuple):
    """A flow read back that ours can never be, with its key as the switch encoded it, so that it can be deleted.

    It may be left over from another version, or come from somebody using ovs-ofctl.
    """

    table: int
    priority: int
    cookie: int
    fields: bytes
    """Its match, an OXM list."""

    why: str


FIXED = Struct("!BBHI QQBBHHHIIIHH HH")
"""The header, struct ofp_flow_mod and the header of its match."""

_ALL_ONES = 0xFFFFFFFF
"""No buffer (OFP_NO_BUFFER), any port (OFPP_ANY), any group (OFPG_ANY)."""


def encode_flow_mod(command: Command, key: FlowKey, body: FlowBody | None, xid: int) -> bytes:
    """The whole message.

    Args:
        body: ignored by DELETE_STRICT, which deletes the flow whatever its cookie.

    Raises:
        NotEncodable: naming the flow and why.
    """
    try:
        fields = encode_fields(key.match)
        instructions = b"" if command is Command.DELETE_STRICT or body is None else encode_instructions(body.actions)
        cookie = 0 if command is Command.DELETE_STRICT or body is None else body.cookie
        return _assemble(command, key.table, key.priority, fields, xid, cookie=cookie, instructions=instructions)
    except (StructError, OverflowError, NotEncodable) as error:
        raise not_encodable(key, error) from error


def encode_removal(stranger: Stranger, xid: int) -> bytes:
    """The flow mod that deletes a flow we cannot decode."""
    return _assemble(Command.DELETE_STRICT, stranger.table, stranger.priority, stranger.fields, xid)


def not_encodable(key: FlowKey, error: Exception) -> NotEncodable:
    return NotEncodable(f"flow {describe(key)}: {error}")


def describe(key: FlowKey) -> str:
    """The flow's key as ovs-ofctl writes it; plain numbers if a value is invalid for its field."""
    try:
        terms = write_match(key.match)
    except (ValueError, OverflowError):
        terms = ",".join(
            f"{field.spec.name}={value:#x}" + ("" if mask is None else f"/{mask:#x}")
            for field, value, mask in key.match
        )
    return ",".join(filter(None, (f"table={key.table}", f"priority={key.priority}", terms)))


def _assemble(
    command: Command, table: int, priority: int, fields: bytes, xid: int, *, cookie: int = 0, instructions: bytes = b""
) -> bytes:
    match_length = MATCH_HEADER.size + len(fields)
    padding = bytes(-match_length % 8)
    length = FIXED.size + len(fields) + len(padding) + len(instructions)
    if length > LONGEST_MESSAGE:
        raise NotEncodable(f"{length} octets, and a message has room for {LONGEST_MESSAGE}")
    fixed = FIXED.pack(
        *(VERSION, Type.FLOW_MOD, length, xid),
        *(cookie, 0, table, command, 0, 0, priority, _ALL_ONES, _ALL_ONES, _ALL_ONES, 0, 0),
        *(OXM, match_length),
    )
    return fixed + fields + padding + instructions
