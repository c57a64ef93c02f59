"""The nfnetlink messages that are used here. Source: linux/netfilter/nfnetlink.h, linux/netlink.h."""

import socket
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from sluice.drivers import namespaces

NETLINK_NETFILTER = 12
RECEIVE_BYTES = 8 << 20
"""Buffer for messages that arrive faster than they are read."""

SO_RCVBUFFORCE = 33
"""Source: asm-generic/socket.h. Needs CAP_NET_ADMIN, which any process that changes tables has."""

_HEADER = Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port."""

_FAMILY = Struct("=BBH")
"""nfgenmsg: family, version, resource id in network byte order."""

_ATTRIBUTE = Struct("=HH")
_NESTED_OR_ORDERED = 0xC000


class Message(NamedTuple):
    subsystem: int
    kind: int
    family: int
    attributes: dict[int, bytes]


def opened(netns: Path | None) -> socket.socket:
    """A non-blocking socket in the namespace.

    Raises:
        OSError
    """

    def make() -> socket.socket:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        made.bind((0, 0))
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
        made.setblocking(False)
        return made

    return namespaces.inside(netns, make)


def request(subsystem: int, kind: int, resource: int, attributes: bytes, flags: int) -> bytes:
    """One message."""
    body = _FAMILY.pack(socket.AF_UNSPEC, 0, socket.htons(resource)) + attributes
    return _HEADER.pack(_HEADER.size + len(body), subsystem << 8 | kind, flags, 0, 0) + body


def attribute(number: int, value: bytes) -> bytes:
    padding = -len(value) % 4
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), number) + value + bytes(padding)


def messages(data: bytes) -> Iterator[Message]:
    """The messages of a datagram, without answers to requests."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        body = data[at + _HEADER.size : at + length]
        if kind >= 0x100 and len(body) >= _FAMILY.size:
            family = body[0]
            yield Message(kind >> 8, kind & 0xFF, family, dict(_attributes(body[_FAMILY.size :])))
        at += -(-length // 4) * 4


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, number = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield number & ~_NESTED_OR_ORDERED, data[at + _ATTRIBUTE.size : at + length]
        at += -(-length // 4) * 4
