"""Which nodes are in which node groups.

There are few such groups, and nodes rarely change, so each node event checks every group and each new group every node.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sluice.contracts.groups import Member
from sluice.contracts.ids import GroupId, NodeName
from sluice.contracts.objects import Node
from sluice.grouping.members import member_of_node
from sluice.grouping.selectors import GroupSelector, selects_node

Touched = tuple[GroupId, NodeName]


class _Known(NamedTuple):
    node: Node
    member: Member


class NodeGroups:
    """Mutable, like the fold that it is part of."""

    def __init__(self) -> None:
        self._nodes: dict[NodeName, _Known] = {}
        self._groups: dict[GroupId, GroupSelector] = {}
        self._in: dict[GroupId, set[NodeName]] = {}
        self._on: dict[NodeName, set[GroupId]] = {}

    def __contains__(self, group: object) -> bool:
        return group in self._groups

    def selector(self, group: GroupId) -> GroupSelector | None:
        return self._groups.get(group)

    def put(self, name: NodeName, node: Node | None) -> Iterator[Touched]:
        """The node changed, or (None) is gone; yields the pages that may differ."""
        before = self._nodes.pop(name, None)
        was = self._on.pop(name, set())
        for group in was:
            self._in[group].discard(name)
        if node is not None:
            self._nodes[name] = _Known(node, member_of_node(node))
            for group, selector in self._groups.items():
                if selects_node(selector, node.metadata.labels):
                    self._join(group, name)
        now = self._on.get(name, set())
        same = before is not None and name in self._nodes and before.member == self._nodes[name].member
        for group in was ^ now if same else was | now:
            yield group, name

    def select(self, group: GroupId, selector: GroupSelector) -> Iterator[Touched]:
        """Select a group that was not selected before; yields its pages."""
        self._groups[group] = selector
        self._in[group] = set()
        for name, known in self._nodes.items():
            if selects_node(selector, known.node.metadata.labels):
                self._join(group, name)
                yield group, name

    def release(self, group: GroupId) -> Iterator[Touched]:
        """Release the group; yields the pages that it had."""
        del self._groups[group]
        for name in self._in.pop(group):
            self._on[name].discard(group)
            yield group, name

    def members(self, group: GroupId, node: NodeName) -> tuple[Member, ...]:
        """The node itself, or no member."""
        return (self._nodes[node].member,) if node in self._in[group] else ()

    def nodes(self, group: GroupId) -> tuple[NodeName, ...]:
        """Sorted."""
        return tuple(sorted(self._in[group]))

    def groups_on(self, node: NodeName) -> set[GroupId]:
        return self._on.get(node, set())

    def _join(self, group: GroupId, name: NodeName) -> None:
        self._in[group].add(name)
        self._on.setdefault(name, set()).add(group)
