"""Which Pods run on which node: placed ones by label set, and those set aside."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Final

from sluice.contracts.groups import Member
from sluice.contracts.ids import NodeName
from sluice.contracts.objects import Pod
from sluice.grouping.bystanders import Aside
from sluice.grouping.matching import LabelSet
from sluice.grouping.members import member_of
from sluice.grouping.placed import Placed

Here = Mapping[LabelSet[Placed], tuple[Placed, ...]]
"""The placed Pods of a node."""

_NOBODY: Final[Here] = {}


class OnNodes:
    """Mutable, like the fold that it is part of."""

    def __init__(self) -> None:
        self._placed: dict[NodeName, dict[LabelSet[Placed], tuple[Placed, ...]]] = {}
        self._aside: dict[NodeName, dict[int, Aside]] = {}
        """By object identity: the same object until the Pod changes."""

    def placed(self, node: NodeName) -> Here:
        return self._placed.get(node, _NOBODY)

    def members(self, node: NodeName) -> tuple[Member, ...]:
        """All Pods of the node as members, sorted. A Pod set aside holds every address that it claims."""
        found = [pod.member for pods in self.placed(node).values() for pod in pods]
        here = self._aside.get(node)
        if here:
            found += [member_of(one) if isinstance(one, Pod) else one.member for one in here.values()]
        return tuple(sorted(found, key=_name))

    def put(self, pod: Placed) -> None:
        """Add a placed Pod to its node."""
        node, label_set = pod.node, pod.label_set
        here = self._placed.get(node)
        if here is None:
            here = self._placed[node] = {}
        here[label_set] = label_set.add(pod, node)

    def remove(self, pod: Placed) -> None:
        """Remove a placed Pod from its node."""
        here, label_set = self._placed[pod.node], pod.label_set
        others = label_set.remove(pod, pod.node)
        if others:
            here[label_set] = others
            return
        del here[label_set]
        if not here:
            del self._placed[pod.node]

    def put_aside(self, node: NodeName, pod: Aside) -> None:
        """Add a Pod that is set aside to its node."""
        here = self._aside.get(node)
        if here is None:
            here = self._aside[node] = {}
        here[id(pod)] = pod

    def remove_aside(self, pod: Aside) -> None:
        """Remove a Pod that is no longer set aside; no effect if it is not there."""
        here = self._aside.get(pod.node)
        if here is not None:
            here.pop(id(pod), None)
            if not here:
                del self._aside[pod.node]


_name = attrgetter("pod")
