"""What a hook must do, before numbers are assigned: without generation, zone, epoch or chain."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from sluice.dataplane.addresses import Block
from sluice.dataplane.tc.filter import Hook
from sluice.dataplane.tc.openings import Openings


class Mode(StrEnum):
    OPEN = "open"
    """No filter of ours: no policy applies to the interface."""

    TRACKED = "tracked"
    """Everything passes, and is tracked: policy closes the other direction, and must recognise replies."""

    POLICED = "policed"
    """Passes what the addresses and their openings allow, and replies."""

    CLOSED = "closed"
    """Only ARP and neighbour discovery: it is not known yet what to allow, or whose interface it is."""


class Options(Struct, frozen=True, kw_only=True):
    """What a node allows regardless of policies."""

    accept_icmp: bool = False
    """ICMP over IPv4. Errors about a known connection always pass."""

    accept_icmpv6: bool = False
    """ICMPv6. Neighbour discovery always passes."""


NO_OPTIONS = Options()


class Content(NamedTuple):
    mode: Mode
    digest: int = 0
    """64-bit digest of everything except the members' addresses: unchanged as long as only these come and go."""

    tagged: bool = False
    """Inspect frames with VLAN tags; otherwise a policed hook drops them."""

    options: Options = NO_OPTIONS
    addresses: Mapping[Block, Openings] = {}
    """What is open at which addresses. The longest prefix decides; without one, nothing is open."""


class Numbers(NamedTuple):
    """Numbers that the node has assigned to an interface."""

    zone: int | None
    """Conntrack zone, 1..65535; None if the kernel has no zones, and then no epochs either."""

    epoch: int
    """Marks the connections that were allowed by the current content: 1..2**32-2."""


OPEN = Content(Mode.OPEN)
CLOSED = Content(Mode.CLOSED)
EVERYTHING_OPEN: Mapping[Hook, Content] = dict.fromkeys(Hook, OPEN)
EVERYTHING_CLOSED: Mapping[Hook, Content] = dict.fromkeys(Hook, CLOSED)
"""For an idle representor, and for an interface that cannot be attributed yet."""
