"""The multicast groups that a node's Pods have joined, published for the other nodes on `multicast.<node>`.

Only live messages count: a node publishes when something changes, and again before the others would forget it. There is
a stream only because a node may publish to nothing but streams, and receives only what they republish.
"""

from msgspec import Struct

from sluice.contracts.ids import Address, NodeName


class JoinedGroups(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The complete list of groups that have members on the node."""

    node: NodeName
    groups: tuple[Address, ...] = ()
    """Sorted."""

    asks: bool = False
    """The node has just started and knows nothing of the other nodes: they should publish now."""
