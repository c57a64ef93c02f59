"""An index that narrows down which groups may match: those whose terms require a label that is present.

A term is found by two labels whose values it restricts, if there are such: one of the Pod, and, if it names no
Namespace, one of the Namespace. The candidates include all matching groups, and maybe others: the caller must check
them.
"""

from collections.abc import Iterable, Iterator, Mapping

from sluice.contracts.ids import GroupId
from sluice.contracts.objects import LabelRequirement
from sluice.grouping.selectors import GroupSelector, Selector, SelectorTerm

_Label = tuple[str, str]
"""A label and its value; empty if none is required."""

_Space = str | _Label
"""The name of a Namespace, or a label of it."""

_ANY: _Label = ("", "")


class Anchors:
    def __init__(self, selectors: Mapping[GroupId, GroupSelector]) -> None:
        self._groups: dict[_Space, dict[_Label, list[GroupId]]] = {}
        for group, selector in selectors.items():
            for term in selector.terms:
                for space in _spaces(term):
                    there = self._groups.setdefault(space, {})
                    for label in _labels(term.pod_selector):
                        there.setdefault(label, []).append(group)

    def selecting(self, namespace: str, inside: Mapping[str, str] | None, labels: Mapping[str, str]) -> set[GroupId]:
        """Candidates for the groups that contain a Pod with these labels; none is missing.

        Args:
            namespace: the Pod's.
            inside: the labels of the Namespace; None: it is not known.
        """
        return self._found([namespace, *(inside or {}).items()], labels.items())

    def covering(self, narrow: GroupSelector, namespaces: Mapping[str, Mapping[str, str]]) -> set[GroupId]:
        """Candidates for the groups that cover this one (`covering.group_covers`); none is missing.

        Args:
            namespaces: the labels of each Namespace.
        """
        for term in narrow.terms:  # all of them must be covered, so the first is enough
            inside = [(one.key, one.values[0]) for one in _required(term.namespace_selector or ())]
            inside += namespaces.get(term.namespace, {}).items()
            labels = [(one.key, one.values[0]) for one in _required(term.pod_selector)]
            return self._found([term.namespace, *inside] if term.namespace else inside, labels)
        return set()

    def _found(self, spaces: Iterable[_Space], labels: Iterable[_Label]) -> set[GroupId]:
        found: set[GroupId] = set()
        present = (_ANY, *labels)
        for space in (_ANY, *spaces):
            there = self._groups.get(space)
            if there is not None:
                for label in present:
                    found.update(there.get(label, ()))
        return found


def _spaces(term: SelectorTerm) -> Iterable[_Space]:
    return (term.namespace,) if term.namespace else _labels(term.namespace_selector or ())


def _labels(selector: Selector) -> list[_Label]:
    """Labels of which everything that the selector matches has one."""
    required = next(_required(selector), None)
    return [_ANY] if required is None else [(required.key, value) for value in required.values]


def _required(selector: Selector) -> Iterator[LabelRequirement]:
    """The requirements that list the possible values of a label."""
    return (one for one in selector if one.operator == "In" and one.values)
