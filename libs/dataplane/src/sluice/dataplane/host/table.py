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
"""Our table, and nobody else's: who knows its name can remove it."""

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
    """A port of the packet is in the range, both ends included; it carries the protocol."""

    protocol: int
    side: Side
    first: int
    last: int


class Opened(NamedTuple):
    """Its connection was opened to an address in the block, whatever anybody has turned that into since."""

    block: Block


class OpenedPort(NamedTuple):
    """Its connection was opened to a port in the range; the line says before this what it carries."""

    first: int
    last: int


class NamedPort(NamedTuple):
    """The destination and its port, over this protocol, are in the set of pairs."""

    version: Version
    protocol: int
    set: str


class Icmp(NamedTuple):
    """It is ICMP of this version of IP, and the field is in the range."""

    version: Version
    field: Literal["type", "code"]
    first: int
    last: int


class Igmp(NamedTuple):
    type: int


class Device(NamedTuple):
    """It came in by this device, or goes out by it."""

    hook: Hook
    name: str


class Known(NamedTuple):
    """It is of a connection that both ends have spoken on, or about one."""


class Onward(NamedTuple):
    """It goes the way that the connection was opened."""


class Ended(NamedTuple):
    """Its connection was marked as ended."""


Match = (
    InSet | Within | Carries | Port | Opened | OpenedPort | NamedPort | Icmp | Igmp | Device | Known | Onward | Ended
)


class Accept(NamedTuple):
    """Nothing else of ours is asked. What others have in the hook still is."""


class Drop(NamedTuple):
    pass


class Reset(NamedTuple):
    """Of TCP alone: whoever sent it is told by a reset."""


class Prohibit(NamedTuple):
    """Whoever sent it is told by ICMP that it is administratively prohibited."""


class Goto(NamedTuple):
    """The chain decides, and what it does not decide passes on where this chain was jumped to from."""

    chain: str


class Jump(NamedTuple):
    """The chain is asked, then the next line."""

    chain: str


class End(NamedTuple):
    """Its connection is marked as ended; then the next line."""


Verdict = Accept | Drop | Reset | Prohibit | Goto | Jump | End


class Line(NamedTuple):
    matches: tuple[Match, ...]
    verdict: Verdict | None
    """None: the next line is asked."""

    comment: str
    """Whose it is: that of a policy's rule begins with its id."""

    counter: str = ""
    log: str = ""
    """The packet is copied to the reader of the log, with this word; where the limit allows it."""


class Chain(NamedTuple):
    lines: tuple[Line, ...]
    hook: Hook | None = None
    """Unset: only who is sent there comes there."""


class Kind(StrEnum):
    """What elements of a set are."""

    ADDRESSES = "addresses"
    RANGES = "ranges"
    PAIRS = "pairs"


class Set(NamedTuple):
    version: Version
    kind: Kind
    elements: frozenset[tuple[int, int]]
    """Addresses have their value and 0; ranges both their ends; pairs an address and a port."""


class Table(NamedTuple):
    """All of it."""

    chains: Mapping[str, Chain]
    sets: Mapping[str, Set]
    counters: frozenset[str]
    log_rate: int
    """Packets a second that are logged, and twice as many at once."""


NOTHING = Table({}, {}, frozenset(), 0)
"""There is no table."""
