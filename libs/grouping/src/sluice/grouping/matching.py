"""Which label sets are in which groups, kept up to date at the cost of what changed.

Pods with equal labels in one Namespace are one thing to a selector: a label set. A new label set looks for selectors
where their anchors are (`anchors`), a new selector looks for label sets the same way, and neither looks at the rest of
the cluster. Shelves are put up when there is something to search: most Namespaces have a handful of label sets.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Generic, TypeVar

from sluice.contracts.ids import GroupId, NodeName
from sluice.grouping.anchors import ANYWHERE, SMALL, Place, Shelf, anchor, places_about, places_of
from sluice.grouping.selectors import GroupSelector, SelectorTerm, matches

P = TypeVar("P")
Labels = tuple[tuple[str, str], ...]
"""Sorted."""


class Space(Generic[P]):
    """A Namespace, by what is known of it: labels if it exists, Pods if they were told, terms if they name it."""

    __slots__ = ("_label_shelf", "_term_shelf", "label_sets", "labels", "name", "terms")

    def __init__(self, name: str) -> None:
        self.name = name
        self.labels: Mapping[str, str] | None = None
        self.label_sets: dict[Labels, LabelSet[P]] = {}
        self.terms: set[Term[P]] = set()
        self._label_shelf: Shelf[LabelSet[P]] | None = None
        self._term_shelf: Shelf[Term[P]] | None = None

    @property
    def is_forgettable(self) -> bool:
        return self.labels is None and not self.label_sets and not self.terms

    def add_label_set(self, made: "LabelSet[P]") -> None:
        self.label_sets[made.key] = made
        if self._label_shelf is not None:
            self._label_shelf.put(made, places_of(made.labels))

    def remove_label_set(self, gone: "LabelSet[P]") -> None:
        del self.label_sets[gone.key]
        if self._label_shelf is not None:
            self._label_shelf.remove(gone, places_of(gone.labels))

    def label_sets_at(self, places: tuple[Place, ...]) -> Iterable["LabelSet[P]"]:
        """At least those that are in one of the places."""
        if places == ANYWHERE or len(self.label_sets) <= SMALL:
            return self.label_sets.values()
        if self._label_shelf is None:
            self._label_shelf = Shelf()
            for label_set in self.label_sets.values():
                self._label_shelf.put(label_set, places_of(label_set.labels))
        return self._label_shelf.reach(places)

    def add_term(self, term: "Term[P]") -> None:
        self.terms.add(term)
        if self._term_shelf is not None:
            self._shelve(term, self._term_shelf)

    def remove_term(self, term: "Term[P]") -> None:
        self.terms.discard(term)
        if self._term_shelf is not None:
            self._term_shelf.remove(term, term.pod_places)

    def terms_about(self, labels: Mapping[str, str]) -> Iterable["Term[P]"]:
        """At least the terms of this Namespace that can select a Pod of these labels."""
        if len(self.terms) <= SMALL:
            return self.terms
        if self._term_shelf is None:
            self._term_shelf = Shelf()
            for term in self.terms:
                self._shelve(term, self._term_shelf)
        return self._term_shelf.reach(places_about(labels))

    def _shelve(self, term: "Term[P]", shelf: Shelf["Term[P]"]) -> None:
        term.pod_places = anchor(term.term.pod_selector, shelf.crowd)
        shelf.put(term, term.pod_places)


class LabelSet(Generic[P]):
    """The Pods of a Namespace that have exactly these labels; never without a Pod for long."""

    __slots__ = ("groups", "key", "labels", "on", "space")

    def __init__(self, space: Space[P], key: Labels, labels: Mapping[str, str]) -> None:
        self.space = space
        self.key = key
        self.labels = labels
        self.on: dict[NodeName, tuple[P, ...]] = {}
        self.groups: set[Group[P]] = set()

    def add(self, pod: P, node: NodeName) -> None:
        self.on[node] = (*self.on[node], pod) if node in self.on else (pod,)

    def remove(self, pod: P, node: NodeName) -> None:
        """Pods are told apart by identity."""
        others = tuple([other for other in self.on[node] if other is not pod])
        if others:
            self.on[node] = others
        else:
            del self.on[node]


class Group(Generic[P]):
    __slots__ = ("id", "label_sets", "selector", "terms")

    def __init__(self, group: GroupId, selector: GroupSelector) -> None:
        self.id = group
        self.selector = selector
        self.terms = [Term(self, term) for term in selector.terms]
        self.label_sets: set[LabelSet[P]] = set()


class Term(Generic[P]):
    """A term where it stands: in its Namespace, or among the wide ones by Namespace label."""

    __slots__ = ("group", "pod_places", "space_places", "term")

    def __init__(self, group: Group[P], term: SelectorTerm) -> None:
        self.group = group
        self.term = term
        self.space_places: tuple[Place, ...] = ANYWHERE
        self.pod_places: tuple[Place, ...] = ANYWHERE

    def takes(self, space: Space[P]) -> bool:
        """Whether the namespaceSelector, if any, matches."""
        wanted = self.term.namespace_selector
        return wanted is None or (space.labels is not None and matches(wanted, space.labels))


class Matching(Generic[P]):
    """Namespaces' labels, label sets and selectors on one side, who belongs to whom on the other."""

    def __init__(self) -> None:
        self.groups: dict[GroupId, Group[P]] = {}
        self._spaces: dict[str, Space[P]] = {}
        self._wide: dict[Place, Shelf[Term[P]]] = {}
        """Terms without a Namespace of their own, by a label that its Namespace must have."""

        self._space_shelf: Shelf[Space[P]] | None = None
        """Known Namespaces by their labels, once a wide term wants them."""

        self._label_shelf: Shelf[LabelSet[P]] | None = None
        """Label sets of all Namespaces by their labels, once a wide term wants them."""

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
        if self._space_shelf is not None:
            if space.labels:
                self._space_shelf.remove(space, places_of(space.labels))
            if labels:
                self._space_shelf.put(space, places_of(labels))
        space.labels = labels
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
        if space.is_forgettable:
            del self._spaces[space.name]

    # ---------------------------------------------------------------------------------------------------- label sets

    def label_set(self, namespace: str, labels: Mapping[str, str]) -> LabelSet[P]:
        """The label set, in its groups."""
        space = self._spaces.get(namespace) or self._space(namespace)
        key = tuple(sorted(labels.items()))
        known = space.label_sets.get(key)
        if known is not None:
            return known
        made = LabelSet(space, key, labels)
        space.add_label_set(made)
        if self._label_shelf is not None:
            self._label_shelf.put(made, places_of(made.labels))
        if space.terms or self._wide:
            made.groups = self._groups_of(made)
            for group in made.groups:
                group.label_sets.add(made)
        return made

    def forget(self, label_set: LabelSet[P]) -> None:
        """No Pod has these labels any more."""
        label_set.space.remove_label_set(label_set)
        if self._label_shelf is not None:
            self._label_shelf.remove(label_set, places_of(label_set.labels))
        for group in label_set.groups:
            group.label_sets.discard(label_set)
        self._forget_space(label_set.space)

    def _groups_of(self, label_set: LabelSet[P]) -> set[Group[P]]:
        space, labels = label_set.space, label_set.labels
        found = {term.group for term in space.terms_about(labels) if matches(term.term.pod_selector, labels)}
        if self._wide:
            places = places_about(labels)
            for place in places_about(space.labels or {}):
                shelf = self._wide.get(place)
                for term in shelf.reach(places) if shelf else ():
                    if matches(term.term.pod_selector, labels) and term.takes(space):
                        found.add(term.group)
        return found

    # -------------------------------------------------------------------------------------------------------- groups

    def select(self, group: GroupId, selector: GroupSelector) -> Group[P]:
        """A group that was not selected before, with its label sets."""
        made = self.groups[group] = Group(group, selector)
        for term in made.terms:
            found = self._stand(term) if term.term.namespace else self._spread(term)
            made.label_sets.update(found)
        for label_set in made.label_sets:
            label_set.groups.add(made)
        return made

    def release(self, group: Group[P]) -> None:
        """Nobody wants the group any more; its own list of label sets stays for the caller."""
        del self.groups[group.id]
        for label_set in group.label_sets:
            label_set.groups.discard(group)
        for term in group.terms:
            if term.term.namespace:
                space = self._spaces[term.term.namespace]
                space.remove_term(term)
                self._forget_space(space)
            else:
                self._withdraw(term)

    def _stand(self, term: Term[P]) -> Iterable[LabelSet[P]]:
        """Put a term into its Namespace; the label sets that it selects."""
        space, wanted = self._space(term.term.namespace), term.term.pod_selector
        space.add_term(term)
        if len(space.label_sets) > SMALL:
            found = space.label_sets_at(anchor(wanted, lambda _: 0))
        else:
            found = space.label_sets.values()
        return [label_set for label_set in found if matches(wanted, label_set.labels)]

    def _spread(self, term: Term[P]) -> Iterable[LabelSet[P]]:
        """Put a term among the wide ones; the label sets that it selects, from where there are fewer to look at."""
        spaces, label_sets = self._known_spaces(), self._all_label_sets()
        wanted = term.term
        if wanted.namespace_selector is not None:
            term.space_places = anchor(wanted.namespace_selector, spaces.crowd)
        term.pod_places = anchor(wanted.pod_selector, label_sets.crowd)
        for place in term.space_places:
            self._wide.setdefault(place, Shelf()).put(term, term.pod_places)
        near: Collection[Space[P]] = self._spaces.values()
        if term.space_places != ANYWHERE:
            near = spaces.reach(term.space_places)
        if term.pod_places != ANYWHERE and sum(map(label_sets.crowd, term.pod_places)) <= len(near):
            found: Iterable[LabelSet[P]] = label_sets.reach(term.pod_places)
            found = (label_set for label_set in found if term.takes(label_set.space))
        else:
            taken = (space for space in near if term.takes(space))
            found = (label_set for space in taken for label_set in space.label_sets_at(term.pod_places))
        return [label_set for label_set in found if matches(wanted.pod_selector, label_set.labels)]

    def _withdraw(self, term: Term[P]) -> None:
        for place in term.space_places:
            shelf = self._wide[place]
            shelf.remove(term, term.pod_places)
            if not shelf:
                del self._wide[place]

    def _known_spaces(self) -> Shelf[Space[P]]:
        if self._space_shelf is None:
            self._space_shelf = Shelf()
            for space in self._spaces.values():
                if space.labels:
                    self._space_shelf.put(space, places_of(space.labels))
        return self._space_shelf

    def _all_label_sets(self) -> Shelf[LabelSet[P]]:
        if self._label_shelf is None:
            self._label_shelf = Shelf()
            for space in self._spaces.values():
                for label_set in space.label_sets.values():
                    self._label_shelf.put(label_set, places_of(label_set.labels))
        return self._label_shelf
