"""The fold: objects into the pages, own lists, local lists and routes of one shard. No I/O."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from sluice.contracts import subjects
from sluice.contracts.groups import Local, NodeRoute, Own, Page
from sluice.contracts.ids import GroupId, NodeName, Revision
from sluice.contracts.kinds import INPUTS, Kind
from sluice.contracts.shards import shard_of, shard_of_group, shard_of_namespace
from sluice.grouping.events import ObjectEvent, Unread
from sluice.grouping.index import Grouping
from sluice.policy.compiler import Groups
from sluice.services.group_resolver.routes import Routes

_NODE, _POD = Kind.NODE, Kind.POD
"""To look a member up in an Enum takes 0.1 us, and these are asked for with each event."""

KINDS = INPUTS | {Kind.TRAFFIC_CONTROL, Kind.POD, Kind.NODE, Kind.NETWORK_ATTACHMENT}
"""What groups and routes are made of."""

_SELECTING = (INPUTS | {Kind.TRAFFIC_CONTROL}) - {Kind.NAMESPACE}
"""What says whom groups have, and is nobody that one could have."""


class Changes(NamedTuple):
    """What may differ since the last time. May name too much, never too little."""

    pages: dict[GroupId, set[NodeName]]
    owns: set[NodeName]
    locals: set[NodeName]
    routes: set[NodeName]


def both(one: Changes, other: Changes) -> Changes:
    pages = {group: one.pages.get(group, set()) | other.pages.get(group, set()) for group in one.pages | other.pages}
    return Changes(pages, one.owns | other.owns, one.locals | other.locals, one.routes | other.routes)


class ShardGroups:
    """The groups of one shard, and their members.

    A policy none of whose groups is the shard's is not translated, and a Pod that none of its groups can have is set
    aside: so shards divide the work, and not the result alone.
    """

    def __init__(self, shard: int, shards: int) -> None:
        self._shard, self._shards = shard, shards
        self._groups = Groups(self._has_groups_of if shards > 1 else None)
        self._grouping = Grouping(lru_cache(maxsize=10_000)(self._has)) if shards > 1 else Grouping()
        self._routes = Routes()
        self._kept: dict[NodeName, frozenset[GroupId]] = {}

    def evolve(self, events: Iterable[ObjectEvent], upto: Revision, unread: Sequence[Unread] = ()) -> None:
        """Take facts in; everything up to `upto` was told then.

        Args:
            unread: Pods of Namespaces whose groups are other shards'.
        """
        groups, grouping = self._groups.evolve, self._grouping.evolve
        for event in events:
            kind = event.key.kind
            if kind is _POD:
                grouping(event)
            elif kind in _SELECTING:
                groups(event)
            else:
                groups(event)
                grouping(event)
                if kind is _NODE:
                    self._routes.evolve(event)
        if unread:
            self._grouping.evolve_unread(unread)
        self._groups.settle(upto)
        self._grouping.settle(upto)
        self._routes.settle(upto)
        changes = self._groups.drain()
        for group, selector in changes.select.items():
            if self._has_group(group):
                self._grouping.select(group, selector)
        for group in changes.release:
            self._grouping.release(group)

    def drain(self) -> Changes:
        """What may differ since the last time, as far as this shard speaks of it."""
        members = self._grouping.drain()
        locals_ = {node for node in members.locals if self._has(node)}
        routes = {node for node in self._routes.drain() if self._has(node)}
        return Changes(members.pages, members.owns, locals_, locals_ | routes)

    def stale(self, stored: Iterable[str], unreadable: Iterable[str]) -> Changes:
        """Of the subjects that are stored, those of this shard that it derives no more.

        But for the routes of Nodes of these names, of which it is not known what they are.
        """
        unknown = frozenset(unreadable)
        gone = Changes({}, set(), set(), set())
        for subject in stored:
            match subjects.known(subject):
                case subjects.PageSubject(group, node) if self._has_group(group):
                    if not self._grouping.members(group, node) and group not in self._kept.get(node, ()):
                        gone.pages.setdefault(group, set()).add(node)
                case subjects.OwnSubject(node, shard) if shard == self._shard:
                    if not self._groups_on(node):
                        gone.owns.add(node)
                case subjects.LocalSubject(node) if self._has(node):
                    if not self._grouping.pods_on(node):
                        gone.locals.add(node)
                case subjects.RouteSubject(node) if self._has(node):
                    if not self._routes.has(node) and node not in unknown:
                        gone.routes.add(node)
                case _:
                    pass
        return gone

    def keep(self, stored: Mapping[str, Own]) -> None:
        """Groups that stand in stored own lists and that nobody names stay in them, with their pages as they are.

        For as long as there are policies that cannot be read: what they name is not known, and must not end.
        """
        self._kept = {
            own.node: frozenset(group for group in own.groups if group not in self._groups.selectors)
            for own in stored.values()
            if own.shard == self._shard
        }

    def let_go(self) -> Changes:
        """All policies can be read again: what was kept is looked at like the rest."""
        kept, self._kept = self._kept, {}
        pages: dict[GroupId, set[NodeName]] = {}
        for node, groups in kept.items():
            for group in groups:
                pages.setdefault(group, set()).add(node)
        return Changes(pages, set(kept), set(), set())

    def pages(
        self, group: GroupId, nodes: Collection[NodeName], cause: Revision
    ) -> Iterator[tuple[NodeName, Page | None]]:
        """The group's page for each of these nodes, sorted; None where it has no member."""
        for node, members in self._grouping.pages(group, nodes):
            yield node, Page(group=group, node=node, cause=cause, members=members) if members else None

    def own(self, node: NodeName, cause: Revision) -> Own | None:
        groups = self._groups_on(node)
        return Own(node=node, shard=self._shard, cause=cause, groups=groups) if groups else None

    def local(self, node: NodeName, cause: Revision) -> Local | None:
        pods = self._grouping.pods_on(node)
        interfaces = self._grouping.interfaces_on(node)
        return Local(node=node, cause=cause, pods=pods, interfaces=interfaces) if pods else None

    def route(self, node: NodeName, cause: Revision) -> NodeRoute | None:
        return self._routes.route(node, self._grouping.pods_on(node), cause)

    def _groups_on(self, node: NodeName) -> tuple[GroupId, ...]:
        groups, kept = self._grouping.groups_on(node), self._kept.get(node)
        return tuple(sorted(kept.union(groups))) if kept else groups

    def _has(self, node: NodeName) -> bool:
        """One shard speaks of a node's Pods and of the way to it."""
        return shard_of(node, self._shards) == self._shard

    def _has_group(self, group: GroupId) -> bool:
        return shard_of_group(group, self._shards) == self._shard

    def _has_groups_of(self, namespace: str) -> bool:
        """Of those about this Namespace alone."""
        return shard_of_namespace(namespace, self._shards) == self._shard
