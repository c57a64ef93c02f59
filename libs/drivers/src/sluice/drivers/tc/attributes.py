"""Netlink attributes: length, type, value, and padding to four bytes. Source: netlink(7), Linux net/netlink."""

import struct
from collections.abc import Iterator

HEAD = struct.Struct("=HH")
NESTED = 0x8000
KIND_MASK = 0x3FFF
"""The two upper bits are NLA_F_NESTED and NLA_F_NET_BYTEORDER."""

U8, U16, U32 = struct.Struct("=B"), struct.Struct("=H"), struct.Struct("=I")
"""In host byte order, as nearly all of netlink."""

BE16, BE32 = struct.Struct("!H"), struct.Struct("!I")
"""In network byte order, as in packets: addresses, ports, Ethernet types."""

_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class NotAttributes(ValueError):
    """The bytes are truncated, or their lengths are wrong."""


def attribute(kind: int, value: bytes) -> bytes:
    size = len(value)
    return HEAD.pack(size + 4, kind) + value + _PADDING[size & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute.

    Raises:
        NotAttributes
    """
    at, end = 0, len(body)
    while at < end:
        if end - at < HEAD.size:
            raise NotAttributes(f"{end - at} bytes are left, fewer than an attribute's head has")
        size, kind = HEAD.unpack_from(body, at)
        if not HEAD.size <= size <= end - at:
            raise NotAttributes(f"attribute {kind & KIND_MASK} says it has {size} bytes, where {end - at} are left")
        yield kind & KIND_MASK, body[at + HEAD.size : at + size]
        at += size + 3 & ~3


def by_kind(body: bytes) -> dict[int, bytes]:
    """The attributes by type; of duplicates the last, as the kernel reads them.

    Raises:
        NotAttributes
    """
    return dict(attributes(body))


def string(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
