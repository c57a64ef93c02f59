"""From OBJECTS to PROGRAMS: stores what the compiler produces. Decides nothing."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sluice.contracts import subjects
from sluice.contracts.ids import Backend, GroupId, Revision, Unit
from sluice.contracts.kinds import PROGRAMMED, SELF_CONTAINED, SERVED, Kind
from sluice.contracts.shards import shard_of
from sluice.contracts.status import CompilerStatus, Problem, fitting
from sluice.grouping.events import ObjectEvent, ObjectKey, read
from sluice.policy.backends import backends_of, parts
from sluice.policy.compiler import Compiler
from sluice.policy.services import Services
from sluice.policy.traffic import TrafficControls
from sluice.runtime.facts import Facts
from sluice.runtime.output import Output
from sluice.runtime.writes import Write

STREAM = "PROGRAMS"
PATTERN = "programs.>"

_SWITCH: Final[Backend] = "ovs"
"""The backend that implements Services and TrafficControls."""


_DIVIDED = PROGRAMMED | {Kind.ENDPOINT_SLICE}
"""Kinds of which a shard only needs its own units."""


class Programs:
    """What one shard derives, for `Deriving`."""

    def __init__(self, output: Output, status: Output, shard: int, shards: int) -> None:
        self._output, self._status = output, status
        self._shard, self._shards = shard, shards
        self._compiler, self._services, self._traffic = Compiler(), Services(), TrafficControls()
        self._unreadable: frozenset[Unit] = frozenset()

    def forget(self) -> None:
        self._compiler, self._services, self._traffic = Compiler(), Services(), TrafficControls()

    def read(self, key: ObjectKey, body: bytes, revision: Revision) -> ObjectEvent | None:
        return read(key, body, revision) if key.kind not in _DIVIDED or self._mine(subjects.unit(*key)) else None

    def evolve(self, told: Facts) -> None:
        for event in told.events:
            self._compiler.evolve(event)
            if event.key.kind in SERVED and self._mine(subjects.unit(*event.key)):
                self._services.evolve(event)
            if event.key.kind is Kind.TRAFFIC_CONTROL:
                self._traffic.evolve(event)
        self._compiler.settle(told.upto)
        self._services.settle(told.upto)
        self._traffic.settle(told.upto)

    async def store(self, told: Facts, *, first: bool) -> None:
        unreadable = {
            unit: f"{unit}: it cannot be read, so its previous version stays in force: {reason}; write it again"
            for key, reason in told.unreadable.items()
            if self._mine(unit := subjects.unit(*key)) or key.kind not in PROGRAMMED
        }
        doubtful = frozenset(unreadable)
        new = await self._store(told.seen)
        if first:
            await self._drop_stale(told.seen, new, lambda unit: not _in_doubt(unit, doubtful))
        elif cleared := self._unreadable - doubtful:
            await self._drop_stale(
                told.seen, new, lambda unit: _in_doubt(unit, cleared) and not _in_doubt(unit, doubtful)
            )
        self._unreadable = doubtful
        unread = [Problem(unit=unit, state="failed", reason=reason) for unit, reason in unreadable.items()]
        problems = tuple(sorted([*self._compiler.problems, *self._traffic.problems, *unread]))
        status = CompilerStatus(shard=self._shard, problems=fitting(problems))
        if self._status.put(subjects.compiler_status(self._shard), status) is not None:
            await self._status.settled()  # before the mark: who reads both knows why a unit has no program

    async def _store(self, cause: Revision) -> dict[Unit, list[Write]]:
        """Write new programs, then delete old ones: a unit that moves to another group is always in one of them."""
        changes = self._compiler.drain()
        await self._store_others(cause)
        new: dict[Unit, list[Write]] = {}
        for group, unit in sorted(changes.put):
            held = set()
            for backend, part in parts(changes.put[group, unit]):
                held.add(backend)
                write = self._output.put(subjects.program(backend, group, unit), part)
                if write is not None:
                    new.setdefault(unit, []).append(write)
            self._remove(group, unit, cause, (), frozenset(held))
            await self._output.room()
        for group, unit in sorted(changes.drop):
            self._remove(group, unit, cause, new.get(unit, ()))
            await self._output.room()
        return new

    async def _store_others(self, cause: Revision) -> None:
        """The same for Services and TrafficControls."""
        (served, gone), (steered, left) = self._services.drain(), self._traffic.drain()
        new: dict[Unit, list[Write]] = {}
        for (group, unit), program in sorted([*served.items(), *steered.items()], key=lambda one: one[0]):
            write = self._output.put(subjects.program(_SWITCH, group, unit), program)
            if write is not None:
                new.setdefault(unit, []).append(write)
            await self._output.room()
        for group, unit in sorted(gone | left):
            self._output.remove(subjects.program(_SWITCH, group, unit), cause, after=new.get(unit, ()))
            await self._output.room()

    def _remove(
        self,
        group: GroupId,
        unit: Unit,
        cause: Revision,
        after: Iterable[Write],
        keep: frozenset[Backend] = frozenset(),
    ) -> None:
        """Delete the program for all backends but those to keep."""
        for backend in backends_of(unit):
            if backend not in keep:
                self._output.remove(subjects.program(backend, group, unit), cause, after=after)

    async def _drop_stale(
        self, cause: Revision, new: Mapping[Unit, list[Write]], whose: Callable[[Unit], bool]
    ) -> None:
        """Delete stored programs from before our start that are no longer valid."""
        for subject in sorted(self._output.stored):
            match subjects.known(subject):
                case subjects.ProgramSubject(backend, group, unit) if self._mine(unit):
                    program = self._compiler.programs.get((group, unit))
                    others = self._services.programs, self._traffic.programs
                    held = backend == _SWITCH and any((group, unit) in programs for programs in others)
                    held = held or (program is not None and backend in dict(parts(program)))
                    if whose(unit) and not held:
                        self._output.remove(subject, cause, after=new.get(unit, ()))
                        await self._output.room()
                case _:
                    pass

    def _mine(self, unit: Unit) -> bool:
        return shard_of(unit, self._shards) == self._shard


def _in_doubt(unit: Unit, unreadable: frozenset[Unit]) -> bool:
    """The unit is unreadable, or may refer to something that is: a tier or a Namespace."""
    if unit in unreadable:
        return True
    looks_up = subjects.unit_parts(unit)[0] not in SELF_CONTAINED | SERVED | {Kind.TRAFFIC_CONTROL}
    return looks_up and any(subjects.unit_parts(one)[0] not in PROGRAMMED for one in unreadable)
