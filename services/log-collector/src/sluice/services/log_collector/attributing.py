"""Lines of np.log learn who decided, from attribution.jsonl beside it."""

from collections import deque
from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog
from msgspec.structs import replace

from sluice.contracts.audit import AuditEvent, FlowDecision
from sluice.dataplane.audit import attribution
from sluice.dataplane.audit.attribution import Entry
from sluice.dataplane.audit.history import History
from sluice.services.log_collector.tail import Tail

log = structlog.get_logger()

PATTERN = "attribution*.jsonl"

AHEAD_US = 5_000_000
"""Entries are read so far beyond the lines that they are for: a line may be a second late, and its entry with it."""

BEHIND_US = 60_000_000
"""Lines are not that much out of order."""


class Attributing:
    """Reads no further than the lines are, so that what it holds is what held then, however far they are behind."""

    def __init__(self, folder: Path) -> None:
        self._tail = Tail(folder, PATTERN)
        self._ahead: deque[Entry] = deque()
        self._history = History()

    def attributed(self, events: Iterable[AuditEvent]) -> list[AuditEvent]:
        """The events, those of lines with who decided. Call it with what comes in the order of the log."""
        events = list(events)
        times = [event.at_us for event in events if isinstance(event, FlowDecision)]
        if not times:
            return events
        self._read(max(times) + AHEAD_US)
        found = [
            replace(event, by=self._history.by(event)) if isinstance(event, FlowDecision) else event for event in events
        ]
        self._history.forget_before(min(times) - BEHIND_US)
        return found

    def close(self) -> None:
        self._tail.close()

    def _read(self, upto_us: int) -> None:
        while True:
            while self._ahead:
                if self._ahead[0].at_us > upto_us:
                    return
                self._history.take(self._ahead.popleft())
            piece = self._tail.next()
            self._tail.forget_missing()
            if piece is None:
                return
            for line in piece.lines:
                try:
                    self._ahead.append(attribution.read(line))
                except msgspec.DecodeError as error:
                    log.warning("attribution_not_readable", error=str(error))
            self._tail.acknowledge(piece)
