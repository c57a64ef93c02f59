"""What one writer derives into a stream: it reads what is stored, then stores only the difference.

Many writes are on their way at once, each fenced by the sequence that its subject is expected to have, each with a
deadline. After a reconnect, a missed deadline or a stream made anew the writer first asks which stream it is talking
to, then sends again what was not acknowledged; an earlier try that did arrive shows as a conflict, and a conflict is
settled by reading back.
"""

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, Self

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, MaxPayloadError, OutboundBufferLimitError
from nats.js.errors import NotFoundError

from sluice.contracts import codec
from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.streams import WRITER_HEADER
from sluice.runtime import acks, streams
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.marks import Mark, Marks, is_mark
from sluice.runtime.message import Message
from sluice.runtime.metrics import METRICS
from sluice.runtime.patience import patiently
from sluice.runtime.patterns import covers
from sluice.runtime.writes import NOTHING, Held, Write, Writes, without_cause

log = structlog.get_logger()

WINDOW = 4_000
"""Messages on their way at once: 16,000 would be 5 % faster."""

_WINDOW_BYTES = 32 << 20  # half of what the connection buffers while it reconnects
_DEADLINE_S = 5.0  # for one message; then it is sent again
_LOOK_S = 5.0  # how often the writer asks if the stream is still the same one
_REFUSED_WAIT_S = 1.0  # before the next try of what the stream refused
_SUSPECT_WAIT_S = 0.02  # between two looks at a stream that answers strangely
_PRUNE_MARGIN_S = 60.0  # tombstones are remembered this much longer than they live

_stored = METRICS.counter("sluice_output_stored_total", "Messages that were acknowledged", "stream")
_conflicts = METRICS.counter("sluice_output_conflicts_total", "Writes whose subject held something else", "stream")
_refused = METRICS.gauge("sluice_output_refused", "Subjects whose newest value the stream refuses", "stream")
_unfinished = METRICS.gauge("sluice_output_unfinished", "Writes that are not stored yet", "stream")


class Fenced(RuntimeError):
    """Another writer is active on our subjects: stop, and start again from what is stored."""


class _Flight(NamedTuple):
    write: Write
    sent_at_s: float


class Output:
    """The one writer of its patterns. Open it, put and remove, mark; `guard` tells when it is over."""

    def __init__(self, bus: Bus, stream: str, patterns: tuple[str, ...]) -> None:
        self._bus, self._stream, self._patterns = bus, stream, patterns
        self._writes = Writes()
        self._marks = Marks()
        self._flying: dict[int, _Flight] = {}
        self._flying_bytes = 0
        self._attempts = itertools.count(1)
        self._prefix = bus.nc.new_inbox()
        self._created = self._epoch = 0
        self._highest = 0  # sequence acknowledged so far
        self._refused: dict[str, str] = {}
        self._retries: deque[tuple[float, Write]] = deque()
        self._conflicts: asyncio.Queue[Write] = asyncio.Queue()
        self._parked: list[Write] = []
        self._resend_until_s = float("-inf")
        self._suspicious = False  # is this still our stream? Nothing is sent until that is known
        self._look, self._wake = asyncio.Event(), asyncio.Event()
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._subscription: Subscription | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._undo: list[Callable[[], None]] = []

    # ------------------------------------------------------------------------------------------------ opening

    @classmethod
    async def open(cls, bus: Bus, stream: str, patterns: Iterable[str]) -> Self:
        """An output that knows all that is stored on its patterns. Makes the streams if they are not there."""
        output = cls(bus, stream, tuple(sorted(patterns)))
        await output._begin()
        return output

    async def _begin(self) -> None:
        await streams.ensure(self._bus)
        here = await self._find()
        while True:
            await self._read()
            again = await self._find()
            if again.created == here.created:
                break
            here = again
        self._created, self._epoch, self._highest = here.created, here.epoch, here.last_sequence
        self._subscription = await self._bus.nc.subscribe(
            f"{self._prefix}.*", cb=self._answered, pending_msgs_limit=0, pending_bytes_limit=0
        )
        self._undo.append(self._bus.on_reconnect(self._reconnected))
        for work in (self._send_all, self._settle_conflicts, self._watch):
            name = f"output-{self._stream}-{work.__name__.strip('_')}"
            self._tasks.append(asyncio.create_task(self._guarded(work), name=name))
        _unfinished.follow(lambda: len(self._writes), self._stream)
        _refused.follow(lambda: len(self._refused), self._stream)

    async def _read(self) -> None:
        held = self._writes.held
        held.clear()
        keeps_all = self._stream in self._bus.specs and not self._bus.specs[self._stream].last_per_subject
        async with follow(self._bus, self._stream, self._patterns, last_only=keeps_all) as events:
            async for event in events:
                match event:
                    case Message():
                        held[event.subject] = Held(event.body, event.revision.sequence, event.cause)
                        if not event.body:
                            self._writes.buried(event.subject, event.time_ns / 1e9)
                    case NewEpoch():
                        held.clear()
                    case CaughtUp():
                        return

    async def close(self) -> None:
        """Nothing more is sent. What was not acknowledged may be stored or not."""
        for undo in self._undo:
            undo()
        self._undo.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._subscription is not None:
            with contextlib.suppress(ConnectionClosedError):
                await self._subscription.unsubscribe()
            self._subscription = None
        if not self._failed.done():
            self._failed.set_result(None)
        self._progress()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ------------------------------------------------------------------------------------------------ for the writer

    @property
    def stored(self) -> Mapping[str, bytes]:
        """What is acknowledged, without tombstones; as of now, a copy."""
        return {subject: held.body for subject, held in self._writes.held.items() if held.body}

    @property
    def revision(self) -> Revision:
        """Of the last message that the stream acknowledged; at the start, of the last that it held."""
        return Revision(self._epoch, self._highest)

    @property
    def refused(self) -> Mapping[str, str]:
        """Subjects whose newest value the stream does not take, and why; the old value stays, marks wait."""
        return dict(self._refused)

    def put(
        self, subject: str, value: msgspec.Struct | bytes, cause: Revision | None = None, *, after: Iterable[Write] = ()
    ) -> Write | None:
        """The subject will hold the value. Not sent if it will anyhow, `cause` aside: then None.

        Args:
            cause: of the message; unset takes the value's own, if it has one.
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
        """The subject will hold nothing: a tombstone, if it holds anything. None if it does not.

        Raises:
            Fenced: another writer is active.
        """
        self._check(subject)
        if not self._writes.wanted(subject):
            return self._writes.last(subject)
        return self._add(subject, b"", cause, after)

    def mark(self, subject: str, value: msgspec.Struct) -> None:
        """The value is sent once every earlier put and remove is stored, or a newer mark is in its place.

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
        self._wake.set()

    async def settled(self) -> None:
        """Everything put, removed and marked so far is stored. Waits as long as that takes.

        Raises:
            Fenced: another writer is active.
        """
        await self._wait(lambda: not self._writes and not self._marks and not self._flying and not self._marking())

    async def room(self) -> None:
        """Less is under way than the writer should get ahead of the stream.

        Raises:
            Fenced: another writer is active.
        """
        await self._wait(lambda: len(self._writes) < 2 * WINDOW)

    async def guard(self) -> None:
        """Returns when the output is closed.

        Raises:
            Fenced: another writer is active.
        """
        await asyncio.shield(self._failed)

    # ------------------------------------------------------------------------------------------------ inside

    def _check(self, subject: str) -> None:
        if self._failed.done():
            self._failed.result()
            raise RuntimeError(f"{self._stream}: the output is closed")
        if not any(covers(pattern, subject) for pattern in self._patterns):
            raise AssertionError(f"{subject}: not covered by {', '.join(self._patterns)}, which were read at the start")

    def _add(self, subject: str, body: bytes, cause: Revision, after: Iterable[Write]) -> Write:
        write = self._writes.add(subject, body, cause, after)
        self._wake.set()
        return write

    def _marking(self) -> bool:
        return any(self._writes.last(subject) for subject in self._marks.subjects)

    async def _wait(self, reached: Callable[[], bool]) -> None:
        if self._failed.done():
            self._failed.result()
        if reached():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((reached, waiter))
        await waiter

    def _progress(self) -> None:
        """Wake those whose condition holds by now, all of them when it is over."""
        still = []
        for reached, waiter in self._waiters:
            if waiter.done():
                continue
            if self._failed.done() and (error := self._failed.exception()):
                waiter.set_exception(error)
            elif self._failed.done() or reached():
                waiter.set_result(None)
            else:
                still.append((reached, waiter))
        self._waiters = still

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # told to everybody who waits or asks
            if not self._failed.done():
                self._failed.set_exception(error)
                self._failed.exception()  # looked at, should nobody guard
            self._progress()

    # ------------------------------------------------------------------------------------------------ sending

    async def _send_all(self) -> None:
        while True:
            self._wake.clear()
            now_s = time.monotonic()
            wait_s = await self._send(now_s)
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _send(self, now_s: float) -> float:
        """Send what may be sent; the answer is how many seconds later to look again, if nothing happens before."""
        self._overdue(now_s)
        while self._retries and self._retries[0][0] <= now_s:
            self._writes.release(self._retries.popleft()[1])
        while self._may_send():
            self._queue_marks(now_s)
            write = self._writes.take()
            if write is None or not await self._publish(write, now_s):
                break
        waits = [1.0]
        if self._retries:
            waits.append(self._retries[0][0] - now_s)
        if (mark_s := self._marks.wait_s(self._writes.oldest_number, now_s)) is not None and not self._marking():
            waits.append(mark_s)
        return max(0.001, min(waits))

    def _may_send(self) -> bool:
        free = len(self._flying) < WINDOW and self._flying_bytes < _WINDOW_BYTES
        return free and not self._suspicious and self._bus.connected.is_set()

    def _queue_marks(self, now_s: float) -> None:
        if not self._marks or self._marking():
            return
        for mark in self._marks.due(self._writes.oldest_number, now_s, idle=not self._writes):
            if self._writes.wanted(mark.subject) != mark.body:
                self._writes.add(mark.subject, mark.body, mark.cause, is_mark=True)
        self._progress()

    async def _publish(self, write: Write, now_s: float) -> bool:
        headers = self._writes.headers(write, self._tombstone_ttl_s())
        attempt = next(self._attempts)
        self._flying[attempt] = _Flight(write, now_s)
        self._flying_bytes += len(write.body)
        try:
            await self._bus.nc.publish(write.subject, write.body, f"{self._prefix}.{attempt}", headers)
        except MaxPayloadError:
            self._land(attempt)
            self._refuse(write, f"{len(write.body)} bytes exceed the server's max_payload", now_s)
        except OutboundBufferLimitError:  # the connection is away, and what it may hold back is full
            self._land(attempt)
            self._writes.again(write)
            return False
        return True

    def _land(self, attempt: int) -> Write | None:
        flight = self._flying.pop(attempt, None)
        if flight is None:
            return None
        self._flying_bytes -= len(flight.write.body)
        return flight.write

    def _overdue(self, now_s: float) -> None:
        oldest = next(iter(self._flying.values()), None)
        if oldest and oldest.sent_at_s + _DEADLINE_S < now_s and not self._suspicious:
            log.warning("write_overdue", stream=self._stream, subject=oldest.write.subject)
            self._suspect(now_s - _DEADLINE_S)

    def _reconnected(self) -> None:
        self._suspect(time.monotonic())

    def _suspect(self, resend_until_s: float) -> None:
        """Look which stream is there before anything else is sent; then send again what was sent until then."""
        self._suspicious = True
        self._resend_until_s = max(self._resend_until_s, resend_until_s)
        self._look.set()

    # ------------------------------------------------------------------------------------------------ answers

    async def _answered(self, answer: Msg) -> None:
        write = self._land(int(answer.subject.rpartition(".")[2]))
        if write is None or write.done:
            return
        try:
            ack = acks.parse(answer)
        except msgspec.MsgspecError:
            ack = acks.Refused(f"an answer that is none: {answer.data[:100]!r}")
        match ack:
            case acks.Stored(sequence) if sequence > self._highest:
                self._highest = sequence
                self._store(write, sequence)
            case acks.Stored() | acks.Nowhere():  # of a stream that began again, or is not there
                self._parked.append(write)
                self._suspect(float("-inf"))
            case acks.Conflict():
                _conflicts.add(1, self._stream)
                self._conflicts.put_nowait(write)
            case acks.Refused(reason):
                self._refuse(write, reason, time.monotonic())
        self._wake.set()

    def _store(self, write: Write, sequence: int) -> None:
        _stored.add(1, self._stream)
        self._writes.stored(write, sequence)
        if not write.body:
            self._writes.buried(write.subject, time.time())
        self._refused.pop(write.subject, None)
        if self._waiters:
            self._progress()

    def _refuse(self, write: Write, reason: str, now_s: float) -> None:
        if self._refused.get(write.subject) != reason:
            log.error("write_refused", stream=self._stream, subject=write.subject, reason=reason)
        self._refused[write.subject] = reason
        self._writes.refused(write)
        self._retries.append((now_s + _REFUSED_WAIT_S, write))

    # ------------------------------------------------------------------------------------------------ settling

    async def _settle_conflicts(self) -> None:
        while True:
            write = await self._conflicts.get()
            if not write.done:
                await self._settle(write)
            self._wake.set()

    async def _settle(self, write: Write) -> None:
        """What is stored is ours: success, or try again. It is somebody else's: we are fenced off."""
        held = self._writes.held
        try:
            there = await patiently(self._bus, lambda: self._bus.js.get_msg(self._stream, subject=write.subject))
        except NotFoundError:  # its tombstone's time was over, LEDGER aged it out, or the stream began again
            held.pop(write.subject, None)
            self._parked.append(write)
            self._suspect(float("-inf"))
            return
        body, sequence = there.data or b"", there.seq or 0
        if body == write.body:
            self._store(write, sequence)
        elif (there.headers or {}).get(WRITER_HEADER) == self._writes.writer:
            held[write.subject] = Held(body, sequence, NEVER)
            self._writes.again(write)
        elif held.get(write.subject, NOTHING).sequence == sequence:
            self._writes.again(write)
        else:
            raise Fenced(
                f"{write.subject}: sequence {sequence} was stored by another writer "
                f"({(there.headers or {}).get(WRITER_HEADER, 'unknown')}); only one may be active, stop this one"
            )

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._look.wait()
                await asyncio.sleep(_SUSPECT_WAIT_S)
            except TimeoutError:
                self._writes.prune(time.time() - self._tombstone_ttl_s() - _PRUNE_MARGIN_S)
            self._look.clear()
            here = await self._find()
            if here.created != self._created:
                self._renew(here)
            elif here.last_sequence < self._highest:
                raise Fenced(f"{self._stream}: ends at {here.last_sequence}, but {self._highest} was acknowledged")
            self._resend()
            if not self._look.is_set():
                self._suspicious = False
            self._wake.set()

    async def _find(self) -> streams.Origin:
        """Which stream is there; makes those that are missing, and mirrors that lag behind an earlier source."""
        mirrors = [spec.name for spec in self._bus.specs.values() if spec.mirror == self._stream]
        while True:
            try:
                for mirror in mirrors:
                    await streams.origin(self._bus, mirror)
                return await streams.origin(self._bus, self._stream)
            except streams.Missing as missing:
                log.warning("stream_missing", reason=str(missing))
                await streams.ensure(self._bus)

    def _renew(self, here: streams.Origin) -> None:
        log.warning("output_stored_again", stream=self._stream, epoch=here.epoch)
        self._created, self._epoch, self._highest = here.created, here.epoch, 0
        self._resend_until_s = time.monotonic()
        self._writes.begin_again()
        self._marks.ask_again(self._writes.last_number)

    def _resend(self) -> None:
        late = [attempt for attempt, flight in self._flying.items() if flight.sent_at_s <= self._resend_until_s]
        again = [write for write in map(self._land, late) if write] + self._parked
        self._parked = []
        for write in sorted(again, key=lambda write: write.number, reverse=True):
            self._writes.again(write)

    def _tombstone_ttl_s(self) -> int:
        spec = self._bus.specs.get(self._stream)
        return spec.tombstone_ttl_s if spec else 3600
