"""From OBJECTS to PROGRAMS: what the compiler says is stored, and then vouched for by a mark. Decides nothing."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from sluice.contracts import subjects
from sluice.contracts.groups import Mark
from sluice.contracts.ids import GroupId, Revision, Unit
from sluice.contracts.kinds import INPUTS, POLICIES, SELF_CONTAINED
from sluice.contracts.shards import shard_of
from sluice.contracts.status import CompilerStatus, Problem
from sluice.policy.compiler import Compiler
from sluice.runtime.bus import Bus
from sluice.runtime.facts import Facts, facts
from sluice.runtime.output import Output
from sluice.runtime.sharding import check_shards
from sluice.runtime.writes import Write
from sluice.services.rule_compiler.backends import BACKENDS, backend_of

log = structlog.get_logger()

STREAM = "PROGRAMS"
PATTERN = "programs.>"


class Shell:
    """The loop of one shard. `in_sync` once everything that it derives is on its way."""

    def __init__(self, bus: Bus, output: Output, status: Output, shard: int, shards: int) -> None:
        self._bus, self._output, self._status = bus, output, status
        self._shard, self._shards = shard, shards
        self._compiler = Compiler()
        self._unreadable: frozenset[Unit] = frozenset()
        self.in_sync = asyncio.Event()

    @property
    def refused(self) -> bool:
        """The stream does not take some of what is derived; what it held before stays, and no mark is given."""
        return bool(self._output.refused)

    async def guard(self) -> None:
        """Return when the output is closed.

        Raises:
            Fenced: another writer is active on our subjects.
        """
        await self._output.guard()

    async def run(self) -> None:
        """Endless.

        Raises:
            Resharded: what is stored was divided into another number of shards.
            Fenced: another writer is active on our subjects.
        """
        check_shards(STREAM, self._output.stored, self._shards)
        async for told in facts(self._bus, INPUTS):
            await self.take(told)

    async def take(self, told: Facts) -> None:
        """Take a batch in, and store what follows from it."""
        if told.afresh:
            self._compiler = Compiler()
            self.in_sync.clear()
        for event in told.events:
            if event.key.kind not in POLICIES or self._mine(subjects.unit(*event.key)):
                self._compiler.evolve(event)
        self._compiler.settle(told.upto)
        if not told.in_sync:
            return
        unreadable = {
            unit: f"{unit}: it cannot be read, so it stays in force as it was: {reason}; write it again"
            for key, reason in told.unreadable.items()
            if self._mine(unit := subjects.unit(*key)) or key.kind not in POLICIES
        }
        doubtful = frozenset(unreadable)
        new = await self._store(told.seen)
        if not self.in_sync.is_set():
            await self._drop_stale(told.seen, new, lambda unit: not _in_doubt(unit, doubtful))
            log.info("programs_in_sync", revision=told.seen.sequence, shard=self._shard)
        elif cleared := self._unreadable - doubtful:
            await self._drop_stale(
                told.seen, new, lambda unit: _in_doubt(unit, cleared) and not _in_doubt(unit, doubtful)
            )
        self._unreadable = doubtful
        mark = Mark(shard=self._shard, shards=self._shards, upto=told.upto)
        for backend in BACKENDS:
            self._output.mark(subjects.program_mark(backend, self._shard), mark)
        unread = [Problem(unit=unit, state="failed", reason=reason) for unit, reason in unreadable.items()]
        problems = tuple(sorted([*self._compiler.problems, *unread]))
        status = CompilerStatus(shard=self._shard, problems=problems)
        self._status.put(subjects.compiler_status(self._shard), status)
        self.in_sync.set()

    async def _store(self, cause: Revision) -> dict[Unit, list[Write]]:
        """New programs, then the end of old ones: a unit that moves to another group is in one of them at any time."""
        changes = self._compiler.drain()
        new: dict[Unit, list[Write]] = {}
        for group, unit in sorted(changes.put):
            write = self._output.put(_subject(group, unit), changes.put[group, unit])
            if write is not None:
                new.setdefault(unit, []).append(write)
            await self._output.room()
        for group, unit in sorted(changes.drop):
            self._output.remove(_subject(group, unit), cause, after=new.get(unit, ()))
            await self._output.room()
        return new

    async def _drop_stale(
        self, cause: Revision, new: Mapping[Unit, list[Write]], whose: Callable[[Unit], bool]
    ) -> None:
        """Programs that are stored and not so any more, from before we were here."""
        for subject in sorted(self._output.stored):
            match subjects.parse(subject):
                case subjects.ProgramSubject(_, group, unit) if self._mine(unit):
                    if (group, unit) not in self._compiler.programs and whose(unit):
                        self._output.remove(subject, cause, after=new.get(unit, ()))
                        await self._output.room()
                case _:
                    pass

    def _mine(self, unit: Unit) -> bool:
        return shard_of(unit, self._shards) == self._shard


def _subject(group: GroupId, unit: Unit) -> str:
    return subjects.program(backend_of(unit), group, unit)


def _in_doubt(unit: Unit, unreadable: frozenset[Unit]) -> bool:
    """The unit cannot be read, or it may look up something that cannot: a tier or a Namespace."""
    if unit in unreadable:
        return True
    looks_up = subjects.unit_parts(unit)[0] not in SELF_CONTAINED
    return looks_up and any(subjects.unit_parts(one)[0] not in POLICIES for one in unreadable)
