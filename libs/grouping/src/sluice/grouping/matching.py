"""Which label sets are in which groups, kept up to date at the cost of what changed.

Pods with equal labels in one Namespace are one thing to a selector: a label set. A new label set looks for selectors
where their anchors are (`anchors`), a new selector looks for label sets the same way, and neither looks at the rest of
the cluster.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Generic, TypeVar

from sluice.contracts.ids import GroupId
from sluice.grouping.anchors import LabelKey, Shelf, anchor
from sluice.grouping.selectors import GroupSelector, Selector, SelectorTerm, matches

P = TypeVar("P")
Labels = tuple[tuple[str, str], ...]
"""Sorted."""


class Space(Generic[P]):
    """A Namespace, by what is known of it: labels if it exists, Pods if they were told, terms if they name it."""

    __slots__ = ("by_label", "label_sets", "labels", "name", "shelf")

    def __init__(self, name: str) -> None:
        self.name = name
        self.labels: Mapping[str, str] | None = None
        self.label_sets: dict[Labels, LabelSet[P]] = {}
        self.by_label: dict[LabelKey, set[LabelSet[P]]] = {}
        self.shelf: Shelf[Term[P]] = Shelf()

    def under(self, keys: tuple[LabelKey, ...]) -> Iterable["LabelSet[P]"]:
        """The label sets that have one of the labels; all of them if there is none to have."""
        if not keys:
            return self.label_sets.values()
        if len(keys) == 1:
            return self.by_label.get(keys[0], ())
        return [found for key in keys for found in self.by_label.get(key, ())]


class LabelSet(Generic[P]):
    """The Pods of a Namespace that have exactly these labels; never without a Pod for long."""

    __slots__ = ("groups", "key", "labels", "pods", "space")

    def __init__(self, space: Space[P], key: Labels) -> None:
        self.space = space
        self.key = key
        self.labels = dict(key)
        self.pods: set[P] = set()
        self.groups: set[Group[P]] = set()


class Group(Generic[P]):
    __slots__ = ("id", "label_sets", "selector", "terms")

    def __init__(self, group: GroupId, selector: GroupSelector) -> None:
        self.id = group
        self.selector = selector
        self.terms = [Term(self, term) for term in selector.terms]
        self.label_sets: set[LabelSet[P]] = set()


class Term(Generic[P]):
    """A term where it stands: on the shelf of its Namespace, or among the wide ones by Namespace label."""

    __slots__ = ("group", "pod_keys", "pod_rest", "space_keys", "space_rest", "term")

    def __init__(self, group: Group[P], term: SelectorTerm) -> None:
        self.group = group
        self.term = term
        self.space_keys: tuple[LabelKey, ...] = ()
        self.space_rest: Selector | None = term.namespace_selector
        self.pod_keys: tuple[LabelKey, ...] = ()
        self.pod_rest: Selector = term.pod_selector

    def takes(self, space: Space[P], rest: Selector | None) -> bool:
        """Whether what is left to check of the namespaceSelector holds."""
        return rest is None or (space.labels is not None and matches(rest, space.labels))


class Matching(Generic[P]):
    """Namespaces' labels, label sets and selectors on one side, who belongs to whom on the other."""

    def __init__(self) -> None:
        self.groups: dict[GroupId, Group[P]] = {}
        self._spaces: dict[str, Space[P]] = {}
        self._spaces_by_label: dict[LabelKey, set[Space[P]]] = {}
        self._sets_by_label: dict[LabelKey, set[LabelSet[P]]] = {}
        self._wide: dict[LabelKey | None, Shelf[Term[P]]] = {}
        """Terms without a Namespace of their own, by a label that its Namespace must have."""

    # ---------------------------------------------------------------------------------------------------- Namespaces

    def label(self, name: str, labels: Mapping[str, str] | None) -> list[tuple[Group[P], LabelSet[P]]] | None:
        """The Namespace has these labels; None: it is not known.

        Returns:
            Who joined or left whom; None if nothing is new.
        """
        known = self._spaces.get(name)
        if (known.labels if known else None) == labels:
            return None
        space = known or self._space(name)
        for key in _keys(space.labels or {}):
            _discard(self._spaces_by_label, key, space)
        space.labels = labels
        for key in _keys(labels or {}):
            self._spaces_by_label.setdefault(key, set()).add(space)
        changed: list[tuple[Group[P], LabelSet[P]]] = []
        if self._wide:
            for label_set in space.label_sets.values():
                changed += self._regroup(label_set)
        self._forget_space(space)
        return changed

    def _regroup(self, label_set: LabelSet[P]) -> list[tuple[Group[P], LabelSet[P]]]:
        before, after = label_set.groups, self._groups_of(label_set)
        label_set.groups = after
        for group in before - after:
            group.label_sets.discard(label_set)
        for group in after - before:
            group.label_sets.add(label_set)
        return [(group, label_set) for group in before ^ after]

    def _space(self, name: str) -> Space[P]:
        space = self._spaces.get(name)
        if space is None:
            space = self._spaces[name] = Space(name)
        return space

    def _forget_space(self, space: Space[P]) -> None:
        """Drop what is known of a Namespace if that is nothing."""
        if space.labels is None and not space.label_sets and not space.shelf:
            del self._spaces[space.name]

    # ---------------------------------------------------------------------------------------------------- label sets

    def label_set(self, namespace: str, key: Labels) -> LabelSet[P]:
        """The label set, in its groups."""
        space = self._space(namespace)
        known = space.label_sets.get(key)
        if known is not None:
            return known
        made = space.label_sets[key] = LabelSet(space, key)
        for label in _keys(made.labels):
            space.by_label.setdefault(label, set()).add(made)
            self._sets_by_label.setdefault(label, set()).add(made)
        made.groups = self._groups_of(made)
        for group in made.groups:
            group.label_sets.add(made)
        return made

    def forget(self, label_set: LabelSet[P]) -> None:
        """No Pod has these labels any more."""
        space = label_set.space
        del space.label_sets[label_set.key]
        for label in _keys(label_set.labels):
            _discard(space.by_label, label, label_set)
            _discard(self._sets_by_label, label, label_set)
        for group in label_set.groups:
            group.label_sets.discard(label_set)
        self._forget_space(space)

    def _groups_of(self, label_set: LabelSet[P]) -> set[Group[P]]:
        space, labels = label_set.space, label_set.labels
        found = {
            term.group
            for term in space.shelf.within_reach(labels)
            if not term.pod_rest or matches(term.pod_rest, labels)
        }
        if self._wide:
            for key in (None, *_keys(space.labels or {})):
                shelf = self._wide.get(key)
                for term in shelf.within_reach(labels) if shelf else ():
                    if matches(term.pod_rest, labels) and term.takes(space, term.space_rest):
                        found.add(term.group)
        return found

    # -------------------------------------------------------------------------------------------------------- groups

    def select(self, group: GroupId, selector: GroupSelector) -> Group[P]:
        """A group that was not selected before, with its label sets."""
        made = self.groups[group] = Group(group, selector)
        for term in made.terms:
            self._shelve(term)
            made.label_sets.update(self._reach(term))
        for label_set in made.label_sets:
            label_set.groups.add(made)
        return made

    def release(self, group: Group[P]) -> None:
        """Nobody wants the group any more; its own list of label sets stays for the caller."""
        del self.groups[group.id]
        for term in group.terms:
            self._unshelve(term)
        for label_set in group.label_sets:
            label_set.groups.discard(group)

    def _shelve(self, term: Term[P]) -> None:
        wanted = term.term
        if wanted.namespace:
            shelf = self._space(wanted.namespace).shelf
            term.pod_keys, term.pod_rest = anchor(wanted.pod_selector, shelf.crowd)
            shelf.put(term.pod_keys, term)
            return
        if wanted.namespace_selector is not None:
            term.space_keys, term.space_rest = anchor(wanted.namespace_selector, self._spaces_labelled)
        term.pod_keys, term.pod_rest = anchor(wanted.pod_selector, self._sets_labelled)
        for key in term.space_keys or (None,):
            self._wide.setdefault(key, Shelf()).put(term.pod_keys, term)

    def _unshelve(self, term: Term[P]) -> None:
        namespace = term.term.namespace
        if namespace:
            space = self._spaces[namespace]
            space.shelf.remove(term.pod_keys, term)
            self._forget_space(space)
            return
        for key in term.space_keys or (None,):
            shelf = self._wide[key]
            shelf.remove(term.pod_keys, term)
            if not shelf:
                del self._wide[key]

    def _reach(self, term: Term[P]) -> Iterable[LabelSet[P]]:
        """The label sets that the term selects, from where there are fewer to look at."""
        wanted, rest = term.term, term.pod_rest
        if wanted.namespace:
            near = self._spaces[wanted.namespace].under(term.pod_keys)
            return (found for found in near if not rest or matches(rest, found.labels))
        spaces: Collection[Space[P]] = self._spaces.values()
        if term.space_keys:
            spaces = [space for key in term.space_keys for space in self._spaces_by_label.get(key, ())]
        if term.pod_keys and sum(map(self._sets_labelled, term.pod_keys)) <= len(spaces):
            return (
                found
                for key in term.pod_keys
                for found in self._sets_by_label.get(key, ())
                if matches(rest, found.labels) and term.takes(found.space, wanted.namespace_selector)
            )
        return (
            found
            for space in spaces
            if term.takes(space, term.space_rest)
            for found in space.under(term.pod_keys)
            if matches(rest, found.labels)
        )

    def _spaces_labelled(self, key: LabelKey) -> int:
        return len(self._spaces_by_label.get(key, ()))

    def _sets_labelled(self, key: LabelKey) -> int:
        return len(self._sets_by_label.get(key, ()))


def _keys(labels: Mapping[str, str]) -> list[LabelKey]:
    """Every key that an anchor can have in these labels."""
    return [*labels.items(), *labels]


T = TypeVar("T")


def _discard(index: dict[LabelKey, set[T]], key: LabelKey, thing: T) -> None:
    there = index[key]
    there.discard(thing)
    if not there:
        del index[key]
