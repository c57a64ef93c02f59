"""Which Pods are on which node: those that have a place by their labels, and those that are set aside."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Final

from sluice.contracts.groups import Member
from sluice.contracts.ids import NodeName
from sluice.grouping.bystanders import Aside, whole
from sluice.grouping.matching import LabelSet
from sluice.grouping.members import member_of
from sluice.grouping.placed import Placed

Here = Mapping[LabelSet[Placed], tuple[Placed, ...]]
"""The Pods of a node that have a place."""

_NOBODY: Final[Here] = {}


class OnNodes:
    """Mutable inside, like the fold of Pods that it is a part of."""

    def __init__(self) -> None:
        self._placed: dict[NodeName, dict[LabelSet[Placed], tuple[Placed, ...]]] = {}
        self._aside: dict[NodeName, dict[int, Aside]] = {}
        """By identity: it is this very object until the Pod changes."""

    def placed(self, node: NodeName) -> Here:
        return self._placed.get(node, _NOBODY)

    def members(self, node: NodeName) -> tuple[Member, ...]:
        """What the node is told of its Pods; sorted. Who is set aside has every address that it claims."""
        found = [pod.member for pods in self.placed(node).values() for pod in pods]
        here = self._aside.get(node)
        if here:
            found += [member_of(whole(one)) for one in here.values()]
        return tuple(sorted(found, key=_name))

    def put(self, pod: Placed) -> None:
        """The Pod, which has a place, is on its node."""
        node, label_set = pod.node, pod.label_set
        here = self._placed.get(node)
        if here is None:
            here = self._placed[node] = {}
        here[label_set] = label_set.add(pod, node)

    def remove(self, pod: Placed) -> None:
        """The Pod, which has a place, is there no more."""
        here, label_set = self._placed[pod.node], pod.label_set
        others = label_set.remove(pod, pod.node)
        if others:
            here[label_set] = others
            return
        del here[label_set]
        if not here:
            del self._placed[pod.node]

    def put_aside(self, pod: Aside) -> None:
        """The Pod, which is set aside, is on its node."""
        node = pod.node
        here = self._aside.get(node)
        if here is None:
            here = self._aside[node] = {}
        here[id(pod)] = pod

    def remove_aside(self, pod: Aside) -> None:
        """The Pod is not set aside there any more, if it was."""
        here = self._aside.get(pod.node)
        if here is not None:
            here.pop(id(pod), None)
            if not here:
                del self._aside[pod.node]


_name = attrgetter("pod")
