"""Parses DNS messages from untrusted bytes.

Source: RFC 1035 section 4 (messages, compression), RFC 3596 (AAAA), RFC 2181 sections 8 and 10.1 (TTLs, one CNAME).
"""

from collections.abc import Iterator
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import NamedTuple

from sluice.contracts.ids import Address

PORT = 53
MAX_UDP = 1232
"""Bytes that we accept in one datagram, which no link fragments. Source: DNS Flag Day 2020."""

MAX_NAME = 255
MAX_LABEL = 63
"""Source: RFC 1035 section 2.3.4."""

MAX_JUMPS = 32
"""Pointers that one name may follow. All point backwards, so there is no loop, but long chains cost time."""

HEADER = Struct("!HHHHHH")
"""Id, flags, and the numbers of questions, answers, authorities and additional records."""

_FIXED = Struct("!HHIH")
"""Fixed part of a record, after its name: type, class, TTL, length."""

NO_SUCH_NAME = 3
"""RCODE NXDOMAIN"""

_IS_ANSWER, _OPCODE, _TRUNCATED, _RCODE = 0x8000, 0x7800, 0x0200, 0x000F
_INTERNET = 1
_POINTER = 0xC0
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")


class Kind(IntEnum):
    """Record types. Source: IANA, "Domain Name System (DNS) Parameters"."""

    A = 1
    CNAME = 5
    AAAA = 28


class Unreadable(ValueError):
    """The bytes are not a DNS answer that may be acted upon."""


class Told(NamedTuple):
    """An address of a name."""

    name: str
    """Lower case, without a trailing dot."""

    address: Address
    ttl_s: int
    """0..2^31-1"""


class Answer(NamedTuple):
    id: int
    """The id of the question."""

    name: str
    """The queried name."""

    kind: int
    told: tuple[Told, ...]
    """Addresses of that name, and of every alias on the way to them."""

    truncated: bool
    code: int
    """RCODE: 0, NO_SUCH_NAME, or another error of the server."""


def read(octets: bytes) -> Answer:
    """Parse an answer. Records about names other than the queried one and its aliases are ignored.

    Raises:
        Unreadable: it is not an answer, is truncated, or contradicts itself.
    """
    if len(octets) < HEADER.size:
        raise Unreadable("shorter than a header")
    id_, flags, questions, answers, _, _ = HEADER.unpack_from(octets)
    if not flags & _IS_ANSWER or flags & _OPCODE:
        raise Unreadable("no answer to a query")
    if questions != 1:
        if answers:
            raise Unreadable(f"answers to {questions} questions")
        return Answer(id_, "", 0, (), bool(flags & _TRUNCATED), flags & _RCODE)
    name, at = name_at(octets, HEADER.size)
    if at + 4 > len(octets):
        raise Unreadable("cut short in its question")
    kind = int.from_bytes(octets[at : at + 2], "big")
    told = tuple(_told(name, *_records(octets, at + 4, answers)))
    return Answer(id_, name, kind, told, bool(flags & _TRUNCATED), flags & _RCODE)


_Aliases = dict[str, tuple[str, int]]
_Addresses = dict[str, dict[Address, int]]


def _records(octets: bytes, at: int, count: int) -> tuple[_Aliases, _Addresses]:
    """The alias of each name, and its addresses; each with its TTL."""
    aliases: _Aliases = {}
    addresses: _Addresses = {}
    for _ in range(count):
        name, at = name_at(octets, at)
        if at + _FIXED.size > len(octets):
            raise Unreadable("cut short in a record")
        kind, class_, ttl_s, length = _FIXED.unpack_from(octets, at)
        at += _FIXED.size
        following = at + length
        if following > len(octets):
            raise Unreadable("cut short in a record")
        ttl_s = 0 if ttl_s >> 31 else ttl_s
        if class_ == _INTERNET and kind in (Kind.A, Kind.AAAA):
            address = _address(kind, octets[at:following])
            of_name = addresses.setdefault(name, {})
            of_name[address] = min(ttl_s, of_name.get(address, ttl_s))
        elif class_ == _INTERNET and kind == Kind.CNAME:
            target, end = name_at(octets, at)
            if end != following or aliases.setdefault(name, (target, ttl_s))[0] != target:
                raise Unreadable(f"{name} is an alias of more than one name")
        at = following
    return aliases, addresses


def _told(name: str, aliases: _Aliases, addresses: _Addresses) -> Iterator[Told]:
    """The addresses of the name and its aliases, each with the shortest TTL in the chain to it."""
    chain: dict[str, int] = {}
    while name not in chain:
        target, ttl_s = aliases.get(name, (None, 0))
        chain[name] = ttl_s
        if target is None:
            break
        name = target
    links = list(chain.items())
    for place, (owner, _) in enumerate(links):
        for address, ttl_s in addresses.get(owner, {}).items():
            weakest = ttl_s
            yield Told(owner, address, weakest)
            for alias, link_ttl_s in reversed(links[:place]):
                weakest = min(weakest, link_ttl_s)
                yield Told(alias, address, weakest)


def _address(kind: int, octets: bytes) -> Address:
    """The address; an IPv4-mapped IPv6 address becomes the IPv4 one that packets have (RFC 4291 section 2.5.5.2)."""
    if len(octets) != (4 if kind == Kind.A else 16):
        raise Unreadable(f"an address of {len(octets)} octets")
    if kind == Kind.A:
        return Address(str(IPv4Address(octets)))
    ipv6 = IPv6Address(octets)
    return Address(str(ipv6.ipv4_mapped or ipv6))


def name_at(octets: bytes, at: int) -> tuple[str, int]:
    """Parse the name at this offset; returns it in lower case, and the offset after it."""
    labels: list[str] = []
    following, lowest, jumps, length = 0, at, 0, 1
    while True:
        if at >= len(octets):
            raise Unreadable("cut short in a name")
        size = octets[at]
        if size & _POINTER == _POINTER:
            if at + 2 > len(octets):
                raise Unreadable("cut short in a name")
            target = int.from_bytes(octets[at : at + 2], "big") & 0x3FFF
            following = following or at + 2
            jumps += 1
            if target >= lowest or jumps > MAX_JUMPS:
                raise Unreadable("a name that leads round")
            at = lowest = target
            continue
        if size > MAX_LABEL:
            raise Unreadable("a label of an unknown kind")
        if not size:
            return ".".join(labels), following or at + 1
        length += size + 1
        if length > MAX_NAME or at + 1 + size > len(octets):
            raise Unreadable("a name that is too long")
        labels.append(_label(octets[at + 1 : at + 1 + size].lower()))
        at += 1 + size


def _label(octets: bytes) -> str:
    r"""As text, in which dots and stars are only ours: other bytes are `\DDD` (RFC 4343 section 2.1)."""
    if _PLAIN.issuperset(octets):
        return octets.decode("ascii")
    return "".join(chr(octet) if octet in _PLAIN else f"\\{octet:03d}" for octet in octets)
