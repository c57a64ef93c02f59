"""PROGRAMS of TrafficControls: what a node does with the packets of its Pods, or with copies of them."""

from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import GroupId, Revision, Unit
from sluice.contracts.programs import Direction
from sluice.contracts.traffic_control import TrafficAction, TrafficPort

WHEN_GONE = "traffic.sluice.dev/when-gone"
"""Annotation of a TrafficControl that redirects: `drop` (default) or `pass` packets while a port is missing."""

WhenGone = Literal["drop", "pass"]


class TrafficProgram(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One TrafficControl, addressed to the Pods that it selects.

    If several redirect a Pod's traffic in the same direction, the least `order` wins; copies go to all targets.
    """

    unit: Unit
    applied_to: GroupId
    cause: Revision
    name: str
    directions: tuple[Direction, ...]
    """Ingress is what the Pod receives. Sorted."""

    action: TrafficAction
    target: TrafficPort
    return_port: TrafficPort | None = None
    """Where redirected packets come back; only for Redirect."""

    created: str = ""
    """Creation time in UTC, in a fixed-length form that sorts chronologically; empty if unknown."""

    when_gone: WhenGone = "drop"

    @property
    def order(self) -> tuple[bool, str, str]:
        """Sort key; the least takes precedence: the earliest created, unknown times last, then by name."""
        return not self.created, self.created, self.name
