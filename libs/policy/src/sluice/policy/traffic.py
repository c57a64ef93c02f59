"""Translates TrafficControls into programs, and into the groups of Pods that they select."""

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec.structs import replace

from sluice.contracts import subjects
from sluice.contracts.ids import Revision, Unit
from sluice.contracts.programs import Direction
from sluice.contracts.status import Problem
from sluice.contracts.traffic_control import TrafficControl, TrafficDirection
from sluice.contracts.traffic_programs import WHEN_GONE, TrafficProgram
from sluice.grouping.events import Newest, ObjectEvent
from sluice.policy.compiler import ProgramKey
from sluice.policy.selected import selected
from sluice.policy.translate.translation import Refused

_DIRECTIONS: Mapping[TrafficDirection, tuple[Direction, ...]] = {
    "Ingress": (Direction.INGRESS,),
    "Egress": (Direction.EGRESS,),
    "Both": (Direction.EGRESS, Direction.INGRESS),
}


class TrafficControls:
    """A fold of objects into programs of TrafficControls."""

    def __init__(self) -> None:
        self._newest = Newest()
        self._programs: dict[ProgramKey, TrafficProgram] = {}
        self._of_unit: dict[Unit, ProgramKey] = {}
        self._problems: dict[Unit, Problem] = {}
        self._put: dict[ProgramKey, TrafficProgram] = {}
        self._drop: set[ProgramKey] = set()

    @property
    def programs(self) -> Mapping[ProgramKey, TrafficProgram]:
        return self._programs

    @property
    def problems(self) -> tuple[Problem, ...]:
        """TrafficControls that select Pods but have no program; sorted."""
        return tuple(self._problems[unit] for unit in sorted(self._problems))

    def evolve(self, event: ObjectEvent) -> bool:
        """Apply the event; True if a program changed. Never raises."""
        if not self._newest.is_news(event.key, event.revision):
            return False
        unit = subjects.unit(*event.key)
        self._problems.pop(unit, None)
        program = None
        try:
            if isinstance(event.object, TrafficControl):
                program = traffic_program(unit, event.object, event.revision)
        except Refused as refused:
            self._problems[unit] = Problem(unit=unit, state="failed", reason=f"{unit} spec.appliedTo: {refused}")
        before = self._of_unit.pop(unit, None)
        changed = False
        if program is not None:
            key = self._of_unit[unit] = program.applied_to, unit
            known = self._programs.get(key)
            if known is None or replace(known, cause=program.cause) != program:
                self._programs[key] = self._put[key] = program
                self._drop.discard(key)
                changed = True
        if before is not None and before != self._of_unit.get(unit):
            del self._programs[before]
            self._put.pop(before, None)
            self._drop.add(before)
            changed = True
        return changed

    def settle(self, upto: Revision) -> None:
        """Declare that all events up to this revision were delivered; see `events.Newest.settle`."""
        self._newest.settle(upto)

    def drain(self) -> tuple[dict[ProgramKey, TrafficProgram], set[ProgramKey]]:
        """What to store and what to delete since the last drain."""
        changes = self._put, self._drop
        self._put, self._drop = {}, set()
        return changes


def traffic_program(unit: Unit, control: TrafficControl, cause: Revision) -> TrafficProgram | None:
    """The program for the nodes that host the selected Pods; None if it selects nothing.

    Raises:
        Refused: its selectors are invalid.
    """
    group = selected(control)
    if group is None:
        return None
    metadata, spec = control.metadata, control.spec
    return TrafficProgram(
        unit=unit,
        applied_to=group[0],
        cause=cause,
        name=metadata.name,
        directions=_DIRECTIONS[spec.direction],
        action=spec.action,
        target=spec.target_port,
        return_port=spec.return_port if spec.action == "Redirect" else None,
        created=_time(metadata.creation_timestamp),
        when_gone="pass" if metadata.annotations.get(WHEN_GONE) == "pass" else "drop",
    )


def _time(text: str) -> str:
    """The time in UTC with microseconds; empty if the text is not a time."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return ""
    in_utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return in_utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
