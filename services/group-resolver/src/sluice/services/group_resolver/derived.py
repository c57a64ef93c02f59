"""The fold: objects into the pages, own lists and local lists of one shard. No I/O."""

from collections.abc import Iterable
from typing import NamedTuple

from sluice.contracts import subjects
from sluice.contracts.groups import Local, Own, Page
from sluice.contracts.ids import GroupId, NodeName, Revision
from sluice.contracts.kinds import POLICIES, Kind
from sluice.contracts.shards import shard_of
from sluice.grouping.events import ObjectEvent
from sluice.grouping.index import Grouping
from sluice.policy.compiler import Groups

KINDS = POLICIES | {Kind.NAMESPACE, Kind.POD}
"""What groups are made of."""


class Derived(NamedTuple):
    """What differs since the last time, by subject. None is gone.

    Store new pages, then own lists, then the end of old pages: a node that reads its list finds the pages it names.
    """

    pages: dict[str, Page | None]
    owns: dict[str, Own | None]
    locals: dict[str, Local | None]

    def over(self, other: "Derived") -> "Derived":
        """Both; where they differ, this."""
        return Derived(other.pages | self.pages, other.owns | self.owns, other.locals | self.locals)


class ShardGroups:
    """The groups of one shard, and their members."""

    def __init__(self, shard: int, shards: int) -> None:
        self._shard, self._shards = shard, shards
        self._groups = Groups()
        self._grouping = Grouping()

    def evolve(self, events: Iterable[ObjectEvent], upto: Revision) -> None:
        """Take facts in; everything up to `upto` was told then."""
        for event in events:
            self._groups.evolve(event)
            self._grouping.evolve(event)
        self._groups.settle(upto)
        self._grouping.settle(upto)
        changes = self._groups.drain()
        for group, selector in changes.select.items():
            if shard_of(group, self._shards) == self._shard:
                self._grouping.select(group, selector)
        for group in changes.release:
            self._grouping.release(group)

    def drain(self, upto: Revision) -> Derived:
        """What may differ since the last time, as of this revision."""
        changes = self._grouping.drain()
        return Derived(
            {subjects.page(*key): self._page(*key, upto) for key in sorted(changes.pages)},
            {subjects.own(node, self._shard): self._own(node, upto) for node in sorted(changes.owns)},
            {subjects.local(node): self._local(node, upto) for node in sorted(changes.locals) if self._has(node)},
        )

    def stale(self, stored: Iterable[str]) -> Derived:
        """Of the subjects that this shard has stored, those that it derives no more: all of them gone."""
        gone = Derived({}, {}, {})
        for subject in sorted(stored):
            match subjects.parse(subject):
                case subjects.PageSubject(group, node) if shard_of(group, self._shards) == self._shard:
                    if not self._grouping.members(group, node):
                        gone.pages[subject] = None
                case subjects.OwnSubject(node, shard) if shard == self._shard:
                    if not self._grouping.groups_on(node):
                        gone.owns[subject] = None
                case subjects.LocalSubject(node) if self._has(node):
                    if not self._grouping.pods_on(node):
                        gone.locals[subject] = None
                case _:
                    pass
        return gone

    def _has(self, node: NodeName) -> bool:
        """One shard speaks of a node's Pods."""
        return shard_of(node, self._shards) == self._shard

    def _page(self, group: GroupId, node: NodeName, upto: Revision) -> Page | None:
        members = self._grouping.members(group, node)
        return Page(group=group, node=node, cause=upto, members=members) if members else None

    def _own(self, node: NodeName, upto: Revision) -> Own | None:
        groups = self._grouping.groups_on(node)
        return Own(node=node, shard=self._shard, cause=upto, groups=groups) if groups else None

    def _local(self, node: NodeName, upto: Revision) -> Local | None:
        pods = self._grouping.pods_on(node)
        return Local(node=node, cause=upto, pods=pods) if pods else None
