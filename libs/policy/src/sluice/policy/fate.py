"""What happens to a packet that a user asks about, whatever its ends are called: shared by all who answer this.

A ClusterIP stands for the Service that has it. What is sent to a Service reaches one of its endpoints, so the answer
covers each of them.
"""

from typing import Literal

from msgspec import Struct

from sluice.policy.behind import behind, meant
from sluice.policy.packet import Packet, ServiceEnd
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Outcome, Verdict, verdict

VARIES: Literal["Varies"] = "Varies"
"""The outcome for a Service whose endpoints have different outcomes."""


class AtEndpoint(Struct, frozen=True):
    """What happens to a packet to a Service if this endpoint receives it."""

    packet: Packet
    verdict: Verdict


class Fate(Struct, frozen=True, kw_only=True):
    """What becomes of a packet."""

    packet: Packet
    """The packet as it was understood: one sent to a ClusterIP is sent to its Service."""

    verdict: Verdict | None
    """None for a Service whose endpoints have different outcomes."""

    endpoints: tuple[AtEndpoint, ...] | None = None
    """One per endpoint of the Service, which may have none; None if it has no such port, or the end is no Service."""

    @property
    def outcome(self) -> Outcome | Literal["Varies"]:
        return VARIES if self.verdict is None else self.verdict.outcome


def fate(state: ClusterState, asked: Packet) -> Fate:
    """What happens to the packet; for each endpoint if it is sent to a Service.

    Raises:
        NoSuchEnd: there is no such packet.
    """
    packet = meant(state, asked)
    if not isinstance(packet.destination, ServiceEnd):
        return Fate(packet=packet, verdict=verdict(state, packet))
    found = behind(state, packet, packet.destination)
    told = tuple(AtEndpoint(one, verdict(state, one)) for one in found or ())
    alike = len({one.verdict.outcome for one in told}) < 2
    given = verdict(state, packet) if alike else None
    return Fate(packet=packet, verdict=given, endpoints=None if found is None else told)
