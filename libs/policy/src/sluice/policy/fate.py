"""What becomes of a packet that somebody asks about, whatever its end is called: the one way in which all ask.

A ClusterIP is the Service that has it, and what is sent to a Service gets to one of its endpoints, so that the answer
is about each.
"""

from typing import Literal

from msgspec import Struct

from sluice.policy.behind import behind, meant
from sluice.policy.packet import Packet, ServiceEnd
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Outcome, Verdict, verdict

VARIES: Literal["Varies"] = "Varies"
"""The outcome to a Service whose endpoints fare differently."""


class AtEndpoint(Struct, frozen=True):
    """What becomes of a packet to a Service if this endpoint gets it."""

    packet: Packet
    verdict: Verdict


class Fate(Struct, frozen=True, kw_only=True):
    """What becomes of a packet."""

    packet: Packet
    """As it was understood: what is sent to a ClusterIP is sent to its Service."""

    verdict: Verdict | None
    """None to a Service whose endpoints fare differently."""

    endpoints: tuple[AtEndpoint, ...] | None = None
    """Of a Service, none if nothing is behind it; None if it has no such port, and where the end is no Service."""

    @property
    def outcome(self) -> Outcome | Literal["Varies"]:
        return VARIES if self.verdict is None else self.verdict.outcome


def fate(state: ClusterState, asked: Packet) -> Fate:
    """What becomes of it, at each endpoint if it is sent to a Service.

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
