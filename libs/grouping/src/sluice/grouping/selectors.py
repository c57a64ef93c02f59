"""Label selectors and unions of them, in a normal form.

Equivalent selectors have the same normal form where that is cheap to detect: `matchLabels` become requirements,
requirements on the same key are merged, values and requirements are sorted, and a selector that cannot match anything
is `NOTHING`. So policies that select the same Pods in different words share one group.

Semantics: Kubernetes API reference, LabelSelector. `NotIn` matches an object that lacks the key.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never

from msgspec import Struct

from sluice.contracts.objects import LabelRequirement, LabelSelector

Selector = tuple[LabelRequirement, ...]
"""Requirements that must all hold. In normal form if made by `normalise`."""

EVERYTHING: Selector = ()
NOTHING: Selector = (LabelRequirement(key="", operator="In"),)
"""Compare by identity: `normalise` returns this object."""


class SelectorTerm(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The Pods that the selector matches, in one Namespace, in the Namespaces a selector matches, or anywhere."""

    namespace: str = ""
    """Name of the only Namespace; empty if it is not fixed."""

    namespace_selector: Selector | None = None
    """Required labels of the Pod's Namespace; unset if they do not matter. An unknown Namespace never matches."""

    pod_selector: Selector = EVERYTHING


class GroupSelector(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Everything that at least one of the terms selects. Made by `union` or `union_of_nodes`."""

    terms: tuple[SelectorTerm, ...] = ()
    """Sorted, without duplicates; without terms it selects nothing."""

    networks: tuple[str, ...] = ()
    """Empty: the members are Pods, with their addresses on the cluster network. Otherwise they are the interfaces of
    these Pods on these secondary networks (namespace/name), as seen from the first: an address that is held there
    belongs to nobody on the others."""

    nodes: tuple[Selector, ...] = ()
    """Selectors of a group of nodes, which has no terms. Sorted, without duplicates."""


def normalise(selector: LabelSelector) -> Selector:
    """The normal form. Total: `In` without values matches nothing, `NotIn` without values everything."""
    labels = selector.match_labels
    if not selector.match_expressions:
        return tuple([_is(key, labels[key]) for key in sorted(labels)])
    by_key: dict[str, list[LabelRequirement]] = {key: [_is(key, value)] for key, value in labels.items()}
    for requirement in selector.match_expressions:
        by_key.setdefault(requirement.key, []).append(requirement)
    normal: list[LabelRequirement] = []
    for key in sorted(by_key):
        merged = _merge(key, by_key[key])
        if merged is None:
            return NOTHING
        normal += merged
    return tuple(normal)


def union(terms: Iterable[SelectorTerm]) -> GroupSelector:
    """The union of the terms: sorted, without duplicates and terms that cannot match anything."""
    kept = [term for term in terms if term.pod_selector is not NOTHING and term.namespace_selector is not NOTHING]
    if len(kept) > 1:
        kept = sorted(set(kept), key=_sort_key)
    return GroupSelector(terms=tuple(kept))


def union_of_nodes(selectors: Iterable[Selector]) -> GroupSelector:
    """The group of the nodes that any of the selectors matches; normalised like `union`."""
    kept = {selector for selector in selectors if selector is not NOTHING} or {NOTHING}
    return GroupSelector(nodes=tuple(sorted(kept, key=_requirements)))


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether all requirements hold for the labels."""
    for requirement in selector:
        value = labels.get(requirement.key)
        operator = requirement.operator
        if operator == "In":
            if value is None or value not in requirement.values:
                return False
        elif operator == "NotIn":
            if value is not None and value in requirement.values:
                return False
        elif operator == "Exists":
            if value is None:
                return False
        elif operator == "DoesNotExist":
            if value is not None:
                return False
        else:
            assert_never(operator)
    return True


def selects(
    term: SelectorTerm, namespace: str, namespace_labels: Mapping[str, str] | None, pod_labels: Mapping[str, str]
) -> bool:
    """Whether the term selects a Pod of these labels; `namespace_labels` is None where the Namespace is not known."""
    if term.namespace and term.namespace != namespace:
        return False
    if term.namespace_selector is not None and (
        namespace_labels is None or not matches(term.namespace_selector, namespace_labels)
    ):
        return False
    return matches(term.pod_selector, pod_labels)


def selects_node(selector: GroupSelector, labels: Mapping[str, str]) -> bool:
    """Whether the group has the nodes of these labels."""
    return any(matches(one, labels) for one in selector.nodes)


def _is(key: str, value: str) -> LabelRequirement:
    return LabelRequirement(key=key, operator="In", values=(value,))


def _merge(key: str, requirements: Iterable[LabelRequirement]) -> list[LabelRequirement] | None:
    """The fewest requirements that mean the same for this key; None if they exclude each other."""
    allowed: set[str] | None = None
    refused: set[str] = set()
    present = absent = False
    for requirement in requirements:
        match requirement.operator:
            case "In":
                allowed = set(requirement.values) & (set(requirement.values) if allowed is None else allowed)
            case "NotIn":
                refused |= set(requirement.values)
            case "Exists":
                present = True
            case "DoesNotExist":
                absent = True
            case _:
                assert_never(requirement.operator)
    if allowed is not None:
        allowed -= refused
        if absent or not allowed:
            return None
        return [LabelRequirement(key=key, operator="In", values=tuple(sorted(allowed)))]
    if absent:
        return None if present else [LabelRequirement(key=key, operator="DoesNotExist")]
    exists = [LabelRequirement(key=key, operator="Exists")] if present else []
    not_in = [LabelRequirement(key=key, operator="NotIn", values=tuple(sorted(refused)))] if refused else []
    return exists + not_in


_SortKey = list[tuple[str, str, tuple[str, ...]]]


def _sort_key(term: SelectorTerm) -> tuple[str, bool, _SortKey, _SortKey]:
    return (
        term.namespace,
        term.namespace_selector is not None,
        _requirements(term.namespace_selector or ()),
        _requirements(term.pod_selector),
    )


def _requirements(selector: Selector) -> _SortKey:
    return [(r.key, r.operator, r.values) for r in selector]
