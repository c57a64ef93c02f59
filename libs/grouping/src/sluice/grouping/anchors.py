"""Where to look for what a selector can match, without looking at everything.

A selector with a positive requirement (`In`, `Exists`) can match only objects that have one of a few labels: its
anchor. Kept on a shelf under these labels it is found from an object's labels, and objects kept under their labels are
found from it. What is found is still to be checked; what is not found need not be.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from sluice.grouping.selectors import Selector

Place = tuple[str, str] | str | None
"""A label with its value, a label whatever its value, or anywhere."""

ANYWHERE: tuple[Place, ...] = (None,)
"""The anchor of a selector that demands no label."""

SMALL = 16
"""So few things are looked at one by one: a shelf for them costs more than it saves (measured: 10 to 30)."""


def places_of(labels: Mapping[str, str]) -> list[Place]:
    """Where an object of these labels is found."""
    return [*labels.items(), *labels]


def places_about(labels: Mapping[str, str]) -> list[Place]:
    """Where the selectors are found that can match these labels."""
    return [None, *labels.items(), *labels]


def anchor(selector: Selector, crowd: Callable[[Place], int]) -> tuple[Place, ...]:
    """The places of which an object that matches is in exactly one.

    Of several anchors it is the least crowded; `crowd` says how many are in a place already. The choice decides how
    long a search takes and never what it finds.
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
    """Things by the places where they stand."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: dict[Place, set[T]] = {}

    def __bool__(self) -> bool:
        return bool(self._at)

    def put(self, thing: T, places: Iterable[Place]) -> None:
        for place in places:
            self._at.setdefault(place, set()).add(thing)

    def remove(self, thing: T, places: Iterable[Place]) -> None:
        """It stands in these places no more; where it does not stand, nothing changes."""
        for place in places:
            there = self._at.get(place)
            if there is not None:
                there.discard(thing)
                if not there:
                    del self._at[place]

    def crowd(self, place: Place) -> int:
        """How many stand there."""
        return len(self._at.get(place, ()))

    def reach(self, places: Iterable[Place]) -> list[T]:
        """What stands in one of the places."""
        found: list[T] = []
        for place in places:
            there = self._at.get(place)
            if there:
                found += there
        return found
