"""An index that narrows down which groups may match: those whose terms require a label that is present.

A term is found by the first label whose values it restricts, if any, and by its Namespace, if it names one. The
candidates include all matching groups, and maybe others: the caller must check them.
"""

from collections.abc import Iterable, Iterator, Mapping

from sluice.contracts.ids import GroupId
from sluice.contracts.objects import LabelRequirement
from sluice.grouping.selectors import GroupSelector, Selector

_Anchor = tuple[str, str, str]
"""Namespace, label, value; empty where the term requires none."""


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
        """Candidates for the groups that contain a Pod in this Namespace with these labels; none is missing."""
        return self._found(namespace, labels.items())

    def covering(self, narrow: GroupSelector) -> set[GroupId]:
        """Candidates for the groups that cover this one (`covering.group_covers`); none is missing."""
        for term in narrow.terms:  # all of them must be covered, so the first is enough
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
    """The requirements that list the possible values of a label."""
    return (one for one in selector if one.operator == "In" and one.values)
