"""What a writer wants stored and what is known to be stored: the bookkeeping of `output`, without I/O."""

import re
import secrets
from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from sluice.contracts import codec
from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.streams import CAUSE_HEADER, WRITER_HEADER, cause_text
from sluice.runtime.marks import is_mark

_CAUSE = re.compile(rb'"cause":\[\d+,\d+\],?')


def without_cause(body: bytes) -> bytes:
    """The body without its cause; quotes inside JSON strings are escaped, so the pattern only matches the field."""
    return _CAUSE.sub(b"", body, count=1)


class Held(NamedTuple):
    """What the stream holds on a subject."""

    body: bytes
    sequence: int
    cause: Revision


NOTHING = Held(b"", 0, NEVER)


class State(Enum):
    WAITING = "waiting"
    """For writes that must be stored first, or for its next attempt."""

    READY = "ready"
    SENT = "sent"
    DONE = "done"


class Write:
    """A value on its way to the stream; an empty body is a tombstone."""

    __slots__ = ("blockers", "body", "cause", "dependents", "number", "perhaps_stored", "state", "subject")

    def __init__(self, number: int, subject: str, body: bytes, cause: Revision) -> None:
        self.number, self.subject, self.body, self.cause = number, subject, body, cause
        self.state = State.WAITING
        self.perhaps_stored = False
        """It was sent and not refused: it must not change any more."""

        self.blockers = 0
        """Number of writes that must be stored before this one is sent."""

        self.dependents: list[Write] = []

    @property
    def done(self) -> bool:
        return self.state is State.DONE


class Writes:
    """Unfinished writes, chained by subject: only the first of each chain may be sent."""

    def __init__(self) -> None:
        self.writer = secrets.token_hex(8)
        self.held: dict[str, Held] = {}
        """What is known to be stored, including tombstones."""

        self._ready: deque[Write] = deque()
        self._chains: dict[str, deque[Write]] = {}
        self._unfinished: dict[int, Write] = {}  # by number, so in order; without marks
        self._number = 0
        self._buried: deque[tuple[float, str, int]] = deque()

    def __len__(self) -> int:
        return len(self._unfinished)

    @property
    def last_number(self) -> int:
        return self._number

    @property
    def oldest_number(self) -> int:
        """Every write with a smaller number is stored (not counting marks)."""
        return next(iter(self._unfinished), self._number + 1)

    def last(self, subject: str) -> Write | None:
        """The newest write to this subject that is not stored yet."""
        chain = self._chains.get(subject)
        return chain[-1] if chain else None

    def wanted(self, subject: str) -> bytes:
        """What the subject will hold once everything is stored; empty for nothing."""
        last = self.last(subject)
        return last.body if last else self.held.get(subject, NOTHING).body

    def add(
        self, subject: str, body: bytes, cause: Revision, after: Iterable[Write] = (), *, is_mark: bool = False
    ) -> Write:
        """Queue a write. It replaces the one before on its subject if that was never sent and no `after` needs it."""
        blockers = [write for write in after if not write.done]
        last = self.last(subject)
        if last and not last.perhaps_stored and not _reaches(last, blockers):
            last.body, last.cause = body, cause
            first = len(self._chains[subject]) == 1
            if not body and first and not self.held.get(subject, NOTHING).body:  # deletes what was never stored
                self._finish(last)
                return last
            _block(last, blockers)
            self.release(last)
            return last
        self._number += 1
        write = Write(self._number, subject, body, cause)
        _block(write, [*blockers, last] if last else blockers)
        self._chains.setdefault(subject, deque()).append(write)
        if not is_mark:
            self._unfinished[write.number] = write
        self.release(write)
        return write

    def release(self, write: Write, *, first: bool = False) -> None:
        """Queue the write for sending, unless another must be stored before it."""
        if write.state is State.WAITING and not write.blockers:
            write.state = State.READY
            (self._ready.appendleft if first else self._ready.append)(write)

    def again(self, write: Write) -> None:
        """Queue the write before all others: it was sent, and its fate is unknown."""
        if write.state is State.SENT:
            write.state = State.WAITING
            self.release(write, first=True)

    def refused(self, write: Write) -> None:
        """The write was sent and rejected: it waits to be released, and a newer value may replace it."""
        if write.state is State.SENT:
            write.state, write.perhaps_stored = State.WAITING, False

    def take(self) -> Write | None:
        """The next write to send."""
        while self._ready:
            write = self._ready.popleft()
            if write.state is not State.READY:
                continue
            if write.blockers:  # added while it was in the queue
                write.state = State.WAITING
                continue
            write.state, write.perhaps_stored = State.SENT, True
            return write
        return None

    def stored(self, write: Write, sequence: int) -> None:
        """Record the write as stored, and release those that waited for it."""
        if write.done:
            return
        self.held[write.subject] = Held(write.body, sequence, write.cause)
        self._finish(write)

    def _finish(self, write: Write) -> None:
        write.state = State.DONE
        chain = self._chains[write.subject]
        chain.remove(write)
        if not chain:
            del self._chains[write.subject]
        self._unfinished.pop(write.number, None)
        for dependent in write.dependents:
            dependent.blockers -= 1
            self.release(dependent)

    def buried(self, subject: str, time_s: float) -> None:
        """Record that the subject has held a tombstone since then."""
        self._buried.append((time_s, subject, self.held[subject].sequence))

    def prune(self, until_s: float) -> None:
        """Forget tombstones stored before then, since the stream has too."""
        while self._buried and self._buried[0][0] < until_s:
            _, subject, sequence = self._buried.popleft()
            if self.held.get(subject, NOTHING).sequence == sequence:
                del self.held[subject]

    def headers(self, write: Write, tombstone_ttl_s: int) -> dict[str, str]:
        """Headers for the fence, the message id, the cause, and the TTL of a tombstone.

        The expected sequence is part of the id: A, B, A again are three messages, whatever their causes.
        """
        expected = self.held.get(write.subject, NOTHING).sequence
        cause = cause_text(write.cause)
        headers = {
            "Nats-Msg-Id": f"{write.subject}:{expected}:{cause}:{codec.digest(write.body)}",
            "Nats-Expected-Last-Subject-Sequence": str(expected),
            CAUSE_HEADER: cause,
            WRITER_HEADER: self.writer,
        }
        if not write.body:
            headers["Nats-TTL"] = str(tombstone_ttl_s)
        return headers

    def begin_again(self) -> None:
        """The stream was recreated: queue everything again, except marks, which wait until the rest is stored."""
        held, self.held = self.held, {}
        self._buried.clear()
        for subject in [subject for subject in self._chains if is_mark(subject)]:
            for write in tuple(self._chains[subject]):
                self._finish(write)
        for subject, (body, _, cause) in held.items():
            if body and subject not in self._chains and not is_mark(subject):
                self.add(subject, body, cause)


def _block(write: Write, blockers: Iterable[Write]) -> None:
    for blocker in blockers:
        blocker.dependents.append(write)
        write.blockers += 1


def _reaches(write: Write, goals: Iterable[Write]) -> bool:
    """Whether one of the goals waits for the write: then the write must not wait for them."""
    targets, seen, rest = set(map(id, goals)), {id(write)}, [write]
    while targets and rest:
        here = rest.pop()
        if id(here) in targets:
            return True
        fresh = [other for other in here.dependents if id(other) not in seen]
        seen.update(map(id, fresh))
        rest.extend(fresh)
    return False
