"""What a switch must hold, maintained incrementally: all entries, and what changed since the last `drain`."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Wanted(Generic[K, V]):
    """Entries by key.

    Args:
        check: called with each entry that `set` adds or changes.
        standing: the initial entries; the first `drain` puts them.
    """

    def __init__(
        self,
        check: Callable[[K, V], None] = lambda _key, _value: None,
        standing: Mapping[K, V] = MappingProxyType({}),
    ) -> None:
        self._check = check
        self._now = dict(standing)
        self._new = dict(standing)
        """Entries that did not exist at the last drain."""

        self._before: dict[K, V] = {}
        """The former values of other entries that changed since the last drain."""

    @property
    def now(self) -> dict[K, V]:
        """All entries; a copy."""
        return dict(self._now)

    def set(self, key: K, value: V | None) -> None:
        """Add or change the entry; None: remove it."""
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
        """Whether none of the keys exists, or existed at the last drain."""
        # Sets made of dicts rehash nothing, and comparing with an empty `_before` costs nothing.
        return len(set(keys).difference(self._now).difference(self._before)) == len(keys)

    def add(self, entries: Mapping[K, V]) -> None:
        """Add all of these at once, none of which may be known (`knows_none`). They are not checked."""
        self._now.update(entries)
        self._new.update(entries)

    def drain(self) -> tuple[dict[K, V], frozenset[K]]:
        """What to put and what to delete since the last call; the first call puts everything."""
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
