"""Which label sets are in which groups, kept up to date at the cost of what changed.

To a selector, Pods with equal labels in one Namespace are one thing: a label set. A new label set finds the selectors
that can match it through their anchors (`anchors`), a new selector finds label sets in the same way, and neither looks
at the rest of the cluster. Shelves are built only when there is enough to search: most Namespaces have a handful of
label sets.

A Namespace that no selector reaches is *shut*: the labels of its Pods are not needed, so the Pods are set aside. It is
opened, for good, by a selector that may select Pods in it, or by a change of its labels that makes it reachable.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from sluice.contracts.ids import GroupId, NodeName
from sluice.grouping.anchors import ANYWHERE, SMALL, Place, Shelf, anchor, places_about, places_of
from sluice.grouping.bystanders import Aside
from sluice.grouping.selectors import GroupSelector, Selector, SelectorTerm, matches

P = TypeVar("P")
Labels = tuple[tuple[str, str], ...]
"""Sorted."""


class Space(Generic[P]):
    """A Namespace and what is known about it: its labels if it exists, its Pods, and the groups that name it."""

    __slots__ = ("_group_shelf", "_label_shelf", "aside", "groups", "is_open", "label_sets", "labels", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.labels: Mapping[str, str] | None = None
        self.is_open = False
        self.aside: dict[str, Aside] = {}
        """Its Pods by name while it is shut."""

        self.label_sets: dict[Labels, LabelSet[P]] = {}
        self.groups: dict[Group[P], tuple[Place, ...]] = {}
        """Groups with a term that names this Namespace, and their places on the shelf, once there is one."""

        self._label_shelf: Shelf[LabelSet[P]] | None = None
        self._group_shelf: Shelf[Group[P]] | None = None

    @property
    def is_forgettable(self) -> bool:
        return self.labels is None and not self.label_sets and not self.groups and not self.aside

    def fits(self, term: SelectorTerm) -> bool:
        """The term can select Pods in this Namespace, as far as the Namespace decides."""
        if term.namespace and term.namespace != self.name:
            return False
        wanted = term.namespace_selector
        return wanted is None or (self.labels is not None and matches(wanted, self.labels))

    def add_label_set(self, made: "LabelSet[P]") -> None:
        self.label_sets[made.key] = made
        if self._label_shelf is not None:
            self._label_shelf.put(made, places_of(made.labels))

    def remove_label_set(self, gone: "LabelSet[P]") -> None:
        del self.label_sets[gone.key]
        if self._label_shelf is not None:
            self._label_shelf.remove(gone, places_of(gone.labels))

    def label_sets_near(self, selector: Selector) -> Iterable["LabelSet[P]"]:
        """All label sets that the selector matches, and maybe others."""
        if len(self.label_sets) <= SMALL:
            return self.label_sets.values()
        return self.label_sets_at(anchor(selector, self._labelled().crowd))

    def label_sets_at(self, places: tuple[Place, ...]) -> Iterable["LabelSet[P]"]:
        """All label sets in any of the places, and maybe others."""
        if places == ANYWHERE or len(self.label_sets) <= SMALL:
            return self.label_sets.values()
        return self._labelled().reach(places)

    def _labelled(self) -> Shelf["LabelSet[P]"]:
        if self._label_shelf is None:
            self._label_shelf = Shelf()
            for label_set in self.label_sets.values():
                self._label_shelf.put(label_set, places_of(label_set.labels))
        return self._label_shelf

    def add_group(self, group: "Group[P]") -> None:
        self.groups[group] = self._shelve(group) if self._group_shelf is not None else ()

    def remove_group(self, group: "Group[P]") -> None:
        places = self.groups.pop(group, ())
        if self._group_shelf is not None:
            self._group_shelf.remove(group, places)

    def groups_about(self, labels: Mapping[str, str]) -> Iterable["Group[P]"]:
        """All groups that select a Pod with these labels by a term that names this Namespace, and maybe others."""
        if len(self.groups) <= SMALL:
            return self.groups
        if self._group_shelf is None:
            self._group_shelf = Shelf()
            for group in self.groups:
                self.groups[group] = self._shelve(group)
        return self._group_shelf.reach(places_about(labels))

    def _shelve(self, group: "Group[P]") -> tuple[Place, ...]:
        assert self._group_shelf is not None
        terms = [term for term in group.selector.terms if term.namespace == self.name]
        places = tuple({place for term in terms for place in anchor(term.pod_selector, self._group_shelf.crowd)})
        self._group_shelf.put(group, places)
        return places


class LabelSet(Generic[P]):
    """The Pods of a Namespace that have exactly these labels. Forgotten with its last Pod."""

    __slots__ = ("groups", "key", "labels", "on", "space")

    def __init__(self, space: Space[P], key: Labels, labels: Mapping[str, str]) -> None:
        self.space = space
        self.key = key
        self.labels = labels
        self.on: dict[NodeName, tuple[P, ...]] = {}
        self.groups: set[Group[P]] = set()

    def add(self, pod: P, node: NodeName) -> tuple[P, ...]:
        """Add a Pod on the node; returns all Pods there."""
        others = self.on.get(node)
        there = self.on[node] = (*others, pod) if others else (pod,)
        return there

    def remove(self, pod: P, node: NodeName) -> tuple[P, ...]:
        """Remove a Pod (compared by identity) from the node; returns the Pods left there."""
        there = tuple([other for other in self.on[node] if other is not pod])
        if there:
            self.on[node] = there
        else:
            del self.on[node]
        return there


class Group(Generic[P]):
    __slots__ = ("id", "label_sets", "selector", "wide")

    def __init__(self, group: GroupId, selector: GroupSelector) -> None:
        self.id = group
        self.selector = selector
        self.label_sets: set[LabelSet[P]] = set()
        self.wide: tuple[Wide, ...] = ()

    def takes(self, label_set: LabelSet[P]) -> bool:
        """One of the terms selects the Pods of the label set."""
        space, labels = label_set.space, label_set.labels
        for term in self.selector.terms:  # noqa: SIM110  # half the time of any(), and there is one term as a rule
            if space.fits(term) and matches(term.pod_selector, labels):
                return True
        return False


class Wide(NamedTuple):
    """The places of a term that names no Namespace."""

    space_places: tuple[Place, ...]
    pod_places: tuple[Place, ...]


class Matching(Generic[P]):
    """A join of Namespaces and label sets with selectors."""

    def __init__(self, settle: Callable[[Space[P]], None]) -> None:
        """Empty.

        Args:
            settle: called with a Namespace that was just opened, to move the Pods set aside there into label sets.
        """
        self._settle = settle
        self.groups: dict[GroupId, Group[P]] = {}
        self._spaces: dict[str, Space[P]] = {}
        self._wide: dict[Place, Shelf[Group[P]]] = {}
        """Groups with a term that names no Namespace, by a label that a Namespace must have."""

        self._conditional = 0
        """How many groups have a term that names a Namespace and also requires labels of it."""

        self._space_shelf: Shelf[Space[P]] | None = None
        """Namespaces by their labels, once such a term needs them."""

        self._label_shelf: Shelf[LabelSet[P]] | None = None
        """Label sets of all Namespaces by their labels, once such a term needs them."""

    # ---------------------------------------------------------------------------------------------------- Namespaces

    def label(self, name: str, labels: Mapping[str, str] | None) -> list[tuple[Group[P], LabelSet[P]]] | None:
        """The Namespace has these labels; None: it is not known.

        Returns:
            Who joined or left whom; None if nothing is new.
        """
        known = self._spaces.get(name)
        if (known.labels if known else None) == labels:
            return None
        space = known or self.space(name)
        if self._space_shelf is not None:
            if space.labels:
                self._space_shelf.remove(space, places_of(space.labels))
            if labels:
                self._space_shelf.put(space, places_of(labels))
        space.labels = labels
        changed: list[tuple[Group[P], LabelSet[P]]] = []
        if not space.is_open and self._wide and self._is_reached(space):
            self.open(space)
        elif self._wide or self._conditional:
            for label_set in space.label_sets.values():
                changed += self._regroup(label_set)
        if labels is None:
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

    def space(self, name: str) -> Space[P]:
        """The Namespace; created if nothing is known about it yet."""
        space = self._spaces.get(name)
        if space is None:
            space = self._spaces[name] = Space(name)
            space.is_open = bool(self._wide) and self._is_reached(space)
        return space

    def open(self, space: Space[P]) -> None:
        """Keep its Pods in label sets from now on."""
        if not space.is_open:
            space.is_open = True
            if space.aside:
                self._settle(space)

    def _is_reached(self, space: Space[P]) -> bool:
        """A term that names no Namespace may select Pods here. Can be a false positive."""
        return any(place in self._wide for place in places_about(space.labels or {}))

    def drop_aside(self, namespace: str, name: str) -> Aside | None:
        """Remove and return the Pod set aside under this name; None if there is none."""
        space = self._spaces.get(namespace)
        if space is None or not space.aside:
            return None
        pod = space.aside.pop(name, None)
        self._forget_space(space)
        return pod

    def _forget_space(self, space: Space[P]) -> None:
        if space.is_forgettable:
            del self._spaces[space.name]

    # ---------------------------------------------------------------------------------------------------- label sets

    def label_set(self, space: Space[P], labels: Mapping[str, str]) -> LabelSet[P]:
        """The label set with these labels; a new one is put into its groups."""
        key = tuple(sorted(labels.items()))
        known = space.label_sets.get(key)
        if known is not None:
            return known
        made = LabelSet(space, key, labels)
        space.add_label_set(made)
        if self._label_shelf is not None:
            self._label_shelf.put(made, places_of(made.labels))
        if space.groups or self._wide:
            made.groups = self._groups_of(made)
            for group in made.groups:
                group.label_sets.add(made)
        return made

    def forget(self, label_set: LabelSet[P]) -> None:
        """Forget a label set without Pods."""
        label_set.space.remove_label_set(label_set)
        if self._label_shelf is not None:
            self._label_shelf.remove(label_set, places_of(label_set.labels))
        for group in label_set.groups:
            group.label_sets.discard(label_set)
        self._forget_space(label_set.space)

    def _groups_of(self, label_set: LabelSet[P]) -> set[Group[P]]:
        space, labels = label_set.space, label_set.labels
        found = {group for group in space.groups_about(labels) if group.takes(label_set)}
        if self._wide:
            places = places_about(labels)
            for place in places_about(space.labels or {}):
                shelf = self._wide.get(place)
                if shelf is not None:
                    found.update([group for group in shelf.reach(places) if group.takes(label_set)])
        return found

    # -------------------------------------------------------------------------------------------------------- groups

    def select(self, group: GroupId, selector: GroupSelector) -> Group[P]:
        """Select a group that was not selected before; returns it with its label sets."""
        made = self.groups[group] = Group(group, selector)
        self._conditional += _is_conditional(selector)
        for term in selector.terms:
            for label_set in self._stand(made, term) if term.namespace else self._spread(made, term):
                if matches(term.pod_selector, label_set.labels):
                    made.label_sets.add(label_set)
                    label_set.groups.add(made)
        return made

    def release(self, group: Group[P]) -> None:
        """Release the group. It keeps its list of label sets for the caller."""
        del self.groups[group.id]
        self._conditional -= _is_conditional(group.selector)
        for label_set in group.label_sets:
            label_set.groups.discard(group)
        for name in {term.namespace for term in group.selector.terms if term.namespace}:
            space = self._spaces[name]
            space.remove_group(group)
            self._forget_space(space)
        for spot in group.wide:
            for place in spot.space_places:
                shelf = self._wide.get(place)  # none: two spots may share a place, and the first has taken it down
                if shelf is not None:
                    shelf.remove(group, spot.pod_places)
                    if not shelf:
                        del self._wide[place]

    def _stand(self, group: Group[P], term: SelectorTerm) -> Iterable[LabelSet[P]]:
        """Register the group in the Namespace that the term names; returns candidate label sets of that Namespace."""
        space = self.space(term.namespace)
        if not space.is_open:
            self.open(space)
        if group not in space.groups:
            space.add_group(group)
        return space.label_sets_near(term.pod_selector) if space.fits(term) else ()

    def _spread(self, group: Group[P], term: SelectorTerm) -> Iterable[LabelSet[P]]:
        """Register the group as a wide one for this term; returns candidate label sets of Namespaces that fit."""
        spaces, label_sets = self._known_spaces(), self._all_label_sets()
        space_places = anchor(term.namespace_selector or (), spaces.crowd)
        spot = Wide(space_places, anchor(term.pod_selector, label_sets.crowd))
        if spot not in group.wide:
            group.wide += (spot,)
            for place in spot.space_places:
                self._wide.setdefault(place, Shelf()).put(group, spot.pod_places)
        near: Collection[Space[P]] = self._spaces.values()
        if space_places != ANYWHERE:
            near = spaces.reach(space_places)
        for space in near:
            if not space.is_open and space.fits(term):
                self.open(space)
        if spot.pod_places != ANYWHERE and sum(map(label_sets.crowd, spot.pod_places)) <= len(near):
            return [found for found in label_sets.reach(spot.pod_places) if found.space.fits(term)]
        return [found for space in near if space.fits(term) for found in space.label_sets_at(spot.pod_places)]

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


def _is_conditional(selector: GroupSelector) -> bool:
    return any(term.namespace and term.namespace_selector is not None for term in selector.terms)
