"""From OBJECTS to GROUPS: what the fold says is stored, and then vouched for by a mark. Decides nothing."""

import asyncio

import structlog

from sluice.contracts import subjects
from sluice.contracts.groups import Mark
from sluice.contracts.ids import Revision
from sluice.runtime.bus import Bus
from sluice.runtime.facts import Facts, facts
from sluice.runtime.output import Output
from sluice.services.group_resolver.derived import KINDS, Derived, ShardGroups

log = structlog.get_logger()

STREAM = "GROUPS"
PATTERN = "groups.>"


class Shell:
    """The loop of one shard. `in_sync` once everything that it derives is on its way."""

    def __init__(self, bus: Bus, output: Output, shard: int, shards: int) -> None:
        self._bus, self._output = bus, output
        self._shard, self._shards = shard, shards
        self._fold = ShardGroups(shard, shards)
        self.in_sync = asyncio.Event()

    async def run(self) -> None:
        """Endless.

        Raises:
            Fenced: another writer is active on our subjects.
        """
        async for told in facts(self._bus, KINDS):
            await self.take(told)

    async def take(self, told: Facts) -> None:
        """Take a batch in, and store what follows from it."""
        if told.afresh:
            self._fold = ShardGroups(self._shard, self._shards)
            self.in_sync.clear()
        self._fold.evolve(told.events, told.upto)
        if not told.in_sync:
            return
        derived = self._fold.drain(told.upto)
        if not self.in_sync.is_set():
            derived = derived.over(self._fold.stale(self._output.stored))
            log.info("groups_in_sync", revision=told.upto.sequence, shard=self._shard)
        await self._store(derived, told.upto)
        self._output.mark(
            subjects.group_mark(self._shard), Mark(shard=self._shard, shards=self._shards, upto=told.upto)
        )
        self.in_sync.set()

    async def _store(self, derived: Derived, upto: Revision) -> None:
        output = self._output
        pages = [output.put(subject, page) for subject, page in derived.pages.items() if page is not None]
        new = [write for write in pages if write is not None]
        await output.room()
        owns = []
        for subject, own in derived.owns.items():
            owns.append(output.remove(subject, upto) if own is None else output.put(subject, own, after=new))
        told = [write for write in owns if write is not None]
        for subject, page in derived.pages.items():
            if page is None:
                output.remove(subject, upto, after=told)
        for subject, local in derived.locals.items():
            if local is None:
                output.remove(subject, upto)
            else:
                output.put(subject, local)
        await output.room()
