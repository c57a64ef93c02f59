"""Which groups of multicast a node's Pods have joined, told to the other nodes on `multicast.<node>`.

What counts is what others hear live: it is told when it changes and again before it is forgotten. The stream is there
because a node may publish to streams alone, and hears what they republish.
"""

from msgspec import Struct

from sluice.contracts.ids import Address, NodeName


class JoinedGroups(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Exactly these groups have members on the node."""

    node: NodeName
    groups: tuple[Address, ...] = ()
    """Sorted."""

    asks: bool = False
    """The node has just begun, and knows nothing of the others: tell it."""
