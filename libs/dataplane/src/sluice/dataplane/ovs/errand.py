"""Why packets are sent to the programmer, and the meters that limit how many."""

from enum import IntEnum


class Errand(IntEnum):
    """Why a packet is handed to the programmer: the first octet of the action's userdata."""

    REJECT = 1
    """Tell its sender that it is rejected. The packet itself goes no further."""

    AUDIT = 2
    """Log what was decided. The packet goes on as if it had not been handed over."""

    DNS = 3
    """Hold a DNS answer until the addresses in it are in the switch."""

    L7 = 4
    """Reset both ends of a connection that the inspection engine reset, or could not inspect."""

    IGMP = 5
    """Note which groups a Pod reports to have joined. The packet itself goes no further."""

    L7_RESET = 6
    """The inspection engine resets the connection: new ones must not be mistaken for it."""


class Meter(IntEnum):
    """Numbers of meters. They limit how many packets per second are handed over for an errand, and drop the rest."""

    REJECT = 1
    AUDIT = 2
    DNS = 3
    L7 = 4
    IGMP = 5
    L7_RESET = 6
    """For notices that the engine reset a connection; a few per second are enough."""
