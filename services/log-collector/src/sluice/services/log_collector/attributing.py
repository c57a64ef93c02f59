"""Adds to events from np.log who decided them, according to attribution.jsonl in the same folder."""

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
"""Entries are read this far ahead of their lines: a line may be a second late, and so may its entry."""

BEHIND_US = 60_000_000
"""Lines are out of order by less than this."""


class Attributing:
    """Reads entries only as far as the lines are read, so that it has the state at that time, however far they lag."""

    def __init__(self, folder: Path) -> None:
        self._tail = Tail(folder, PATTERN)
        self._ahead: deque[Entry] = deque()
        self._history = History()

    def attributed(self, events: Iterable[AuditEvent]) -> list[AuditEvent]:
        """The events, with the decider added to those from np.log. Must be called in the order of the log."""
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
