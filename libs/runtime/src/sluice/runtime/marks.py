"""When a mark may be sent: after everything written before it is stored, and not too often."""

from typing import NamedTuple

from sluice.contracts.ids import Revision

INTERVAL_S = 0.05
"""Between two marks of a subject while writes are in flight; otherwise a mark is sent at once."""


def is_mark(subject: str) -> bool:
    """Whether the subject's values vouch for what was stored before them: `<stream>._mark.…`, `objects._listed.…`."""
    return subject.split(".", 2)[1:2] in (["_mark"], ["_listed"])


class Mark(NamedTuple):
    subject: str
    body: bytes
    cause: Revision
    after: int
    """Number of the last write that must be stored before the mark is sent."""


class _Line:
    """The marks of one subject: the one that waits for its writes, and the newest one behind it.

    There are two because a newer mark waits for more writes: if it replaced the first, a steady stream of changes would
    delay marks forever.
    """

    __slots__ = ("first", "newest", "sent_at_s")

    def __init__(self) -> None:
        self.first: Mark | None = None
        self.newest: Mark | None = None
        self.sent_at_s = float("-inf")


class Marks:
    """Marks requested and not yet sent. Time is passed as an argument, in seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._latest: dict[str, Mark] = {}

    def __bool__(self) -> bool:
        return any(line.first for line in self._lines.values())

    @property
    def subjects(self) -> frozenset[str]:
        """Subjects of all marks requested so far."""
        return frozenset(self._latest)

    def ask(self, mark: Mark) -> None:
        line = self._lines.setdefault(mark.subject, _Line())
        self._latest[mark.subject] = mark
        if line.first is None:
            line.first = mark
        else:
            line.newest = mark

    def due(self, oldest: int, now_s: float, *, idle: bool) -> list[Mark]:
        """Remove and return the marks to send now: every write with a number below `oldest` is stored."""
        due = []
        for line in self._lines.values():
            if line.first is None or line.first.after >= oldest:
                continue
            if line.newest and line.newest.after < oldest:
                line.first, line.newest = line.newest, None
            if idle or now_s >= line.sent_at_s + INTERVAL_S:
                due.append(line.first)
                line.first, line.newest, line.sent_at_s = line.newest, None, now_s
        return due

    def wait_s(self, oldest: int, now_s: float) -> float | None:
        """Seconds until the next mark whose writes are stored is due; None if there is none."""
        waits = [
            line.sent_at_s + INTERVAL_S - now_s
            for line in self._lines.values()
            if line.first and line.first.after < oldest
        ]
        return max(0.0, min(waits)) if waits else None

    def ask_again(self, after: int) -> None:
        """The stream was recreated: the latest mark of each subject is due again, once everything was stored again."""
        self._lines.clear()
        for mark in tuple(self._latest.values()):
            self.ask(mark._replace(after=after))
