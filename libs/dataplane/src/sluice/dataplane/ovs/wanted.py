"""What a switch must hold, in steps: all of it, and what has changed since it was last asked for."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Wanted(Generic[K, V]):
    """Entries by key.

    Args:
        check: sees each entry that is put and was not there.
        standing: what is there from the beginning; the first `drain` puts it.
    """

    def __init__(
        self,
        check: Callable[[K, V], None] = lambda _key, _value: None,
        standing: Mapping[K, V] = MappingProxyType({}),
    ) -> None:
        self._check = check
        self._now = dict(standing)
        self._new = dict(standing)
        """Those of them that were not there at the last drain."""

        self._before: dict[K, V] = {}
        """What the others that changed since the last drain were then."""

    @property
    def now(self) -> dict[K, V]:
        """All of it; a copy."""
        return dict(self._now)

    def set(self, key: K, value: V | None) -> None:
        """This is the entry from now on; None: there is none."""
        old = self._now.get(key)
        if old == value:
            return
        if value is not None:
            self._check(key, value)
            self._now[key] = value
        else:
            del self._now[key]
        if key in self._new or (old is None and key not in self._before):
            if value is not None:
                self._new[key] = value
            else:
                del self._new[key]
        elif old is not None:
            self._before.setdefault(key, old)

    def knows_none(self, keys: Collection[K]) -> bool:
        """None of them is there, or was at the last drain."""
        # Sets of dicts hash nothing anew, and where nothing was before there is nothing to compare.
        return len(set(keys).difference(self._now).difference(self._before)) == len(keys)

    def add(self, entries: Mapping[K, V]) -> None:
        """All of these at once, of which it knows none. They are not checked."""
        self._now.update(entries)
        self._new.update(entries)

    def drain(self) -> tuple[dict[K, V], frozenset[K]]:
        """What to put and what to delete, since the last call; the first call puts all there is."""
        put, self._new = self._new, {}
        delete = set()
        for key, before in self._before.items():
            value = self._now.get(key)
            if value is None:
                delete.add(key)
            elif value != before:
                put[key] = value
        self._before = {}
        return put, frozenset(delete)
