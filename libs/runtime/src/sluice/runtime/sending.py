"""The send window of a writer: many writes in flight, each fenced and each with a deadline.

After a reconnect, a missed deadline or an unexpected answer, the sender first checks which stream it is talking to,
then resends what was not acknowledged. An earlier attempt that did arrive shows as a conflict, and a conflict is
resolved by reading back.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, MaxPayloadError, OutboundBufferLimitError
from nats.js import api
from nats.js.errors import NotFoundError

from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.streams import HOUR_S, WRITER_HEADER
from sluice.runtime import acks, mirrors, streams
from sluice.runtime.bus import Bus
from sluice.runtime.client import subscribe
from sluice.runtime.flights import Flights
from sluice.runtime.lifetime import Lifetime
from sluice.runtime.marks import Marks
from sluice.runtime.metrics import METRICS
from sluice.runtime.patience import patiently
from sluice.runtime.refusals import Denial
from sluice.runtime.writes import NOTHING, Held, Write, Writes

log = structlog.get_logger()

WINDOW = 4_000
"""Maximum messages in flight: 16,000 would be 5 % faster."""

_WINDOW_BYTES = 32 << 20  # half of what the connection buffers while it reconnects
_DEADLINE_S = 5.0  # per message, after which it is resent
_LOOK_S = 5.0  # interval at which the sender checks that the stream is still the same
_SUSPECT_WAIT_S = 0.02  # between two checks of a stream with unexpected answers
_REFUSED_WAIT_S = 1.0  # between two attempts to store what the stream refused
_OWNER_WAIT_S = 0.5  # between two lookups of a stream that another client creates
_REFUSED_AT_ONCE = 64  # refused writes retried at once; as soon as one is accepted, all are
_PRUNE_MARGIN_S = 60.0  # tombstones are remembered longer than they live, by this margin

_stored = METRICS.counter("sluice_output_stored_total", "Messages that were acknowledged", "stream")
_conflicts = METRICS.counter("sluice_output_conflicts_total", "Writes whose subject held something else", "stream")
_refused = METRICS.gauge("sluice_output_refused", "Subjects whose newest value the stream refuses", "stream")
_unfinished = METRICS.gauge("sluice_output_unfinished", "Writes that are not stored yet", "stream")


class Fenced(RuntimeError):
    """Another writer is active on our subjects: stop, and start again from what is stored."""


class _Answers:
    """Handles answers as they are read from the socket."""

    def __init__(self, take: Callable[[Msg], None]) -> None:
        self.put_nowait = take


class Sender:
    """Sends writes and marks to one stream, for one `Output`."""

    def __init__(self, bus: Bus, stream: str, writes: Writes, marks: Marks, *, direct: bool) -> None:
        """`direct`: read back by subject, from any replica; a writer of a few subjects may read no others."""
        self._direct = direct
        self._bus, self._stream, self._writes, self._marks = bus, stream, writes, marks
        spec = bus.specs.get(stream)
        self._tombstone_ttl_s = spec.tombstone_ttl_s if spec else HOUR_S
        self._flights = Flights()
        self._prefix = bus.nc.new_inbox()
        self._here = streams.Origin(0, 0, 0)
        self._highest = 0  # sequence acknowledged so far
        self.refused: dict[str, str] = {}
        """Subjects whose newest value the stream refuses, and why."""

        self._retries: deque[Write] = deque()
        self._retry_at_s = float("-inf")
        self._conflicts: asyncio.Queue[Write] = asyncio.Queue()
        self._parked: list[Write] = []
        self._resend_until_s = float("-inf")
        self._suspicious = False  # is this still our stream? Nothing is sent until we know
        self._look, self._wake = asyncio.Event(), asyncio.Event()
        self._subscription: Subscription | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._undo: list[Callable[[], None]] = []
        self.lifetime = Lifetime(stream)
        """Ends when nothing more will be sent; with `Fenced` if another writer is active."""

    @property
    def revision(self) -> Revision:
        """Revision of the last acknowledged message."""
        return Revision(self._here.epoch, self._highest)

    async def start(self, here: streams.Origin) -> None:
        """Start sending to this stream."""
        self._here, self._highest = here, here.last_sequence
        self._subscription = await subscribe(self._bus.nc, f"{self._prefix}.*", _Answers(self._answered))
        self._undo.append(self._bus.on_reconnect(self._reconnected))
        self._undo.append(self._bus.on_denial(self._denied))
        for work in (self._send_all, self._settle_conflicts, self._watch):
            name = f"output-{self._stream}-{work.__name__.strip('_')}"
            self._tasks.append(asyncio.create_task(self.lifetime.guarded(work), name=name))
        self._tasks += [asyncio.create_task(mirrors.push(self._bus, one, self._stream)) for one in self._mirrors()]
        _unfinished.follow(lambda: len(self._writes), self._stream)
        _refused.follow(lambda: len(self.refused), self._stream)

    async def close(self) -> None:
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
        self.lifetime.end()

    def added(self, write: Write) -> None:
        """Notify of a new write, which may be done already."""
        if write.done:
            self.refused.pop(write.subject, None)
            self.lifetime.progress()
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    def settled(self) -> bool:
        """Whether nothing is waiting and nothing is in flight."""
        return not self._writes and not self._marks and not self._flights and not self._marking()

    def ahead(self) -> int:
        """Number of writes waiting or in flight, without those that the stream refuses, which may wait forever."""
        return len(self._writes) - len(self.refused)

    def _marking(self) -> bool:
        return any(self._writes.last(subject) for subject in self._marks.subjects)

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
        """Send what may be sent; returns after how many seconds to check again if nothing happens before."""
        self._overdue(now_s)
        self._retry(now_s)
        while self._may_send():
            self._queue_marks(now_s)
            write = self._writes.take()
            if write is None or not await self._publish(write, now_s):
                break
        waits = [1.0]
        if self._retries:
            waits.append(self._retry_at_s - now_s)
        if (mark_s := self._marks.wait_s(self._writes.oldest_number, now_s)) is not None and not self._marking():
            waits.append(mark_s)
        return max(0.001, min(waits))

    def _retry(self, now_s: float) -> None:
        if not self._retries or now_s < self._retry_at_s:
            return
        self._retry_at_s = now_s + _REFUSED_WAIT_S
        for _ in range(min(_REFUSED_AT_ONCE, len(self._retries))):
            self._writes.release(self._retries.popleft())

    def _may_send(self) -> bool:
        free = len(self._flights) < WINDOW and self._flights.size_bytes < _WINDOW_BYTES
        return free and not self._suspicious and self._bus.connected.is_set()

    def _queue_marks(self, now_s: float) -> None:
        if not self._marks or self._marking():
            return
        for mark in self._marks.due(self._writes.oldest_number, now_s, idle=not self._writes):
            if self._writes.wanted(mark.subject) != mark.body:
                self._writes.add(mark.subject, mark.body, mark.cause, is_mark=True)
        self.lifetime.progress()

    async def _publish(self, write: Write, now_s: float) -> bool:
        headers = self._writes.headers(write, self._tombstone_ttl_s)
        attempt = self._flights.leave(write, now_s)
        try:
            await self._bus.nc.publish(write.subject, write.body, f"{self._prefix}.{attempt}", headers)
        except MaxPayloadError:
            self._flights.land(attempt)
            self._refuse(write, f"{len(write.body)} bytes exceed the server's max_payload")
        except OutboundBufferLimitError:  # disconnected, and nats-py's buffer is full
            self._flights.land(attempt)
            self._writes.again(write)
            return False
        return True

    def _overdue(self, now_s: float) -> None:
        oldest_s = self._flights.oldest_s()
        if oldest_s is not None and oldest_s + _DEADLINE_S < now_s and not self._suspicious:
            log.warning("writes_overdue", stream=self._stream, flying=len(self._flights))
            self._suspect(now_s - _DEADLINE_S)

    def _reconnected(self) -> None:
        self._suspect(time.monotonic())

    def _suspect(self, resend_until_s: float) -> None:
        """Check which stream is there before sending anything else; then resend what was sent until that time."""
        self._suspicious = True
        self._resend_until_s = max(self._resend_until_s, resend_until_s)
        self._look.set()

    # ------------------------------------------------------------------------------------------------ answers

    def _answered(self, answer: Msg) -> None:
        try:
            self._take(answer)
        except Exception as error:  # nats-py calls this, and would report it to nobody
            self.lifetime.fail(error)

    def _take(self, answer: Msg) -> None:
        write = self._flights.land(int(answer.subject.rpartition(".")[2]))
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
            case acks.Stored() | acks.Nowhere():  # the stream was recreated or is missing
                self._parked.append(write)
                self._suspect(float("-inf"))
            case acks.Conflict():
                _conflicts.add(1, self._stream)
                self._conflicts.put_nowait(write)
            case acks.Refused(reason):
                self._refuse(write, reason)
        self._wake.set()

    def _denied(self, denied: Denial) -> None:
        if denied.action != "publish":
            return
        for write in self._flights.land_on(denied.subject):
            self._refuse(write, "the bus does not permit this identity to publish it")

    def _store(self, write: Write, sequence: int) -> None:
        _stored.add(1, self._stream)
        self._writes.stored(write, sequence)
        if not write.body:
            self._writes.buried(write.subject, time.time())
        if self.refused.pop(write.subject, None) is not None:  # there is room again
            while self._retries:
                self._writes.release(self._retries.popleft())
        self.lifetime.progress()

    def _refuse(self, write: Write, reason: str) -> None:
        if self.refused.get(write.subject) != reason:
            log.error("write_refused", stream=self._stream, subject=write.subject, reason=reason)
        self.refused[write.subject] = reason
        self._writes.refused(write)
        self._retries.append(write)
        self.lifetime.progress()

    # ------------------------------------------------------------------------------------------------ settling

    async def _settle_conflicts(self) -> None:
        while True:
            write = await self._conflicts.get()
            if not write.done:
                await self._settle(write)
            self._wake.set()

    async def _settle(self, write: Write) -> None:
        """Resolve a conflict: if the stored value is ours, succeed or retry; if it is another's, we are fenced."""
        held = self._writes.held
        try:
            there = await patiently(self._bus, lambda: self._stored_on(write.subject))
        except NotFoundError:  # its tombstone expired, LEDGER aged it out, or the stream was recreated
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
        elif held.get(write.subject, NOTHING).sequence >= sequence:  # higher than what a lagging replica answered
            self._writes.again(write)
        else:
            raise Fenced(
                f"{write.subject}: sequence {sequence} was stored by another writer "
                f"({(there.headers or {}).get(WRITER_HEADER, 'unknown')}); only one may be active; stop this "
                "one"
            )

    async def _stored_on(self, subject: str) -> api.RawStreamMsg:
        return await self._bus.js.get_msg(self._stream, subject=subject, direct=self._direct)

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._look.wait()
                await asyncio.sleep(_SUSPECT_WAIT_S)
            except TimeoutError:
                self._writes.prune(time.time() - self._tombstone_ttl_s - _PRUNE_MARGIN_S)
            self._look.clear()
            acknowledged = self._highest  # read before the request, since it grows meanwhile
            here = await self.find(acknowledged)
            if here.created != self._here.created:
                self._renew(here)
            elif here.last_sequence < acknowledged:
                raise Fenced(f"{self._stream}: ends at {here.last_sequence}, but {acknowledged} was acknowledged")
            self._resend()
            if not self._look.is_set():
                self._suspicious = False
            self._wake.set()

    async def find(self, acknowledged: int = 0) -> streams.Origin:
        """The stream's current origin; creates missing streams, and mirrors that lag behind an earlier source."""
        while True:
            try:
                for mirror in self._mirrors():
                    await streams.origin(self._bus, mirror)
                return await streams.surely(self._bus, self._stream, self._here.created, acknowledged)
            except streams.Missing as missing:
                log.warning("stream_missing", reason=str(missing))
                await streams.ensure(self._bus)
                if not self._bus.owns_streams:
                    await asyncio.sleep(_OWNER_WAIT_S)

    def _mirrors(self) -> list[str]:
        return [spec.name for spec in self._bus.specs.values() if spec.mirror == self._stream]

    def _renew(self, here: streams.Origin) -> None:
        log.warning("output_stored_again", stream=self._stream, epoch=here.epoch)
        self._here, self._highest = here, 0
        self._resend_until_s = time.monotonic()
        self._writes.begin_again()
        self._marks.ask_again(self._writes.last_number)

    def _resend(self) -> None:
        again, self._parked = [*self._flights.land_until(self._resend_until_s), *self._parked], []
        for write in sorted(again, key=lambda write: write.number, reverse=True):
            self._writes.again(write)
