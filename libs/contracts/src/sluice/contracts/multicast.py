"""The multicast groups that a node's Pods have joined, published for the other nodes on `multicast.<node>`.

Only live messages count: a node publishes when something changes, and again before the others would forget it. There is
a stream only because a node may publish to nothing but streams, and receives only what they republish.
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
