"""The loop of a service that derives a stream from OBJECTS: take in facts, store the results, publish the mark."""

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeVar

import structlog

from sluice.contracts.groups import Mark
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.grouping.bystanders import Bystander
from sluice.grouping.events import ObjectEvent, ObjectKey
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
    """What a service derives from facts. It puts results into its output; the loop publishes the marks."""

    def forget(self) -> None:
        """Drop everything taken in; what is stored stays until everything was received again."""

    def read(self, key: ObjectKey, body: bytes, revision: Revision) -> ObjectEvent | Bystander | None:
        """A version of an object, as the shard needs it; see `facts.Read`."""

    def evolve(self, told: Facts) -> None:
        """Take in a batch."""

    async def store(self, told: Facts, *, first: bool) -> None:
        """Put the results of all facts so far into the output, where they differ from the last call.

        Args:
            told: the last batch, which has been taken in; it is in sync.
            first: first call since the loop began or forgot: also delete what is stored and is no longer a result.
        """


class Deriving:
    """The loop of one shard. `in_sync` is set once all results have been handed to the output."""

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
        """Create a loop that is not in sync yet.

        Args:
            kinds: the kinds it derives from; nothing is stored before all of them have been listed.
            marks: subjects that tell up to where all results are stored.
            shard: 0..shards-1.
        """
        self._bus, self._output, self._derivation = bus, output, derivation
        self._kinds, self._marks = kinds, tuple(marks)
        self._shard, self._shards = shard, shards
        self.in_sync = asyncio.Event()

    @property
    def refused(self) -> bool:
        """Whether the stream refuses some result; then its old value stays, and no mark is published."""
        return bool(self._output.refused)

    async def guard(self) -> None:
        """Return when the output is closed.

        Raises:
            Fenced: another writer is active on our subjects.
        """
        await self._output.guard()

    async def run(self) -> None:
        """Run forever.

        Raises:
            Resharded: the stored values were written with another number of shards.
            Fenced: another writer is active on our subjects.
        """
        check_shards(self._output.stream, self._output.stored, self._shards)
        try:
            async for told in facts(self._bus, self._kinds, self._derivation.read):
                await self._take(told)
        finally:
            collector.resume()

    async def _take(self, told: Facts) -> None:
        """Take in a batch, and store its results."""
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
    """Run until cancelled; ready once everything has been sent and nothing is refused.

    Raises:
        LeaseLost, Fenced: another instance of the service has the shard.
        Resharded: the stored values were written with another number of shards.
    """
    service.health.ready_when("in sync", loop.in_sync.is_set)
    service.health.ready_when("stored", lambda: not loop.refused)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(lease.hold(), name="lease")
        tasks.create_task(loop.guard(), name="fence")
        tasks.create_task(loop.run(), name="loop")
