"""The loop of a service that derives a stream from OBJECTS: take in facts, store what follows, publish the mark."""

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeVar

import structlog

from sluice.contracts.groups import Mark
from sluice.contracts.kinds import Kind
from sluice.grouping.events import ObjectKey, Wanted
from sluice.runtime import collector
from sluice.runtime.bus import Bus
from sluice.runtime.facts import Facts, facts
from sluice.runtime.lease import Lease
from sluice.runtime.output import Output
from sluice.runtime.service import Service
from sluice.runtime.settings import ServiceSettings
from sluice.runtime.sharding import check_shards

log = structlog.get_logger()

S = TypeVar("S", bound=ServiceSettings)


class Derivation(Protocol):
    """What one service makes of facts; it puts that into its output, and leaves the marks to the loop."""

    def forget(self) -> None:
        """Nothing was told; what is stored stays until all is told again."""

    def wants(self, key: ObjectKey, body: bytes) -> Wanted:
        """How the shard has to be told of this version of the object."""

    def evolve(self, told: Facts) -> None:
        """Take a batch in."""

    async def store(self, told: Facts, *, first: bool) -> None:
        """Put what follows from all that was told, and differs since the last time.

        Args:
            told: the last batch; all of it is taken in, and it is in sync.
            first: since the loop began or forgot: what is stored and does not follow goes, too.
        """


class Deriving:
    """The loop of one shard. `in_sync` once everything that it derives is on its way."""

    def __init__(
        self,
        bus: Bus,
        output: Output,
        derivation: Derivation,
        *,
        kinds: frozenset[Kind],
        marks: Sequence[str],
        shard: int,
        shards: int,
    ) -> None:
        """A loop that is not in sync yet.

        Args:
            kinds: what it derives from; all of them must be listed before anything is stored.
            marks: subjects that say how far all that follows is stored.
            shard: 0..shards-1.
        """
        self._bus, self._output, self._derivation = bus, output, derivation
        self._kinds, self._marks = kinds, tuple(marks)
        self._shard, self._shards = shard, shards
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
        check_shards(self._output.stream, self._output.stored, self._shards)
        try:
            async for told in facts(self._bus, self._kinds, self._derivation.wants):
                await self._take(told)
        finally:
            collector.resume()

    async def _take(self, told: Facts) -> None:
        """Take a batch in, and store what follows from it."""
        if told.afresh:
            self._derivation.forget()
            self.in_sync.clear()
            collector.suspend()
        self._derivation.evolve(told)
        if not told.in_sync:
            return
        first = not self.in_sync.is_set()
        await self._derivation.store(told, first=first)
        mark = Mark(shard=self._shard, shards=self._shards, upto=told.upto)
        for subject in self._marks:
            self._output.mark(subject, mark)
        if first:
            self.in_sync.set()
            collector.resume()
            log.info("derived_in_sync", stream=self._output.stream, revision=told.seen.sequence, shard=self._shard)


async def run_sharded(service: Service[S], loop: Deriving, lease: Lease) -> None:
    """Run until cancelled, and be ready when all is on its way and nothing is refused.

    Raises:
        LeaseLost, Fenced: another run of the service has the shard.
        Resharded: what is stored was divided into another number of shards.
    """
    service.health.ready_when("in sync", loop.in_sync.is_set)
    service.health.ready_when("stored", lambda: not loop.refused)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(lease.hold(), name="lease")
        tasks.create_task(loop.guard(), name="fence")
        tasks.create_task(loop.run(), name="loop")
