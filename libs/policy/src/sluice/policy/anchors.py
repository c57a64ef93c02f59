"""Which of many groups may be meant, without a look at each: those whose terms require a label that is there.

A term is found by the first label that it requires, if it requires one, and by its Namespace, if it names one. What is
found is more than what is meant, never less: who asks looks closer.
"""

from collections.abc import Iterable, Iterator, Mapping

from sluice.contracts.ids import GroupId
from sluice.contracts.objects import LabelRequirement
from sluice.grouping.selectors import GroupSelector, Selector

_Anchor = tuple[str, str, str]
"""Namespace, label, value; empty where the term does not say."""


class Anchors:
    def __init__(self, selectors: Mapping[GroupId, GroupSelector]) -> None:
        self._groups: dict[_Anchor, list[GroupId]] = {}
        for group, selector in selectors.items():
            for term in selector.terms:
                required = next(_required(term.pod_selector), None)
                labels = [("", "")] if required is None else [(required.key, value) for value in required.values]
                for key, value in labels:
                    self._groups.setdefault((term.namespace, key, value), []).append(group)

    def selecting(self, namespace: str, labels: Mapping[str, str]) -> set[GroupId]:
        """Of the groups that a Pod may be in, all."""
        return self._found(namespace, labels.items())

    def covering(self, narrow: GroupSelector) -> set[GroupId]:
        """Of the groups that `covering.group_covers` says cover this one, all."""
        for term in narrow.terms:  # each is covered, so the first is enough
            labels = ((one.key, one.values[0]) for one in _required(term.pod_selector))
            return self._found(term.namespace, labels)
        return set()

    def _found(self, namespace: str, labels: Iterable[tuple[str, str]]) -> set[GroupId]:
        found: set[GroupId] = set()
        for key, value in (("", ""), *labels):
            for inside in {"", namespace}:
                found.update(self._groups.get((inside, key, value), ()))
        return found


def _required(selector: Selector) -> Iterator[LabelRequirement]:
    """What says which values a label has."""
    return (one for one in selector if one.operator == "In" and one.values)
