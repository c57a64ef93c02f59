"""From OBJECTS to GROUPS: what the fold says is stored, and then vouched for by a mark. Decides nothing."""

import asyncio
from collections.abc import Mapping

import structlog

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Mark, Own
from sluice.contracts.ids import GroupId, NodeName, Revision
from sluice.contracts.kinds import INPUTS, Kind
from sluice.runtime.bus import Bus
from sluice.runtime.facts import Facts, facts
from sluice.runtime.output import Output
from sluice.runtime.sharding import check_shards
from sluice.runtime.writes import Write
from sluice.services.group_resolver.derived import KINDS, Changes, ShardGroups, both

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
        unreadable = {key for key in told.unreadable if key.kind in INPUTS}
        changes = self._fold.drain()
        if not self.in_sync.is_set():
            stored = self._output.stored
            if unreadable:
                self._fold.keep(self._own_lists(stored))
            nodes = [key.name for key in told.unreadable if key.kind is Kind.NODE]
            changes = both(changes, self._fold.stale(stored, nodes))
            log.info("groups_in_sync", revision=told.seen.sequence, shard=self._shard, unreadable=len(unreadable))
        elif not unreadable:
            changes = both(changes, self._fold.let_go())
        await self._store(changes, told.seen)
        mark = Mark(shard=self._shard, shards=self._shards, upto=told.upto)
        self._output.mark(subjects.group_mark(self._shard), mark)
        self.in_sync.set()

    def _own_lists(self, stored: Mapping[str, bytes]) -> dict[str, Own]:
        lists = {}
        for subject, body in stored.items():
            if isinstance(subjects.parse(subject), subjects.OwnSubject):
                lists[subject] = codec.decode(body, Own)
        return lists

    async def _store(self, changes: Changes, cause: Revision) -> None:
        """On each node: its new pages, then the list that names them, then the end of old ones.

        So a node that reads its list finds the pages that it names.
        """
        fold, output = self._fold, self._output
        new: dict[NodeName, list[Write]] = {}
        gone: list[tuple[GroupId, NodeName]] = []
        for group, nodes in changes.pages.items():
            for node, page in fold.pages(group, nodes, cause):
                if page is None:
                    gone.append((group, node))
                elif write := output.put(subjects.page(group, node), page):
                    new.setdefault(node, []).append(write)
            await output.room()
        lists: dict[NodeName, tuple[Write, ...]] = {}
        for node in sorted(changes.owns):
            own, subject = fold.own(node, cause), subjects.own(node, self._shard)
            written = output.put(subject, own, after=new.get(node, ())) if own else output.remove(subject, cause)
            lists[node] = (written,) if written else ()
        for group, node in gone:
            output.remove(subjects.page(group, node), cause, after=lists.get(node, ()))
            await output.room()
        for node in sorted(changes.locals):
            local, subject = fold.local(node, cause), subjects.local(node)
            output.put(subject, local) if local else output.remove(subject, cause)
        for node in sorted(changes.routes):
            route, subject = fold.route(node, cause), subjects.route(node)
            output.put(subject, route) if route else output.remove(subject, cause)
        await output.room()
