"""Selectors as people write them into groups with their ids.

The same selectors stand in many Namespaces, and twice in many a policy; what was worked out lately is remembered.
"""

from functools import lru_cache
from typing import NamedTuple

from sluice.contracts.ids import GroupId
from sluice.contracts.objects import LabelRequirement, LabelSelector
from sluice.grouping.selectors import EVERYTHING, GroupSelector, Selector, SelectorTerm, normalise, union
from sluice.policy.groupid import group_id

REMEMBERED = 256
"""Groups, and normal forms, of about 1 kB each: they should stay in the processor's own cache."""


Group = tuple[GroupId, GroupSelector]


class BadSelector(ValueError):
    """Kubernetes would not admit the selector: what, why and what to do."""


_Written = tuple[tuple[tuple[str, str], ...], tuple[LabelRequirement, ...]]
"""A selector that can be looked up."""


def pods_in(namespace: str, pods: LabelSelector) -> Group:
    """The Pods of the Namespace that the selector matches.

    Raises:
        BadSelector: see there.
    """
    return _group(namespace, None, _written(pods))


def pods_of_namespaces(namespaces: LabelSelector, pods: LabelSelector | None) -> Group:
    """The Pods that the one selector matches, all if there is none, of the Namespaces that the other matches.

    Raises:
        BadSelector: see there.
    """
    return _group("", _written(namespaces), _written(pods) if pods else _ALL)


def pods_anywhere(pods: LabelSelector) -> Group:
    """The Pods that the selector matches, whatever their Namespace.

    Raises:
        BadSelector: see there.
    """
    return _group("", None, _written(pods))


class Selection(NamedTuple):
    """Pods of Namespaces, as a policy writes it; either can be left out and means all then. Checked."""

    namespaces: "_Written | None"
    pods: "_Written"

    @classmethod
    def of(cls, namespaces: LabelSelector | None, pods: LabelSelector | None) -> "Selection":
        """Of selectors.

        Raises:
            BadSelector: see there.
        """
        return cls(_written(namespaces) if namespaces else None, _written(pods) if pods else _ALL)

    def where(self, *more: LabelRequirement) -> "Selection":
        """Of these Namespaces those for which more holds."""
        labels, expressions = self.namespaces or _ALL
        return self._replace(namespaces=(labels, (*expressions, *more)))

    def namespace_selector(self) -> Selector:
        """What a Namespace must be like."""
        return _normal(self.namespaces) if self.namespaces else EVERYTHING


@lru_cache(maxsize=REMEMBERED)
def pods_of_any(selections: tuple[Selection, ...], namespace: str = "") -> Group:
    """The Pods that at least one selects; of this Namespace alone if one is named."""
    terms = [
        SelectorTerm(
            namespace=namespace,
            namespace_selector=_normal(one.namespaces) if one.namespaces and not namespace else None,
            pod_selector=_normal(one.pods),
        )
        for one in selections
    ]
    selector = union(terms)
    return group_id(selector), selector


_ALL: _Written = ((), ())


def _written(selector: LabelSelector) -> _Written:
    expressions = selector.match_expressions
    for requirement in expressions:
        takes_values = requirement.operator in ("In", "NotIn")
        if takes_values and not requirement.values:
            raise BadSelector(f"{requirement.key} {requirement.operator} nothing: it takes values; list at least one")
        if not takes_values and requirement.values:
            raise BadSelector(f"{requirement.key} {requirement.operator}: it takes no values; remove them, or use In")
    return tuple(selector.match_labels.items()), expressions


@lru_cache(maxsize=REMEMBERED)
def _group(namespace: str, namespaces: _Written | None, pods: _Written) -> Group:
    term = SelectorTerm(
        namespace=namespace,
        namespace_selector=_normal(namespaces) if namespaces else None,
        pod_selector=_normal(pods),
    )
    selector = union((term,))
    return group_id(selector), selector


@lru_cache(maxsize=REMEMBERED)
def _normal(written: _Written) -> tuple[LabelRequirement, ...]:
    labels, expressions = written
    return normalise(LabelSelector(match_labels=dict(labels), match_expressions=expressions))
