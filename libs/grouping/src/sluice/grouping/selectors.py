"""Label selectors and unions of them, in a normal form.

Selectors that mean the same have the same normal form as far as that is cheap to see: `matchLabels` become
requirements, requirements on one key are merged, values and requirements are sorted, and what can match nothing is
`NOTHING`. Equal normal forms make one group of what different policies say differently.

Semantics: Kubernetes API reference, LabelSelector. `NotIn` matches an object that lacks the key.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never

from msgspec import Struct

from sluice.contracts.objects import LabelRequirement, LabelSelector

Selector = tuple[LabelRequirement, ...]
"""All of the requirements hold. In normal form when made by `normalise`."""

EVERYTHING: Selector = ()
NOTHING: Selector = (LabelRequirement(key="", operator="In"),)
"""This very one: `normalise` gives no other."""


class SelectorTerm(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The Pods that the selector matches, in one Namespace, in the Namespaces a selector matches, or anywhere."""

    namespace: str = ""
    """Name of the only Namespace; empty where that is not fixed."""

    namespace_selector: Selector | None = None
    """Labels of the Pod's Namespace; unset where they do not matter. A Namespace that is not known matches none."""

    pod_selector: Selector = EVERYTHING


class GroupSelector(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Whoever at least one of the terms selects. Make it with `union`, or `union_of_nodes`."""

    terms: tuple[SelectorTerm, ...] = ()
    """Sorted, without repeats; none means nobody."""

    networks: tuple[str, ...] = ()
    """Unset: the members are Pods, by the addresses of the cluster's network. Otherwise they are the interfaces that
    these Pods have on these secondary networks (namespace/name), as seen from the first: an address that somebody has
    there means nobody elsewhere."""
    nodes: tuple[Selector, ...] = ()
    """Of a group of nodes, which has no terms: the nodes that one of these matches. Sorted, without repeats."""


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
    """The group of all terms: sorted, each once, those that can match nothing left out."""
    kept = [term for term in terms if term.pod_selector is not NOTHING and term.namespace_selector is not NOTHING]
    if len(kept) > 1:
        kept = sorted(set(kept), key=_sort_key)
    return GroupSelector(terms=tuple(kept))


def union_of_nodes(selectors: Iterable[Selector]) -> GroupSelector:
    """The group of the nodes that one of the selectors matches, in normal form as above."""
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
