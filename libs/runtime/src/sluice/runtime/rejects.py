"""Messages that do not decode or have an unknown subject: skipped, counted, and logged once per sort."""

from collections import Counter, deque
from typing import NamedTuple, TypeVar

import structlog

from sluice.contracts import codec, subjects
from sluice.runtime.message import Message
from sluice.runtime.metrics import METRICS

T = TypeVar("T")

log = structlog.get_logger()

_KEPT = 32
_LEFT_ALONE = "left alone, and not told of again: it is of another version, or of nobody of us"
_BODY_KEPT = 1024  # bytes of each body that are kept for inspection

_rejected = METRICS.counter("sluice_rejected_messages_total", "Messages that did not decode", "stream")


class Reject(NamedTuple):
    subject: str
    revision: tuple[int, int]
    reason: str
    body: bytes
    """The beginning of the body."""


class Rejects:
    """Counts rejects by stream, and keeps the last few."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.last: deque[Reject] = deque(maxlen=_KEPT)
        self._strange: set[str] = set()
        """Sorts of subjects, known only to another version, that were logged already."""

    @property
    def total(self) -> int:
        return self.counts.total()

    def add(self, message: Message, reason: str) -> None:
        stream = message.subject.partition(".")[0]
        if any((one.subject, one.revision) == (message.subject, message.revision) for one in self.last):
            return  # read again
        self.counts[stream] += 1
        self.last.append(Reject(message.subject, message.revision, reason, message.body[:_BODY_KEPT]))
        _rejected.add(1, stream)
        if subjects.known(message.subject) is None:
            self.strange(message.subject, ".".join(message.subject.split(".")[:2]), reason)
        else:
            log.error("message_rejected", subject=message.subject, revision=message.revision, reason=reason)

    def strange(self, subject: str, sort: str, reason: str) -> None:
        """Log a sort of subjects that only another version knows, once."""
        if sort not in self._strange:
            self._strange.add(sort)
            log.warning("subject_not_known", subject=subject, reason=reason, instead=_LEFT_ALONE)

    def decode(self, message: Message, kind: type[T]) -> T | None:
        """The decoded message, or None if it was rejected. Tombstones have no value: check for them first."""
        try:
            return codec.decode(message.body, kind)
        except codec.Undecodable as error:
            self.add(message, str(error))
            return None
