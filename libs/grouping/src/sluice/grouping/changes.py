"""What a fold of members has to tell."""

from collections.abc import Iterable
from typing import NamedTuple

from sluice.contracts.ids import GroupId, NodeName
from sluice.grouping.matching import Group, LabelSet
from sluice.grouping.nodes import Touched
from sluice.grouping.placed import Placed


class Changes(NamedTuple):
    """What may differ since the last time. May name too much, never too little."""

    pages: dict[GroupId, set[NodeName]]
    """Ask for the members of these groups on these nodes again; none means that the page goes. In the order in which
    they were touched, so that what belongs together is looked at together."""

    owns: set[NodeName]
    """Nodes on which other groups may have members now."""

    locals: set[NodeName]
    """Nodes with other Pods now, or with others of their interfaces."""


class Pending:
    """What was touched and not told yet. Mutable."""

    def __init__(self) -> None:
        self._pages: dict[GroupId, set[NodeName]] = {}
        self.owns: set[NodeName] = set()
        self.locals: set[NodeName] = set()

    def drain(self) -> Changes:
        """It is told now."""
        changes = Changes(self._pages, self.owns, self.locals)
        self._pages, self.owns, self.locals = {}, set(), set()
        return changes

    def touch(self, pod: Placed) -> None:
        """The Pod is another on its node, and in its groups."""
        self.locals.add(pod.node)
        self.touch_pages(pod)

    def touch_all(self, pods: Iterable[Placed]) -> None:
        for pod in pods:
            self.touch(pod)

    def touch_pages(self, pod: Placed) -> None:
        """The Pod is another in its groups."""
        node, pages = pod.node, self._pages
        for group in pod.label_set.groups:
            touched = pages.get(group.id)
            if touched is None:
                pages[group.id] = {node}
            else:
                touched.add(node)

    def touch_nodes(self, touched: Iterable[Touched]) -> bool:
        """These groups have other nodes; True if there is any."""
        changed = False
        for group, node in touched:
            self._pages.setdefault(group, set()).add(node)
            self.owns.add(node)
            changed = True
        return changed

    def touch_group(self, group: Group[Placed]) -> None:
        """The group came or went."""
        for label_set in group.label_sets:
            self.touch_label_set(group, label_set)

    def touch_label_set(self, group: Group[Placed], label_set: LabelSet[Placed]) -> None:
        """These Pods joined the group, or left it."""
        self._pages.setdefault(group.id, set()).update(label_set.on)
        self.owns.update(label_set.on)
