"""Matches as OXM: a list of fields, each with its header, its value and an optional mask.

Open vSwitch requires a field's prerequisites before the field. A match is sorted by field name; three fields that
others depend on go first (ct_state, dl_type, nw_proto, in this order), and alphabetical order satisfies all others.

Source: OpenFlow 1.5.1 section 7.2.3; ovs-fields(7) for prerequisites.
"""

from struct import Struct
from typing import NamedTuple

from sluice.dataplane.ovs.fields import PACKET_REGS, Field
from sluice.dataplane.ovs.flow import Match, Term
from sluice.drivers.openflow.headers import padded

MATCH_HEADER = Struct("!HH")
"""type (OXM), length without padding"""

OXM = 1
"""OFPMT_OXM"""


class Undecodable(ValueError):
    """Octets with no meaning for us: a field or an action that we never send."""


class Wire(NamedTuple):
    """How one field is encoded."""

    exact: bytes
    """The header of an unmasked value."""

    masked: bytes
    """The header of a value with a mask."""

    size: int
    """Octets of the value."""

    first: bool
    """Other fields depend on it, so it goes first."""


def _header(oxm_class: int, number: int, *, masked: bool, length: int) -> bytes:
    return (oxm_class << 16 | number << 9 | masked << 8 | length).to_bytes(4, "big")


def _wire(field: Field) -> Wire:
    spec = field.spec
    size = (spec.bits + 7) // 8
    return Wire(
        exact=_header(spec.oxm_class, spec.number, masked=False, length=size),
        masked=_header(spec.oxm_class, spec.number, masked=True, length=2 * size),
        size=size,
        first=field in (Field.CT_STATE, Field.ETH_TYPE, Field.IP_PROTO),
    )


WIRE = {field: _wire(field) for field in Field}

_BY_HEADER = {header: field for field, wire in WIRE.items() for header in (wire.exact, wire.masked)}

_REGISTERS = tuple(Field[f"REG{number}"] for number in range(16))


def encode_fields(match: Match) -> bytes:
    """The OXM list of a canonical match, without its frame.

    Raises:
        OverflowError: a value is wider than its field.
    """
    first = rest = b""
    for field, value, mask in match:
        exact, masked, size, goes_first = WIRE[field]
        if mask is None:
            written = exact + value.to_bytes(size, "big")
        else:
            written = masked + value.to_bytes(size, "big") + mask.to_bytes(size, "big")
        if goes_first:
            first += written
        else:
            rest += written
    return first + rest


def frame(fields: bytes) -> bytes:
    """The OXM list inside a struct ofp_match."""
    return padded(MATCH_HEADER.pack(OXM, MATCH_HEADER.size + len(fields)) + fields)


def encode_match(match: Match) -> bytes:
    return frame(encode_fields(match))


class Terms:
    """Decodes OXM lists with a cache: the flows of a switch repeat the same few terms.

    Use one per dump; its cache is never emptied.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[tuple[str, Term], ...]] = {}

    def read(self, fields: bytes) -> Match:
        """The canonical match of the OXM list.

        Raises:
            Undecodable: it contains a field that we never send.
        """
        known = self._known
        terms: list[tuple[str, Term]] = []
        position, end = 0, len(fields)
        try:
            while position < end:
                following = position + 4 + fields[position + 3]
                octets = fields[position:following]
                position = following
                named = known.get(octets)
                if named is None:
                    named = known[octets] = tuple((term.field.spec.name, term) for term in decode_field(octets))
                terms += named
            terms.sort()  # by name
        except (IndexError, TypeError) as error:  # the fields are not comparable
            raise Undecodable(f"OXM list {fields.hex()} is cut short, or has a field twice") from error
        return tuple([term for _, term in terms])


def decode_field(octets: bytes) -> tuple[Term, ...]:
    """The terms of one OXM field: up to two for a pair of registers, else one.

    Raises:
        Undecodable: it is a field that we never send, or is truncated.
    """
    header, payload = octets[:4], octets[4:]
    if len(header) < 4 or len(payload) != header[3]:
        raise Undecodable(f"OXM field {octets.hex()} is cut short")
    masked = bool(header[2] & 1)
    field = _BY_HEADER.get(header)
    if field is not None:
        size = WIRE[field].size
        value = int.from_bytes(payload[:size], "big")
        return (Term(field, value, int.from_bytes(payload[size:], "big") if masked else None),)
    if int.from_bytes(header[:2], "big") == PACKET_REGS and header[3] == (16 if masked else 8):
        return _pair(header[2] >> 1, payload[:8], payload[8:] if masked else b"\xff" * 8)
    raise Undecodable(f"OXM field {octets.hex()} is none of ours")


def _pair(number: int, value: bytes, mask: bytes) -> tuple[Term, ...]:
    """Two registers; OpenFlow 1.5 reads registers back as pairs, the first in the upper half."""
    if 2 * number + 1 >= len(_REGISTERS):
        raise Undecodable(f"xreg{number} is none of ours")
    terms = []
    for half in (0, 1):
        part = slice(4 * half, 4 * half + 4)
        bits = int.from_bytes(mask[part], "big")
        if bits:
            term_mask = None if bits == 0xFFFFFFFF else bits
            terms.append(Term(_REGISTERS[2 * number + half], int.from_bytes(value[part], "big"), term_mask))
    return tuple(terms)
