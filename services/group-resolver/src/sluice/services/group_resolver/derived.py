"""The fold of objects into the pages, own lists, local lists and routes of one shard. No I/O."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from sluice.contracts import subjects
from sluice.contracts.groups import Local, NodeRoute, Own, Page
from sluice.contracts.ids import GroupId, NodeName, Revision
from sluice.contracts.kinds import INPUTS, Kind
from sluice.contracts.shards import REMEMBERED, shard_of, shard_of_group, shard_of_namespace
from sluice.grouping.bystanders import Bystander
from sluice.grouping.events import ObjectEvent
from sluice.grouping.index import Grouping
from sluice.policy.compiler import Groups
from sluice.services.group_resolver.routes import Routes

_NODE, _POD = Kind.NODE, Kind.POD
"""Looking up a member of an Enum takes 0.1 us, and these are needed for each event."""

KINDS = INPUTS | {Kind.TRAFFIC_CONTROL, Kind.POD, Kind.NODE, Kind.NETWORK_ATTACHMENT}
"""What groups and routes are derived from."""

_SELECTING = (INPUTS | {Kind.TRAFFIC_CONTROL}) - {Kind.NAMESPACE}
"""Kinds that define groups, and cannot be members of one."""


class Changes(NamedTuple):
    """What may have changed since the last call. May name too much, never too little."""

    pages: dict[GroupId, set[NodeName]]
    owns: set[NodeName]
    locals: set[NodeName]
    routes: set[NodeName]


def both(one: Changes, other: Changes) -> Changes:
    pages = {group: one.pages.get(group, set()) | other.pages.get(group, set()) for group in one.pages | other.pages}
    return Changes(pages, one.owns | other.owns, one.locals | other.locals, one.routes | other.routes)


class ShardGroups:
    """The groups of one shard, and their members.

    A policy that has no group of the shard is not translated, and a Pod that none of its groups can select is set
    aside, so shards divide the work and not only the result.
    """

    def __init__(self, shard: int, shards: int) -> None:
        self._shard, self._shards = shard, shards
        remembered = lru_cache(maxsize=REMEMBERED)
        self._groups = Groups(remembered(self._has_groups_of) if shards > 1 else None)
        self._grouping = Grouping(remembered(self._has)) if shards > 1 else Grouping()
        self._routes = Routes()
        self._kept: dict[NodeName, frozenset[GroupId]] = {}

    def evolve(self, events: Iterable[ObjectEvent], upto: Revision, bystanders: Iterable[Bystander] = ()) -> None:
        """Take facts in, up to and including the revision `upto`.

        Args:
            bystanders: Pods in Namespaces of other shards.
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
        self._grouping.evolve_bystanders(bystanders)
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
        """What may have changed since the last call, of what this shard publishes."""
        members = self._grouping.drain()
        locals_ = {node for node in members.locals if self._has(node)}
        routes = {node for node in self._routes.drain() if self._has(node)}
        return Changes(members.pages, members.owns, locals_, locals_ | routes)

    def stale(self, stored: Iterable[str], unreadable: Iterable[str]) -> Changes:
        """Stored subjects of this shard that it no longer derives.

        Args:
            unreadable: names of Nodes that do not decode; their routes are kept.
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
        """Keep groups of stored own lists that no policy names, in these lists and with their pages.

        Needed while some policies do not decode: the groups that they name are unknown, and must not end.
        """
        self._kept = {
            own.node: frozenset(group for group in own.groups if group not in self._groups.selectors)
            for own in stored.values()
            if own.shard == self._shard
        }

    def let_go(self) -> Changes:
        """All policies decode again: stop keeping groups that none names."""
        kept, self._kept = self._kept, {}
        pages: dict[GroupId, set[NodeName]] = {}
        for node, groups in kept.items():
            for group in groups:
                pages.setdefault(group, set()).add(node)
        return Changes(pages, set(kept), set(), set())

    def pages(
        self, group: GroupId, nodes: Collection[NodeName], cause: Revision
    ) -> Iterator[tuple[NodeName, Page | None]]:
        """The group's page for each of these nodes, sorted; None on a node without members."""
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
        """This shard publishes the node's local list and route."""
        return shard_of(node, self._shards) == self._shard

    def _has_group(self, group: GroupId) -> bool:
        return shard_of_group(group, self._shards) == self._shard

    def _has_groups_of(self, namespace: str) -> bool:
        """This shard has the groups that are confined to the Namespace."""
        return shard_of_namespace(namespace, self._shards) == self._shard
