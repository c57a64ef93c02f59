"""Where to look for what a selector can match, without looking at everything.

A selector with a positive requirement (`In`, `Exists`) can match only objects that have one of a few labels: its
anchor. Kept on a shelf under these labels it is found from an object's labels, and objects kept under their labels are
found from it; the anchor itself is then proven, so that the rest alone is still to be checked, and often there is none.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from sluice.grouping.selectors import Selector

LabelKey = tuple[str, str] | str
"""A label with its value, or a label whatever its value."""


class Anchor(NamedTuple):
    keys: tuple[LabelKey, ...]
    """An object that matches is under exactly one of these; none at all: it may be anywhere."""

    rest: Selector
    """What is to be checked of an object found under one of the keys."""


T = TypeVar("T", bound=Hashable)


def anchor(selector: Selector, crowd: Callable[[LabelKey], int]) -> Anchor:
    """The anchor in the least crowded place; `crowd` says how many are under a key already.

    The choice decides how long a search takes and never what it finds.
    """
    best: Anchor | None = None
    least = 0
    for place, requirement in enumerate(selector):
        keys: tuple[LabelKey, ...]
        if requirement.operator == "In":
            keys = tuple([(requirement.key, value) for value in requirement.values])
        elif requirement.operator == "Exists":
            keys = (requirement.key,)
        else:
            continue
        if len(selector) == 1:
            return Anchor(keys, ())
        size = sum(map(crowd, keys))
        if best is None or size < least:
            best, least = Anchor(keys, selector[:place] + selector[place + 1 :]), size
    return best or Anchor((), selector)


class Shelf(Generic[T]):
    """Things that stand under the keys of an anchor, or in the open if the anchor has none."""

    __slots__ = ("_by_key", "_open")

    def __init__(self) -> None:
        self._by_key: dict[LabelKey, set[T]] = {}
        self._open: set[T] = set()

    def __bool__(self) -> bool:
        return bool(self._open or self._by_key)

    def put(self, keys: tuple[LabelKey, ...], thing: T) -> None:
        if not keys:
            self._open.add(thing)
        for key in keys:
            self._by_key.setdefault(key, set()).add(thing)

    def remove(self, keys: tuple[LabelKey, ...], thing: T) -> None:
        if not keys:
            self._open.discard(thing)
        for key in keys:
            there = self._by_key[key]
            there.discard(thing)
            if not there:
                del self._by_key[key]

    def crowd(self, key: LabelKey) -> int:
        """How many stand under the key."""
        return len(self._by_key.get(key, ()))

    def within_reach(self, labels: Mapping[str, str]) -> Iterator[T]:
        """Everything whose anchor holds for the labels, each once."""
        yield from self._open
        by_key = self._by_key
        if by_key:
            for pair in labels.items():
                if pair in by_key:
                    yield from by_key[pair]
                if pair[0] in by_key:
                    yield from by_key[pair[0]]
