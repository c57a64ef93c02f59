"""Types of ids: all are text on the wire, and must not be confused in code."""

from typing import Literal, NamedTuple, NewType

GroupId = NewType("GroupId", str)
"""A group's place and the hash of its normalised selector; only `sluice.policy.groupid` derives them."""

NodeName = NewType("NodeName", str)
Uid = NewType("Uid", str)
"""metadata.uid: distinguishes an object from a later one of the same name."""

Address = NewType("Address", str)
"""An IP address in canonical text, no prefix length: "10.0.0.7", "fd00::7"."""

Unit = NewType("Unit", str)
"""The object that a program implements, as `kind:namespace:name` (namespace `_` if cluster-scoped)."""

Backend = Literal["ovs", "tc", "l7", "host"]

ALL_NODES = GroupId("_all")
"""The group whose programs every node gets."""


class Revision(NamedTuple):
    """Position of a value in its stream. Of two values, the one with the greater revision is current."""

    epoch: int
    """When the stream was created, in microseconds since 1970 (fits the 53-bit integers of some JSON readers)."""

    sequence: int


NEVER = Revision(0, 0)
"""Less than every real revision."""
