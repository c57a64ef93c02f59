"""When the node itself resolves the names of rules, and when it does so again before the answers expire."""

from heapq import heappop, heappush

RETRY_S = 5.0
MAX_RETRY_S = 300.0
"""Delay after a failure: five seconds, doubled after each further one, up to five minutes."""

LEAST_S = 2.5
"""Minimum time between two queries for a name, whatever its TTL."""


class Ahead:
    """The names to resolve, and when. Mutable; times as in `Names`."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._heap: list[tuple[float, str]] = []

    def want(self, name: str, now_s: float) -> None:
        """Resolve the name from now on."""
        if name not in self._next:
            self._at(name, now_s)

    def unwant(self, name: str) -> None:
        self._next.pop(name, None)
        self._failures.pop(name, None)

    @property
    def next_s(self) -> float | None:
        """When the next name is due."""
        while self._heap and self._next.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now_s: float) -> list[str]:
        """The names to resolve now. Call `told` or `failed` for each."""
        found = []
        while (at := self.next_s) is not None and at <= now_s:
            name = heappop(self._heap)[1]
            found.append(name)
            self._next[name] = float("inf")
        return found

    def told(self, name: str, ttl_s: float, now_s: float) -> None:
        """An answer with this TTL came. Resolve again after half of it, so that nothing expires in the meantime."""
        self._failures.pop(name, None)
        self._again(name, now_s + max(ttl_s / 2, LEAST_S))

    def failed(self, name: str, now_s: float) -> None:
        """No answer came, or one without an address."""
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        self._again(name, now_s + min(RETRY_S * 2 ** min(failures - 1, 10), MAX_RETRY_S))

    def _again(self, name: str, at_s: float) -> None:
        if name in self._next:
            self._at(name, at_s)
        else:
            self._failures.pop(name, None)

    def _at(self, name: str, at_s: float) -> None:
        self._next[name] = at_s
        heappush(self._heap, (at_s, name))
