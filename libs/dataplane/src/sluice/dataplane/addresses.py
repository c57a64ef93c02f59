"""Addresses and ports as masked integers: the sets that one OpenFlow or flower match can express.

A set that is not one mask becomes several: a CIDR without its excepts becomes a cover of smaller CIDRs, a port range a
cover of masked values. Both covers are minimal, and their parts do not overlap.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address, NetmaskValueError, ip_address, ip_network
from typing import NamedTuple

WIDTH = {4: 32, 6: 128}
"""Bits of an address, by IP version."""

PORTS = 0x10000
"""Number of ports. Source: RFC 9293 section 3.1, RFC 768, RFC 9260 section 3: 16 bits."""


_BYTE = r"(0|[1-9]\d?|1\d\d|2[0-4]\d|25[0-5])"
_PLAIN = re.compile(rf"{_BYTE}\.{_BYTE}\.{_BYTE}\.{_BYTE}/32", re.ASCII)
"""A single IPv4 address as a CIDR: a fast path, since a policy may have many and ip_network is slow."""


class NotAnAddress(ValueError):
    """The text is neither an IPv4 nor an IPv6 address (or CIDR)."""


class Block(NamedTuple):
    """All addresses that share the first `prefix` bits with `value`; its other bits are 0."""

    version: int
    """4 or 6."""

    value: int
    prefix: int

    @property
    def mask(self) -> int:
        width = WIDTH[self.version]
        return (1 << width) - (1 << (width - self.prefix))

    @property
    def text(self) -> str:
        """As a CIDR; a single address has no prefix length."""
        own = text(self.version, self.value)
        return own if self.prefix == WIDTH[self.version] else f"{own}/{self.prefix}"

    def covers(self, other: "Block") -> bool:
        """Whether every address of the other block is in this one."""
        return self.version == other.version and self.prefix <= other.prefix and (other.value & self.mask) == self.value


def text(version: int, value: int) -> str:
    """The address as text."""
    return str(IPv4Address(value) if version == 4 else IPv6Address(value))


@lru_cache(maxsize=1 << 16)
def address(text: str) -> Block:
    """The block of this one address.

    Raises:
        NotAnAddress: the message says what the text is.
    """
    try:
        parsed = ip_address(text)
    except ValueError as error:
        raise NotAnAddress(f"{text!r} is not an IP address") from error
    if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
        raise NotAnAddress(f"{text!r} has a scope, which packets do not carry; write it without %")
    return Block(parsed.version, int(parsed), parsed.max_prefixlen)


@lru_cache(maxsize=1 << 16)
def network(text: str) -> Block:
    """The block of a CIDR; bits beyond its prefix length are ignored.

    Raises:
        NotAnAddress: the message says what the text is.
    """
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        value = int.from_bytes(map(int, plain.groups()), "big")
        return Block(4, value, 32)
    try:
        parsed = ip_network(text, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise NotAnAddress(f"{text!r} is not a CIDR such as 10.0.0.0/8 or fd00::/8") from error
    return Block(parsed.version, int(parsed.network_address), parsed.prefixlen)


def cover(block: Block, excepts: Iterable[Block]) -> Iterator[Block]:
    """The fewest blocks that cover the block without the excepts, in ascending order.

    Each except costs as many blocks as its prefix is longer; in return, no flow needs a higher priority than another.
    """
    inside = [other for other in excepts if block.covers(other) or other.covers(block)]
    if not inside:
        yield block
    elif not any(other.covers(block) for other in inside):
        prefix = block.prefix + 1
        half = 1 << (WIDTH[block.version] - prefix)
        for value in (block.value, block.value + half):
            yield from cover(Block(block.version, value, prefix), inside)


def port_masks(first: int, last: int) -> Iterator[tuple[int, int]]:
    """The fewest 16-bit (value, mask) pairs that cover exactly the ports from `first` to `last`, inclusive."""
    while first <= last:
        size = first & -first or PORTS  # the largest aligned block that begins here
        while size > last - first + 1:
            size >>= 1
        yield first, PORTS - size
        first += size


def readable(texts: Iterable[str], read: Callable[[str], Block]) -> Iterator[Block]:
    """The blocks of those texts that `address` or `network` can parse."""
    for text in texts:
        with suppress(NotAnAddress):  # it can match no packet; group-resolver writes none
            yield read(text)
