"""What is ours at a hook, and how to recognise it: private preferences, private chains, and cookies.

Chain 0 is shared by everyone; we use one preference in it. All our other filters are in chains of our own:

    bits 27..24  OWNER: as far as we know, nobody else's chains begin with it
    bit  23      generation: the next program is built in the one that packets do not go to
    bits 22..0   place: see `Place`; chains of ports are at the hash of their content, from PORTS up

A cookie has 16 bytes and tells what the filter is for:

    0..3   b"SLCE", the same in all of ours: others can find and remove our filters by it
    4      kind, see `CookieKind`
    5..7   0
    8..15  reference, big-endian: of ROOT the digest of all but the addresses, of PORT its opening (`openings`)
"""

from enum import IntEnum
from typing import NamedTuple

from sluice.dataplane.tc.filter import FilterKey

ROOT_PREF = 0x4E00
"""19968: before what tc(8) chooses by itself (from 49152 down), after what people number by hand from 1."""

OWNER = 0x5
OWNER_SHIFT = 24
GENERATION_SHIFT = 23
PLACE_MASK = (1 << GENERATION_SHIFT) - 1
OWNER_MARK = b"SLCE"


class Place(IntEnum):
    """The chains of a generation."""

    ENTRY = 0
    CLASSES = 1
    ACCEPT = 2
    PORTS = 16
    """The first chain of ports."""


class CookieKind(IntEnum):
    ROOT = 1
    BASE = 2
    """Always present, whatever the policies."""

    STATE = 3
    """Decides by the state of the connection."""

    ADDRESS = 4
    """One address or prefix, continues at the ports open to it."""

    PORT = 5
    """A port, range or protocol that is open to the addresses that lead to its chain."""

    REST = 6
    """What no rule allowed."""


class Cookie(NamedTuple):
    kind: CookieKind
    reference: int = 0
    """64 bits."""


def pack(kind: CookieKind, reference: int = 0) -> bytes:
    return OWNER_MARK + bytes((kind, 0, 0, 0)) + reference.to_bytes(8, "big")


def unpack(cookie: bytes) -> Cookie | None:
    """The parsed cookie, or None if it is not ours (or of a later version)."""
    if len(cookie) != 16 or cookie[:4] != OWNER_MARK or cookie[4] not in _KINDS:
        return None
    return Cookie(_KINDS[cookie[4]], int.from_bytes(cookie[8:], "big"))


def chain(generation: int, place: int) -> int:
    """Number of the chain at this place of this generation, 0 or 1."""
    return OWNER << OWNER_SHIFT | generation << GENERATION_SHIFT | place


def is_our_chain(number: int) -> bool:
    return number >> OWNER_SHIFT == OWNER


def generation_of(number: int) -> int:
    """The generation of one of our chains."""
    return number >> GENERATION_SHIFT & 1


def place_of(number: int) -> int:
    """The place of one of our chains."""
    return number & PLACE_MASK


def is_root(key: FilterKey) -> bool:
    """Whether it is at the position of our root: our only preference in chain 0."""
    return key.chain == 0 and key.pref == ROOT_PREF


def is_ours(key: FilterKey) -> bool:
    """Whether we may change and remove it."""
    return is_our_chain(key.chain) or is_root(key)


_KINDS = {kind.value: kind for kind in CookieKind}
