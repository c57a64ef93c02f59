"""Small numbers for names: each gets the lowest free one. Kept across restarts."""

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush


class Numbers:
    """Mutable. Which number a name has depends on history; nothing else does."""

    def __init__(self, kept: Mapping[str, int] | None = None) -> None:
        self._numbers: dict[str, int] = {}
        for name, number in sorted((kept or {}).items()):
            if number > 0 and number not in self._numbers.values():
                self._numbers[name] = number
        self._last = max(self._numbers.values(), default=0)
        self._free = [number for number in range(1, self._last + 1) if number not in set(self._numbers.values())]
        heapify(self._free)
        self.changes = 0
        """Incremented with each change."""

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, name: str) -> int:
        """The name's number, from 1: its current one, or else the lowest free one."""
        number = self._numbers.get(name)
        if number is None:
            if self._free:
                number = heappop(self._free)
            else:
                self._last += 1
                number = self._last
            self._numbers[name] = number
            self.changes += 1
        return number

    def release(self, names: Iterable[str]) -> None:
        """Free the numbers of these names; names without a number are ignored."""
        for name in names:
            number = self._numbers.pop(name, None)
            if number is not None:
                heappush(self._free, number)
                self.changes += 1

    def keep(self, names: Iterable[str]) -> None:
        """Release all names except these."""
        self.release(self._numbers.keys() - set(names))

    def state(self) -> dict[str, int]:
        return dict(sorted(self._numbers.items()))
