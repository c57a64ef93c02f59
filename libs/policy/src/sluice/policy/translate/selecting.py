"""Turns selectors as users write them into groups with ids.

The same selectors occur in many Namespaces, and often twice in a policy, so recent results are cached.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from sluice.contracts.ids import GroupId
from sluice.contracts.objects import LabelRequirement, LabelSelector
from sluice.grouping.members import of_account
from sluice.grouping.selectors import (
    EVERYTHING,
    GroupSelector,
    Selector,
    SelectorTerm,
    matches,
    normalise,
    union,
    union_of_nodes,
)
from sluice.policy.groupid import group_id
from sluice.policy.translate.translation import Refused

REMEMBERED = 256
"""Cached groups, and normal forms, of about 1 kB each: they should fit into the CPU cache."""


Group = tuple[GroupId, GroupSelector]


class BadSelector(Refused):
    """Kubernetes would not admit the selector; the message says what is wrong, why, and what to do."""


Written = tuple[tuple[tuple[str, str], ...], tuple[LabelRequirement, ...]]
"""A selector in hashable form, already checked."""


def pods_in(namespace: str, pods: LabelSelector) -> Group:
    """The Pods of the Namespace that the selector matches.

    Raises:
        BadSelector: see there.
    """
    return _group(namespace, None, written(pods))


def pods_of_namespaces(namespaces: LabelSelector, pods: LabelSelector | None) -> Group:
    """The Pods matched by `pods` (None: all) in the Namespaces matched by `namespaces`.

    Raises:
        BadSelector: see there.
    """
    return _group("", written(namespaces), written(pods) if pods else _ALL)


class Selection(NamedTuple):
    """Pods in Namespaces, as a policy selects them; already checked. What is left out means all."""

    namespaces: Written | None = None
    pods: Written = ((), ())
    namespace: str = ""
    """The only Namespace, if there is one."""

    @classmethod
    def of(cls, namespaces: LabelSelector | None, pods: LabelSelector | None, namespace: str = "") -> "Selection":
        """From selectors.

        Raises:
            BadSelector: see there.
        """
        return cls(written(namespaces) if namespaces else None, written(pods) if pods else _ALL, namespace)

    @classmethod
    def of_labels(cls, labels: Mapping[str, str], namespace: str) -> "Selection":
        """The Pods of the Namespace that have these labels."""
        return cls(None, (tuple(sorted(labels.items())), ()), namespace)

    @classmethod
    def of_account(cls, name: str, namespace: str) -> "Selection":
        """The Pods of the Namespace that run as this ServiceAccount."""
        return cls(None, ((), (of_account(name),)), namespace)

    def where(self, *more: LabelRequirement) -> "Selection":
        """The same selection, restricted to Namespaces that also meet these requirements."""
        labels, expressions = self.namespaces or _ALL
        return self._replace(namespaces=(labels, (*expressions, *more)))

    def namespace_selector(self) -> Selector:
        """The selector that Namespaces must match."""
        return _normal(self.namespaces) if self.namespaces else EVERYTHING

    def takes(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether it can select Pods of this Namespace with these labels."""
        return self.namespace in ("", namespace) and matches(self.namespace_selector(), labels)


@lru_cache(maxsize=REMEMBERED)
def pods_of_any(selections: tuple[Selection, ...], namespace: str = "") -> Group:
    """The Pods selected by any of these; if `namespace` is given, only there, whatever its labels."""
    terms = [
        SelectorTerm(
            namespace=namespace or one.namespace,
            namespace_selector=_normal(one.namespaces) if one.namespaces and not namespace else None,
            pod_selector=_normal(one.pods),
        )
        for one in selections
        if not namespace or one.namespace in ("", namespace)
    ]
    selector = union(terms)
    return group_id(selector), selector


@lru_cache(maxsize=REMEMBERED)
def nodes_of_any(selectors: tuple[Written, ...]) -> Group:
    """The nodes matched by any of these."""
    selector = union_of_nodes(map(_normal, selectors))
    return group_id(selector), selector


def written(selector: LabelSelector) -> Written:
    """Check the selector and make it hashable.

    Raises:
        BadSelector: see there.
    """
    expressions = selector.match_expressions
    for requirement in expressions:
        takes_values = requirement.operator in ("In", "NotIn")
        if takes_values and not requirement.values:
            raise BadSelector(f"{requirement.key} {requirement.operator} has no values; list at least one")
        if not takes_values and requirement.values:
            raise BadSelector(f"{requirement.key} {requirement.operator} takes no values; remove them, or use In")
    return tuple(selector.match_labels.items()), expressions


_ALL: Written = ((), ())


@lru_cache(maxsize=REMEMBERED)
def _group(namespace: str, namespaces: Written | None, pods: Written) -> Group:
    term = SelectorTerm(
        namespace=namespace,
        namespace_selector=_normal(namespaces) if namespaces else None,
        pod_selector=_normal(pods),
    )
    selector = union((term,))
    return group_id(selector), selector


@lru_cache(maxsize=REMEMBERED)
def _normal(given: Written) -> tuple[LabelRequirement, ...]:
    labels, expressions = given
    return normalise(LabelSelector(match_labels=dict(labels), match_expressions=expressions))
