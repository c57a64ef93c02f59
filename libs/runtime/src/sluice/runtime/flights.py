"""Messages sent but not yet acknowledged, each with the time it was sent, in seconds of any clock."""

import itertools
from typing import NamedTuple

from sluice.runtime.writes import Write


class _Flight(NamedTuple):
    write: Write
    sent_at_s: float


class Flights:
    """By attempt: a write that is sent again flies under another number, and an answer to the first is nobody's."""

    def __init__(self) -> None:
        self._flying: dict[int, _Flight] = {}  # in the order in which they left
        self._attempts = itertools.count(1)
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._flying)

    def leave(self, write: Write, now_s: float) -> int:
        """The number of this attempt."""
        attempt = next(self._attempts)
        self._flying[attempt] = _Flight(write, now_s)
        self.size_bytes += len(write.body)
        return attempt

    def land(self, attempt: int) -> Write | None:
        """The write of this attempt, which is over; None if it was over before."""
        flight = self._flying.pop(attempt, None)
        if flight is None:
            return None
        self.size_bytes -= len(flight.write.body)
        return flight.write

    def oldest_s(self) -> float | None:
        """When the one that left first left."""
        return next((flight.sent_at_s for flight in self._flying.values()), None)

    def land_on(self, subject: str) -> list[Write]:
        """The writes to this subject, in lower case: none of them arrives."""
        lost = [attempt for attempt, flight in self._flying.items() if flight.write.subject.lower() == subject]
        return [write for attempt in lost if (write := self.land(attempt))]

    def land_until(self, until_s: float) -> list[Write]:
        """The writes that left until then; nobody waits for their answers any more."""
        late = [attempt for attempt, flight in self._flying.items() if flight.sent_at_s <= until_s]
        return [write for attempt in late if (write := self.land(attempt))]
