"""Flow mods: their commands, and the deletion of flows that we cannot decode; `bundle` encodes all others.

Source: OpenFlow 1.5.1 section 7.3.4.3, struct ofp_flow_mod.
"""

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from sluice.dataplane.ovs.flow import FlowKey
from sluice.dataplane.ovs.text import write_match
from sluice.drivers.openflow.headers import LONGEST_MESSAGE, VERSION, NotEncodable, Type
from sluice.drivers.openflow.oxm import MATCH_HEADER, OXM


class Command(IntEnum):
    """enum ofp_flow_mod_command. An add replaces a flow with the same key and keeps its counters."""

    ADD = 0
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


_FIXED = Struct("!BBHI QQBBHHHIIIHH HH")
"""The header, struct ofp_flow_mod and the header of its match."""

_ALL_ONES = 0xFFFFFFFF
"""No buffer (OFP_NO_BUFFER), any port (OFPP_ANY), any group (OFPG_ANY)."""


def encode_removal(stranger: Stranger, xid: int) -> bytes:
    """The flow mod that deletes a flow we cannot decode, whatever its cookie."""
    match_length = MATCH_HEADER.size + len(stranger.fields)
    padding = bytes(-match_length % 8)
    length = _FIXED.size + len(stranger.fields) + len(padding)
    if length > LONGEST_MESSAGE:
        raise NotEncodable(f"{length} octets, and a message has room for {LONGEST_MESSAGE}")
    fixed = _FIXED.pack(
        *(VERSION, Type.FLOW_MOD, length, xid),
        *(0, 0, stranger.table, Command.DELETE_STRICT, 0, 0, stranger.priority),
        *(_ALL_ONES, _ALL_ONES, _ALL_ONES, 0, 0),
        *(OXM, match_length),
    )
    return fixed + stranger.fields + padding


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
