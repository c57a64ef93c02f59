"""What a hook must do, before it is numbered: no generation, zone, epoch or chain."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from sluice.dataplane.addresses import Block
from sluice.dataplane.tc.filter import Hook
from sluice.dataplane.tc.openings import Openings


class Mode(StrEnum):
    OPEN = "open"
    """No filter of ours: no policy is about the interface."""

    TRACKED = "tracked"
    """Everything passes, and is remembered: policy closes the other direction, and must know replies."""

    POLICED = "policed"
    """What the addresses and their openings allow passes, and replies."""

    CLOSED = "closed"
    """ARP and neighbour discovery alone: nobody knows yet what to allow, or whose interface it is."""


class Options(Struct, frozen=True, kw_only=True):
    """What a node allows whatever the policies say."""

    accept_icmp: bool = False
    """ICMP over IPv4. Errors about a known connection pass anyway."""

    accept_icmpv6: bool = False
    """ICMPv6. Neighbour discovery passes anyway."""


NO_OPTIONS = Options()


class Content(NamedTuple):
    mode: Mode
    digest: int = 0
    """64 bits of all but the addresses of members: equal as long as only these come and go."""

    tagged: bool = False
    """Frames with VLAN tags are looked into; otherwise a policed hook drops them."""

    options: Options = NO_OPTIONS
    addresses: Mapping[Block, Openings] = {}
    """What is open at which addresses. The longest prefix counts; where there is none, nothing is open."""


class Numbers(NamedTuple):
    """What the node has given an interface."""

    zone: int | None
    """Of its connections, 1..65535; None where the kernel has no zones, and then no epochs either."""

    epoch: int
    """Marks the connections that were allowed by what is in force: 1..2**32-2."""


OPEN = Content(Mode.OPEN)
CLOSED = Content(Mode.CLOSED)
EVERYTHING_OPEN: Mapping[Hook, Content] = dict.fromkeys(Hook, OPEN)
EVERYTHING_CLOSED: Mapping[Hook, Content] = dict.fromkeys(Hook, CLOSED)
"""Of an idle representor, and of an interface that is not told apart yet."""
