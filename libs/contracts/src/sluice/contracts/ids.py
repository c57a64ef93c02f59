"""Types of ids: all are text on the wire, and must not be confused in code."""

from typing import Literal, NamedTuple, NewType

GroupId = NewType("GroupId", str)
"""Place of a group, and hash of its normalised selector; `sluice.policy.translate` alone makes them."""

NodeName = NewType("NodeName", str)
Uid = NewType("Uid", str)
"""metadata.uid: tells an object from a later one of the same name."""

Address = NewType("Address", str)
"""An IP address in canonical text, no prefix length: "10.0.0.7", "fd00::7"."""

Unit = NewType("Unit", str)
"""What a program stands for, as `kind:namespace:name` (namespace `_` for cluster-scoped objects)."""

Backend = Literal["ovs", "tc", "l7", "host"]

ALL_NODES = GroupId("_all")
"""The group of what belongs on every node."""


class Revision(NamedTuple):
    """Where a value stands in its stream; of two, the greater is the truth."""

    epoch: int
    """When the stream was created, in microseconds since 1970 (fits the 53 bits a JSON reader may have)."""

    sequence: int


NEVER = Revision(0, 0)
"""Before everything."""
