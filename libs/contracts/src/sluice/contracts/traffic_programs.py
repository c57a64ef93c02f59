"""PROGRAMS of TrafficControls: what a node does with the packets of its Pods, or with copies of them."""

from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import GroupId, Revision, Unit
from sluice.contracts.programs import Direction
from sluice.contracts.traffic_control import TrafficAction, TrafficPort

WHEN_GONE = "traffic.sluice.dev/when-gone"
"""Annotation of a TrafficControl that redirects: `drop` (default) or `pass`, while one of its ports is not there."""

WhenGone = Literal["drop", "pass"]


class TrafficProgram(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One TrafficControl, addressed to the Pods that it selects.

    Of several that redirect one Pod's traffic in one direction the least `order` does; copies go to the targets of all.
    """

    unit: Unit
    applied_to: GroupId
    cause: Revision
    name: str
    directions: tuple[Direction, ...]
    """Ingress is what the Pod receives; sorted."""

    action: TrafficAction
    target: TrafficPort
    return_port: TrafficPort | None = None
    """Where redirected packets come back; of Redirect alone."""

    created: str = ""
    """When, in UTC and of equal length, so that it sorts as time does; empty where nobody said."""

    when_gone: WhenGone = "drop"

    @property
    def order(self) -> tuple[bool, str, str]:
        """The lower goes first: the earlier created, those of unknown age last, then by name."""
        return not self.created, self.created, self.name
