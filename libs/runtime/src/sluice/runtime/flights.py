"""Messages sent but not yet acknowledged, each with the time it was sent, in seconds of any clock."""

import itertools
from typing import NamedTuple

from sluice.runtime.writes import Write


class _Flight(NamedTuple):
    write: Write
    sent_at_s: float


class Flights:
    """In-flight writes by attempt: a retry gets a new number, so a late answer to the first attempt matches none."""

    def __init__(self) -> None:
        self._flying: dict[int, _Flight] = {}  # in sending order
        self._attempts = itertools.count(1)
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._flying)

    def leave(self, write: Write, now_s: float) -> int:
        """Record a write as sent; returns the number of the attempt."""
        attempt = next(self._attempts)
        self._flying[attempt] = _Flight(write, now_s)
        self.size_bytes += len(write.body)
        return attempt

    def land(self, attempt: int) -> Write | None:
        """End this attempt and return its write; None if it had already ended."""
        flight = self._flying.pop(attempt, None)
        if flight is None:
            return None
        self.size_bytes -= len(flight.write.body)
        return flight.write

    def oldest_s(self) -> float | None:
        """Send time of the oldest attempt."""
        return next((flight.sent_at_s for flight in self._flying.values()), None)

    def land_on(self, subject: str) -> list[Write]:
        """End the attempts on this subject (lower case), and return their writes: they will not arrive."""
        lost = [attempt for attempt, flight in self._flying.items() if flight.write.subject.lower() == subject]
        return [write for attempt in lost if (write := self.land(attempt))]

    def land_until(self, until_s: float) -> list[Write]:
        """End the attempts sent until then, and return their writes: nobody waits for their answers any more."""
        late = [attempt for attempt, flight in self._flying.items() if flight.sent_at_s <= until_s]
        return [write for attempt in late if (write := self.land(attempt))]
