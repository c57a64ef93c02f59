"""Builds DNS messages: questions, and answers for the lab's DNS server. Source: see `message`."""

from collections.abc import Iterable
from ipaddress import ip_address
from struct import Struct
from typing import NamedTuple

from sluice.dataplane.dns.message import HEADER, MAX_LABEL, MAX_NAME, MAX_UDP, Kind, Unreadable

_QUESTION = Struct("!HH")
_RECORD = Struct("!HHIH")
_RECURSE, _ANSWERS, _TRUNCATED = 0x0100, 0x8180, 0x0200
"""RD; QR, RD and RA; TC."""

_SIZE_OPTION = b"\0" + Struct("!HHIH").pack(41, MAX_UDP, 0, 0)
"""EDNS: the size that we accept. Source: RFC 6891 section 6.1."""


class Record(NamedTuple):
    name: str
    value: str
    """An address, or the name that `name` is an alias of."""

    ttl_s: int


def question(id_: int, name: str, kind: Kind) -> bytes:
    """A query for the addresses of one family of this name.

    Raises:
        Unreadable: it is not a valid DNS name.
    """
    return HEADER.pack(id_, _RECURSE, 1, 0, 0, 1) + encode_name(name) + _QUESTION.pack(kind, 1) + _SIZE_OPTION


def answer(asked: bytes, records: Iterable[Record], *, rcode: int = 0, limit: int = 0xFFFF) -> bytes:
    """The answer to the message `asked` with these records, or a truncated one if that exceeds `limit` bytes."""
    id_, _, _, _, _, _ = HEADER.unpack_from(asked)
    copied = asked[HEADER.size : question_end(asked)]
    encoded = [_record(record) for record in records]
    whole = HEADER.pack(id_, _ANSWERS | rcode, 1, len(encoded), 0, 0) + copied + b"".join(encoded)
    return whole if len(whole) <= limit else HEADER.pack(id_, _ANSWERS | _TRUNCATED, 1, 0, 0, 0) + copied


def question_end(asked: bytes) -> int:
    """The offset after the first question of a message.

    Raises:
        Unreadable: it is truncated.
    """
    at = HEADER.size
    while at < len(asked) and asked[at]:
        at += 1 + asked[at]
    if at + 1 + _QUESTION.size > len(asked):
        raise Unreadable("cut short in its question")
    return at + 1 + _QUESTION.size


def encode_name(name: str) -> bytes:
    """The name as labels.

    Raises:
        Unreadable: a label is empty or too long, or is not ASCII.
    """
    try:
        labels = [label.encode("ascii") for label in name.split(".")] if name else []
    except UnicodeEncodeError as error:
        raise Unreadable(f"{name!r} is no name: it is not ASCII") from error
    if not all(0 < len(label) <= MAX_LABEL for label in labels) or len(name) + 2 > MAX_NAME:
        raise Unreadable(f"{name!r} is no name: a label is empty or too long")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def _record(record: Record) -> bytes:
    try:
        address = ip_address(record.value)
    except ValueError:
        kind, octets = Kind.CNAME, encode_name(record.value)
    else:
        kind, octets = (Kind.A if address.version == 4 else Kind.AAAA), address.packed
    return encode_name(record.name) + _RECORD.pack(kind, 1, record.ttl_s, len(octets)) + octets
