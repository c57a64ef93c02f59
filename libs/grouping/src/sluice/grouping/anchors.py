"""An index that narrows down which objects a selector can match, and which selectors can match an object.

A selector with a positive requirement (`In`, `Exists`) can only match objects that have one of a few labels, its
anchor. A selector shelved under its anchor is found from an object's labels, and objects shelved under their labels are
found from the anchor. Candidates must still be checked; everything else can be skipped.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from sluice.grouping.selectors import Selector

Place = tuple[str, str] | str | None
"""A label with a value, a label with any value, or (None) anywhere."""

ANYWHERE: tuple[Place, ...] = (None,)
"""The anchor of a selector that requires no label."""

SMALL = 16
"""Up to this many things are searched one by one: a shelf would cost more than it saves (measured: 10 to 30)."""


def places_of(labels: Mapping[str, str]) -> list[Place]:
    """The places of an object with these labels."""
    return [*labels.items(), *labels]


def places_about(labels: Mapping[str, str]) -> list[Place]:
    """The places of all selectors that can match these labels."""
    return [None, *labels.items(), *labels]


def anchor(selector: Selector, crowd: Callable[[Place], int]) -> tuple[Place, ...]:
    """The places of which every matching object is in exactly one.

    If there are several anchors, the least crowded one; `crowd` says how many things a place holds. The choice affects
    how long a search takes, never what it finds.
    """
    best = ANYWHERE
    least = -1
    for requirement in selector:
        places: tuple[Place, ...]
        if requirement.operator == "In":
            places = tuple([(requirement.key, value) for value in requirement.values])
        elif requirement.operator == "Exists":
            places = (requirement.key,)
        else:
            continue
        if len(selector) == 1:
            return places
        size = sum(map(crowd, places))
        if least < 0 or size < least:
            best, least = places, size
    return best


T = TypeVar("T", bound=Hashable)


class Shelf(Generic[T]):
    """Things by their places."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: dict[Place, set[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._at)

    def put(self, thing: T, places: Iterable[Place]) -> None:
        for place in places:
            self._at.setdefault(place, set()).add(thing)

    def remove(self, thing: T, places: Iterable[Place]) -> None:
        """Remove the thing from these places; those without it are left alone."""
        for place in places:
            there = self._at.get(place)
            if there is not None:
                there.discard(thing)
                if not there:
                    del self._at[place]

    def crowd(self, place: Place) -> int:
        """How many things the place holds."""
        return len(self._at.get(place, ()))

    def reach(self, places: Iterable[Place]) -> list[T]:
        """All things in any of the places."""
        found: list[T] = []
        for place in places:
            there = self._at.get(place)
            if there:
                found += there
        return found
