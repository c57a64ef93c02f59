"""What changed in a fold of members."""

from collections.abc import Iterable
from typing import NamedTuple

from sluice.contracts.ids import GroupId, NodeName
from sluice.grouping.matching import Group, LabelSet
from sluice.grouping.nodes import Touched
from sluice.grouping.placed import Placed


class Changes(NamedTuple):
    """What may have changed since the last call. May name too much, never too little."""

    pages: dict[GroupId, set[NodeName]]
    """Groups, and the nodes on which their members may differ. A page without members is removed. In the order of their
    changes, which keeps related groups together."""

    owns: set[NodeName]
    """Nodes whose set of groups with members may differ."""

    locals: set[NodeName]
    """Nodes whose Pods, or interfaces of Pods, differ."""


class Pending:
    """Changes that were not drained yet. Mutable."""

    def __init__(self) -> None:
        self._pages: dict[GroupId, set[NodeName]] = {}
        self.owns: set[NodeName] = set()
        self.locals: set[NodeName] = set()

    def drain(self) -> Changes:
        """Return the changes and forget them."""
        changes = Changes(self._pages, self.owns, self.locals)
        self._pages, self.owns, self.locals = {}, set(), set()
        return changes

    def touch(self, pod: Placed) -> None:
        """The Pod changed, on its node and in its groups."""
        self.locals.add(pod.node)
        self.touch_pages(pod)

    def touch_all(self, pods: Iterable[Placed]) -> None:
        for pod in pods:
            self.touch(pod)

    def touch_pages(self, pod: Placed) -> None:
        """The Pod changed in its groups."""
        node, pages = pod.node, self._pages
        for group in pod.label_set.groups:
            touched = pages.get(group.id)
            if touched is None:
                pages[group.id] = {node}
            else:
                touched.add(node)

    def touch_nodes(self, touched: Iterable[Touched]) -> bool:
        """These node groups changed on these nodes; True if there are any."""
        changed = False
        for group, node in touched:
            self._pages.setdefault(group, set()).add(node)
            self.owns.add(node)
            changed = True
        return changed

    def touch_group(self, group: Group[Placed]) -> None:
        """The group was selected or released."""
        for label_set in group.label_sets:
            self.touch_label_set(group, label_set)

    def touch_label_set(self, group: Group[Placed], label_set: LabelSet[Placed]) -> None:
        """The Pods of the label set joined the group or left it."""
        self._pages.setdefault(group.id, set()).update(label_set.on)
        self.owns.update(label_set.on)
