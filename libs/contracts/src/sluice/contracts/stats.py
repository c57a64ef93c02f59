"""STATS: counts of the sessions, packets and bytes that the rules in force on each node decided about."""

from msgspec import Struct

from sluice.contracts.ids import Backend, NodeName, Unit
from sluice.contracts.programs import Direction


class RuleCount(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Counters of a rule on a node since the node first had it. They never decrease, unless the node forgot them."""

    unit: Unit
    """The policy."""

    direction: Direction
    rule: int | None = None
    """Index in the policy's list for the direction; unset: what the policy's isolation denies."""

    sessions: int
    """Connections that it allowed; for denials, the number of packets."""

    packets: int
    """Packets of these connections in both directions, and packets that it denied. A packet that another rule denies
    counts only there. On backend `host` the same as `sessions`: only the first packet of a connection counts."""

    bytes: int
    """Sizes of the frames, as counted by the switch."""


class TrafficCount(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a TrafficControl did with packets on a node, since the node's programmer started."""

    unit: Unit
    mirrored: int = 0
    """Packets that were copied. Each counts once, however many TrafficControls share the target."""

    redirected: int = 0
    dropped: int = 0
    """Packets dropped, instead of redirected, because a port was missing."""


class NodeStats(Struct, frozen=True, kw_only=True):
    """The counts of one backend on a node (`stats.<node>.<backend>`)."""

    node: NodeName
    backend: Backend
    at_us: int
    """When they were read: microseconds since 1970, UTC. The last second of traffic before that may be missing."""

    rules: tuple[RuleCount, ...]
    """Rules that have decided about at least one packet; sorted."""

    traffic: tuple[TrafficCount, ...] = ()
    """TrafficControls on the node that have handled at least one packet; sorted by unit."""
