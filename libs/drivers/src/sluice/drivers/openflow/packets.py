"""Packets that the switch sends to us, and packets that we send into the switch.

A packet arrives as PACKET_IN2. One that a flow paused (`pause`) continues where it was when its message is sent back
unchanged as a resume; registers and connection state stay with it.

Source: Open vSwitch include/openflow/nicira-ext.h, enum nx_packet_in2_prop_type and nxt_resume; OpenFlow 1.5.1 sections
7.3.6 (packet-out) and 7.3.2 (configuration).
"""

from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Actions, Term, match
from sluice.drivers.openflow.actions import encode_actions
from sluice.drivers.openflow.actions_read import pieces
from sluice.drivers.openflow.headers import Extension, Port, is_extension
from sluice.drivers.openflow.oxm import Undecodable, decode_field, encode_match

# Properties: enum nx_packet_in2_prop_type
PACKET, FULL_LEN, BUFFER_ID, TABLE_ID, COOKIE, REASON, METADATA, USERDATA, CONTINUATION = range(9)

WHOLE_PACKETS = Struct("!HH").pack(0, 0xFFFF)
"""The body of a SET_CONFIG message: no special handling of fragments, and whole packets. Without it (miss_send_len 0)
the switch sends no packets over its management socket."""

PACKET_IN2 = Struct("!I").pack(2)
"""The body of a SET_PACKET_IN_FORMAT extension: NXPIF_NXT_PACKET_IN2."""

_CONTROLLER_ID = Struct("!6xH")

_PACKET_OUT = Struct("!IH2x")
_NO_BUFFER = 0xFFFFFFFF


class PacketIn(NamedTuple):
    packet: bytes
    """From its Ethernet header on."""

    userdata: bytes
    """The userdata of the flow's Controller action. Dispatch on it, since the table of a paused packet can read 0."""

    cookie: int
    table: int
    metadata: tuple[Term, ...]
    """Ingress port, registers and connection state, as far as we know the fields."""

    held: bool
    """Whether the packet is paused and waits for `resume`."""

    octets: bytes
    """The message, to be sent back unchanged."""


def decode_packet_in(body: bytes) -> PacketIn | None:
    """The packet in the body of an EXPERIMENTER message, or None if it is another extension.

    Raises:
        Undecodable
    """
    if not is_extension(body, Extension.PACKET_IN2):
        return None
    said = dict(pieces(body[8:], aligned=True))
    return PacketIn(
        packet=said.get(PACKET, b""),
        userdata=said.get(USERDATA, b""),
        cookie=int.from_bytes(said.get(COOKIE, b"")[-8:], "big"),
        table=int.from_bytes(said.get(TABLE_ID, b"")[:1], "big"),
        metadata=_known_terms(said.get(METADATA, b"")),
        held=CONTINUATION in said,
        octets=body[8:],
    )


def controller_says(controller_id: int) -> bytes:
    """The body of a SET_CONTROLLER_ID extension: this connection receives only what flows send to this controller."""
    return _CONTROLLER_ID.pack(controller_id)


def encode_packet_out(packet: bytes, actions: Actions, in_port: int = Port.CONTROLLER) -> bytes:
    """The body of a PACKET_OUT message: run the actions on the packet as if it had arrived at `in_port`."""
    octets = encode_actions(actions)
    return _PACKET_OUT.pack(_NO_BUFFER, len(octets)) + encode_match(match((Field.IN_PORT, in_port))) + octets + packet


def _known_terms(fields: bytes) -> tuple[Term, ...]:
    terms: list[Term] = []
    position = 0
    while position + 4 <= len(fields):
        following = position + 4 + fields[position + 3]
        terms += _terms_of(fields[position:following])
        position = following
    return tuple(terms)


@lru_cache(maxsize=4096)  # packets repeat the same few values
def _terms_of(field: bytes) -> tuple[Term, ...]:
    try:
        return decode_field(field)
    except Undecodable:
        return ()  # contains fields that we do not know
