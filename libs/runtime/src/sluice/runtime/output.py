"""The output of one writer to a stream: it reads what is stored, then stores only the difference."""

import asyncio
from collections.abc import Iterable, Mapping
from time import time
from typing import Self

import msgspec
from nats.js.errors import NotFoundError

from sluice.contracts import codec
from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.streams import CAUSE_HEADER, parse_cause
from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.marks import Mark, Marks, is_mark
from sluice.runtime.message import Message
from sluice.runtime.patience import patiently
from sluice.runtime.patterns import covers
from sluice.runtime.sending import WINDOW, Fenced, Sender
from sluice.runtime.writes import NOTHING, Held, Write, Writes, without_cause

__all__ = ["Fenced", "Output", "Write"]


class Output:
    """The only writer of its patterns. Open it, put and remove, mark; `guard` returns or raises when it is over."""

    def __init__(self, bus: Bus, stream: str, patterns: tuple[str, ...]) -> None:
        self._bus, self._stream, self._patterns = bus, stream, patterns
        self._writes = Writes()
        self._marks = Marks()
        spec = bus.specs.get(stream)
        self._direct = not any("*" in pattern or ">" in pattern for pattern in patterns) and bool(spec and spec.direct)
        """A writer of a few subjects reads each of them: reading the stream would need permission for all of it."""

        self._sender = Sender(bus, stream, self._writes, self._marks, direct=self._direct)

    @classmethod
    async def open(cls, bus: Bus, stream: str, patterns: Iterable[str]) -> Self:
        """Open an output that knows everything stored on its patterns. Creates the streams if they are missing."""
        output = cls(bus, stream, tuple(sorted(patterns)))
        await output._begin()
        return output

    async def _begin(self) -> None:
        await streams.ensure(self._bus)
        here = await self._sender.find()
        while True:
            await self._read()
            again = await self._sender.find()
            if again.created == here.created:
                break
            here = again
        await self._sender.start(here)

    async def _read(self) -> None:
        held = self._writes.held
        held.clear()
        if self._direct:
            for subject in self._patterns:
                await self._read_one(subject)
            return
        spec = self._bus.specs.get(self._stream)
        keeps_all = spec is not None and not spec.last_per_subject
        async with follow(self._bus, self._stream, self._patterns, last_only=keeps_all) as events:
            async for event in events:
                match event:
                    case Message():
                        held[event.subject] = Held(event.body, event.revision.sequence, event.cause)
                        if not event.body:
                            self._writes.buried(event.subject, event.put_ns / 1e9)
                    case NewEpoch():
                        held.clear()
                    case CaughtUp():
                        return

    async def _read_one(self, subject: str) -> None:
        try:
            there = await patiently(self._bus, lambda: self._bus.js.get_last_msg(self._stream, subject, direct=True))
        except NotFoundError:
            return
        headers, body = there.headers or {}, there.data or b""
        self._writes.held[subject] = Held(body, there.seq or 0, parse_cause(headers.get(CAUSE_HEADER, "")))
        if not body:
            self._writes.buried(subject, time())

    async def close(self) -> None:
        """Stop sending. Unacknowledged writes may or may not be stored."""
        await self._sender.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self._stream

    @property
    def stored(self) -> Mapping[str, bytes]:
        """A copy of the acknowledged values, without tombstones."""
        return {subject: held.body for subject, held in self._writes.held.items() if held.body}

    def held(self, subject: str) -> tuple[bytes, Revision]:
        """The acknowledged body and revision of the subject; the body is empty for a tombstone or for nothing."""
        held = self._writes.held.get(subject, NOTHING)
        return held.body, Revision(self.revision.epoch, held.sequence)

    @property
    def revision(self) -> Revision:
        """Revision of the last message that the stream acknowledged; at the start, of the last that it held."""
        return self._sender.revision

    @property
    def refused(self) -> Mapping[str, str]:
        """Subjects whose newest value the stream refuses, and why; the old value stays, and marks wait."""
        return dict(self._sender.refused)

    def put(
        self, subject: str, value: msgspec.Struct | bytes, cause: Revision | None = None, *, after: Iterable[Write] = ()
    ) -> Write | None:
        """Store the value; returns the write to wait for, or None if the value (`cause` aside) is stored already.

        Args:
            cause: cause of the message; None takes the value's own, if it has one.
            after: writes that must be stored before this one is sent.

        Raises:
            Fenced: another writer is active.
        """
        body = value if isinstance(value, bytes) else codec.encode(value)
        if not body:
            raise ValueError(f"{subject}: an empty value is a tombstone, use remove()")
        self._check(subject)
        wanted = self._writes.wanted(subject)
        if wanted and (
            wanted == body or (not isinstance(value, bytes) and without_cause(wanted) == without_cause(body))
        ):
            return self._writes.last(subject)
        own = getattr(value, "cause", NEVER) if cause is None else cause
        return self._add(subject, body, own, after)

    def remove(self, subject: str, cause: Revision = NEVER, *, after: Iterable[Write] = ()) -> Write | None:
        """Store a tombstone if the subject holds a value; returns the write to wait for, or None if nothing is stored.

        Raises:
            Fenced: another writer is active.
        """
        self._check(subject)
        if not self._writes.wanted(subject):
            return self._writes.last(subject)
        return self._add(subject, b"", cause, after)

    def mark(self, subject: str, value: msgspec.Struct) -> None:
        """Send the mark once all earlier puts and removes are stored, unless a newer mark has replaced it by then.

        Raises:
            Fenced: another writer is active.
        """
        self._check(subject)
        if not is_mark(subject):
            raise AssertionError(
                f"{subject}: not the name of a mark, so it would not be kept behind what it vouches for"
            )
        cause = getattr(value, "upto", NEVER)
        self._marks.ask(Mark(subject, codec.encode(value), cause, self._writes.last_number))
        self._sender.wake()

    async def settled(self) -> None:
        """Wait, indefinitely, until everything put, removed and marked so far is stored.

        Raises:
            Fenced: another writer is active.
        """
        await self._sender.lifetime.until(self._sender.settled)

    async def room(self) -> None:
        """Wait until fewer writes are pending than the writer may be ahead of the stream.

        Raises:
            Fenced: another writer is active.
        """
        await self._sender.lifetime.until(lambda: self._sender.ahead() < 2 * WINDOW)

    async def guard(self) -> None:
        """Return when the output is closed.

        Raises:
            Fenced: another writer is active.
        """
        await asyncio.shield(self._sender.lifetime.over)

    def _check(self, subject: str) -> None:
        self._sender.lifetime.alive()
        for pattern in self._patterns:  # usually just one
            if covers(pattern, subject):
                return
        raise AssertionError(f"{subject}: not covered by {', '.join(self._patterns)}, which were read at the start")

    def _add(self, subject: str, body: bytes, cause: Revision, after: Iterable[Write]) -> Write:
        write = self._writes.add(subject, body, cause, after)
        self._sender.added(write)
        return write
