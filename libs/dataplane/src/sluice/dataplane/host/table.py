"""Our nftables table as values: chains of lines, the sets they refer to, and counters.

A line is what nftables calls a rule: matches that must all hold, and a verdict. We call it a line because policies have
rules, too. `wire` writes lines as the JSON of libnftables, `text` in the notation of nft(8).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, NamedTuple

from sluice.dataplane.addresses import Block

FAMILY = "inet"
NAME = "sluice"
"""The table is ours alone, so anyone who knows its name can remove it."""

Version = Literal[4, 6]
Hook = Literal["input", "output"]


class Side(StrEnum):
    SOURCE = "source"
    DESTINATION = "destination"


class InSet(NamedTuple):
    """An address of the packet is in the set."""

    side: Side
    version: Version
    set: str


class Within(NamedTuple):
    """An address of the packet is in the block."""

    side: Side
    block: Block


class Carries(NamedTuple):
    """The packet carries this protocol. Source: IANA protocol numbers."""

    protocol: int


class Port(NamedTuple):
    """The packet carries the protocol, and a port of it is in the range (inclusive)."""

    protocol: int
    side: Side
    first: int
    last: int


class Opened(NamedTuple):
    """The connection was opened to an address in the block, before any NAT."""

    block: Block


class OpenedPort(NamedTuple):
    """The connection was opened to a port in the range; an earlier match of the line gives the protocol."""

    first: int
    last: int


class NamedPort(NamedTuple):
    """The destination address and port, with this protocol, are in the set of pairs."""

    version: Version
    protocol: int
    set: str


class Icmp(NamedTuple):
    """The packet is ICMP of this IP version, with the field in the range."""

    version: Version
    field: Literal["type", "code"]
    first: int
    last: int


class Igmp(NamedTuple):
    type: int


class Device(NamedTuple):
    """The packet came in through this device, or goes out through it."""

    hook: Hook
    name: str


class Known(NamedTuple):
    """The packet belongs to an established connection, or is related to one."""


class Onward(NamedTuple):
    """The packet goes in the original direction of its connection."""


class Ended(NamedTuple):
    """The packet's connection was marked as ended."""


Match = (
    InSet | Within | Carries | Port | Opened | OpenedPort | NamedPort | Icmp | Igmp | Device | Known | Onward | Ended
)


class Accept(NamedTuple):
    """Ends our processing. Chains of others in the same hook still see the packet."""


class Drop(NamedTuple):
    pass


class Reset(NamedTuple):
    """For TCP only: the sender gets a reset."""


class Prohibit(NamedTuple):
    """The sender gets ICMP "administratively prohibited"."""


class Goto(NamedTuple):
    """Continue in the chain; what it does not decide returns to where this chain was jumped to from."""

    chain: str


class Jump(NamedTuple):
    """Run the chain, then continue with the next line."""

    chain: str


class End(NamedTuple):
    """Mark the connection as ended, then continue with the next line."""


Verdict = Accept | Drop | Reset | Prohibit | Goto | Jump | End


class Line(NamedTuple):
    matches: tuple[Match, ...]
    verdict: Verdict | None
    """None: continue with the next line."""

    comment: str
    """Whom the line belongs to; for a policy's rule, it begins with the rule's id."""

    counter: str = ""
    log: str = ""
    """Copy the packet to the reader of the log with this prefix, within the rate limit."""


class Chain(NamedTuple):
    lines: tuple[Line, ...]
    hook: Hook | None = None
    """None: the chain is only reached by Jump and Goto."""


class Kind(StrEnum):
    """What the elements of a set are."""

    ADDRESSES = "addresses"
    RANGES = "ranges"
    PAIRS = "pairs"


class Set(NamedTuple):
    version: Version
    kind: Kind
    elements: frozenset[tuple[int, int]]
    """Addresses: value and 0; ranges: first and last; pairs: address and port."""


class Table(NamedTuple):
    """The whole table."""

    chains: Mapping[str, Chain]
    sets: Mapping[str, Set]
    counters: frozenset[str]
    log_rate: int
    """Packets logged per second; the burst is twice that."""


NOTHING = Table({}, {}, frozenset(), 0)
"""There is no table."""
