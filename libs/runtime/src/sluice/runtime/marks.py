"""When a mark may be sent: after everything written before it is stored, and not too often."""

from typing import NamedTuple

from sluice.contracts.ids import Revision

INTERVAL_S = 0.05
"""Between two marks of a subject while writes are under way; with none under way a mark goes at once."""


def is_mark(subject: str) -> bool:
    """The subject's values vouch for what was stored before them: `<stream>._mark.…`, `objects._listed.…`."""
    return subject.split(".", 2)[1:2] in (["_mark"], ["_listed"])


class Mark(NamedTuple):
    subject: str
    body: bytes
    cause: Revision
    after: int
    """Number of the last write that must be stored before it."""


class _Line:
    """The marks of one subject: the one that waits for its writes, and the newest one behind it.

    Two, because a newer mark waits for more writes: if it took the place of the first, a steady stream of changes
    would put marks off for ever.
    """

    __slots__ = ("first", "newest", "sent_at_s")

    def __init__(self) -> None:
        self.first: Mark | None = None
        self.newest: Mark | None = None
        self.sent_at_s = float("-inf")


class Marks:
    """Marks asked for and not sent. Time comes in as an argument, in seconds of any clock that does not jump."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._latest: dict[str, Mark] = {}

    def __bool__(self) -> bool:
        return any(line.first for line in self._lines.values())

    @property
    def subjects(self) -> frozenset[str]:
        """All that were asked for."""
        return frozenset(self._latest)

    def ask(self, mark: Mark) -> None:
        line = self._lines.setdefault(mark.subject, _Line())
        self._latest[mark.subject] = mark
        if line.first is None:
            line.first = mark
        else:
            line.newest = mark

    def due(self, oldest: int, now_s: float, *, idle: bool) -> list[Mark]:
        """The marks to send now, taken off the list: every write with a number below `oldest` is stored."""
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
        """Seconds until a mark is due whose writes are stored; None if there is no such mark."""
        waits = [
            line.sent_at_s + INTERVAL_S - now_s
            for line in self._lines.values()
            if line.first and line.first.after < oldest
        ]
        return max(0.0, min(waits)) if waits else None

    def ask_again(self, after: int) -> None:
        """The stream was made anew: the latest of each subject is due again, after all that goes in again."""
        self._lines.clear()
        for mark in tuple(self._latest.values()):
            self.ask(mark._replace(after=after))
