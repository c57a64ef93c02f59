"""When the node itself resolves the names of rules, and when it does so again before the answers expire."""

from heapq import heappop, heappush

RETRY_S = 5.0
MAX_RETRY_S = 300.0
"""After a failure: five seconds, and twice as long after each further one, up to five minutes."""

LEAST_S = 2.5
"""Between two questions about one name, whatever its TTL."""


class Ahead:
    """The names to ask for, and when. Mutable; times as in `Names`."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._heap: list[tuple[float, str]] = []

    def want(self, name: str, now_s: float) -> None:
        """Ask for the name from now on."""
        if name not in self._next:
            self._at(name, now_s)

    def unwant(self, name: str) -> None:
        self._next.pop(name, None)
        self._failures.pop(name, None)

    @property
    def next_s(self) -> float | None:
        """When there is something to ask."""
        while self._heap and self._next.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now_s: float) -> list[str]:
        """The names to ask for now. Say `told` or `failed` of each."""
        found = []
        while (at := self.next_s) is not None and at <= now_s:
            name = heappop(self._heap)[1]
            found.append(name)
            self._next[name] = float("inf")
        return found

    def told(self, name: str, ttl_s: float, now_s: float) -> None:
        """The answer came, and lives so long. Ask again at half of that: what is known should not end meanwhile."""
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
