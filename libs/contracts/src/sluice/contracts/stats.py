"""STATS: sessions, packets and bytes that the rules in force on each node decided about."""

from msgspec import Struct

from sluice.contracts.ids import Backend, NodeName, Unit
from sluice.contracts.programs import Direction


class RuleCount(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a rule decided about on a node, since it first came there. It only grows, unless the node forgot it."""

    unit: Unit
    """The policy."""

    direction: Direction
    rule: int | None = None
    """Its index in the policy's list of the direction; unset: what the policy closes because no rule allows it."""

    sessions: int
    """Connections that it let in; of what it denies, as many as packets."""

    packets: int
    """Of these connections in both directions, and what it denied. A packet that another rule denies counts there
    alone. On backend `host`, as many as sessions: of a connection the first packet alone."""

    bytes: int
    """Of the frames, as the switch counts them."""


class TrafficCount(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of packets because of a TrafficControl on a node, since its programmer began."""

    unit: Unit
    mirrored: int = 0
    """Packets that it had copied; each counts once, however many TrafficControls have the same target."""

    redirected: int = 0
    dropped: int = 0
    """Packets that it would have redirected while a port was not there."""


class NodeStats(Struct, frozen=True, kw_only=True):
    """Sums of one backend of a node (`stats.<node>.<backend>`)."""

    node: NodeName
    backend: Backend
    at_us: int
    """When they were read: microseconds since 1970, UTC. What the datapath saw in the second before may be missing."""

    rules: tuple[RuleCount, ...]
    """Those that decided about a packet; sorted."""

    traffic: tuple[TrafficCount, ...] = ()
    """Of TrafficControls that the node has and that dealt with a packet; sorted by unit."""
