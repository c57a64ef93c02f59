"""From OBJECTS to GROUPS: stores what the fold derives. Decides nothing."""

from collections.abc import Mapping

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Own
from sluice.contracts.ids import GroupId, NodeName, Revision
from sluice.contracts.kinds import INPUTS, Kind
from sluice.grouping.bystanders import Bystander
from sluice.grouping.events import ObjectEvent, ObjectKey
from sluice.runtime.facts import Facts
from sluice.runtime.output import Output
from sluice.runtime.writes import Write
from sluice.services.group_resolver.concern import Concern
from sluice.services.group_resolver.derived import Changes, ShardGroups, both

STREAM = "GROUPS"
PATTERN = "groups.>"


class Members:
    """The derivation of one shard, for `Deriving`."""

    def __init__(self, output: Output, shard: int, shards: int) -> None:
        self._output = output
        self._shard, self._shards = shard, shards
        self._fold = ShardGroups(shard, shards)
        self._concern = Concern(shard, shards)

    def forget(self) -> None:
        self._fold = ShardGroups(self._shard, self._shards)

    def read(self, key: ObjectKey, body: bytes, revision: Revision) -> ObjectEvent | Bystander | None:
        return self._concern.read(key, body, revision)

    def evolve(self, told: Facts) -> None:
        self._fold.evolve(told.events, told.upto, told.bystanders)

    async def store(self, told: Facts, *, first: bool) -> None:
        unreadable = {key for key in told.unreadable if key.kind in INPUTS or key.kind is Kind.TRAFFIC_CONTROL}
        changes = self._fold.drain()
        if first:
            stored = self._output.stored
            if unreadable:
                self._fold.keep(self._own_lists(stored))
            nodes = [key.name for key in told.unreadable if key.kind is Kind.NODE]
            changes = both(changes, self._fold.stale(stored, nodes))
        elif not unreadable:
            changes = both(changes, self._fold.let_go())
        await self._store(changes, told.seen)

    def _own_lists(self, stored: Mapping[str, bytes]) -> dict[str, Own]:
        lists = {}
        for subject, body in stored.items():
            if isinstance(subjects.known(subject), subjects.OwnSubject):
                lists[subject] = codec.decode(body, Own)
        return lists

    async def _store(self, changes: Changes, cause: Revision) -> None:
        """Write, for each node: its new pages, then the list that names them, then the removal of old pages.

        So the pages that a node finds in its list always exist.
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
