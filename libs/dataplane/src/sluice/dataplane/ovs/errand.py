"""Why packets are sent to the programmer, and the meters that limit how many."""

from enum import IntEnum


class Errand(IntEnum):
    """What a packet is handed to the programmer for: the first octet of the action's userdata."""

    REJECT = 1
    """Answer its sender that it is refused. The packet itself goes no further."""

    AUDIT = 2
    """Log what was decided. The packet goes on as if it had not been handed over."""

    DNS = 3
    """Hold it, an answer of DNS, until what it tells is in the switch."""

    L7 = 4
    """It is of a connection that the inspection engine reset, or could not look into: have both ends hear of it."""

    IGMP = 5
    """Note which groups a Pod says that it wants. The packet itself goes no further."""

    L7_RESET = 6
    """The inspection engine resets it: what begins now must not be taken for it."""


class Meter(IntEnum):
    """Numbers of meters: they bound how many packets a second are handed over for an errand, and drop the rest."""

    REJECT = 1
    AUDIT = 2
    DNS = 3
    L7 = 4
    IGMP = 5
    L7_RESET = 6
    """Of the news that the engine reset a connection; a few a second are enough."""
