"""How central services read: everything a stream holds, then what arrives, in order, indefinitely.

This is an ordered push consumer of our own, because nats-py's fails when it cannot recreate its consumer. On a gap, a
missed heartbeat or a reconnect, a new consumer starts after the last message delivered. If the stream turns out to be
another one, a new epoch begins.
"""

import asyncio
import re
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import NamedTuple, Self

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError
from nats.js import api
from nats.js.errors import NotFoundError

from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.streams import CAUSE_HEADER, TIME_HEADER, parse_cause
from sluice.runtime.bus import Bus
from sluice.runtime.client import subscribe
from sluice.runtime.message import Message
from sluice.runtime.patience import patiently
from sluice.runtime.streams import Missing, Origin, last_of, origin, surely

log = structlog.get_logger()

_HEARTBEAT_S = 0.5
_SILENCE_S = 3 * _HEARTBEAT_S  # seconds without a message or heartbeat after which the consumer is considered dead
_CHECK_S = 10.0  # interval at which an idle stream is checked: is it still the same one, and has everything arrived
_BEHIND_WAIT_S = 0.2  # before the consumer is recreated, if it is on a lagging replica
_ABSENT_WAIT_S = 0.2  # between two lookups of a stream that does not exist


class CaughtUp(NamedTuple):
    """The reader has received everything that is stored at this moment."""

    upto: Revision


class NewEpoch(NamedTuple):
    """The stream was recreated: forget everything; a replay and another CaughtUp follow."""

    epoch: int


Event = Message | CaughtUp | NewEpoch


def follow(
    bus: Bus, stream: str, patterns: Iterable[str] = (), *, last_only: bool = False, after: int = 0
) -> "Follower":
    """Endless events for all messages on these subjects (default: all), from the beginning and in order.

    Waits for a stream that does not exist yet.

    Args:
        last_only: begin with the last message of each subject; for streams that keep more.
        after: begin after this sequence.
    """
    return Follower(bus, stream, tuple(patterns) or (">",), last_only=last_only, after=after)


class Follower:
    """An iterator over events. Close it (or use it as a context manager) when done."""

    def __init__(self, bus: Bus, stream: str, patterns: tuple[str, ...], *, last_only: bool, after: int) -> None:
        self._inbox = _Inbox()
        self._consumer = _Consumer(bus, stream, patterns, self._inbox, last_only=last_only)
        self._consumer.sequence = after
        self._events = _events(self._consumer)

    @property
    def waiting(self) -> int:
        """Number of messages that have arrived and are unread; with 0, the next one has yet to arrive.

        Heartbeats and flow control do not count: they produce no event, so a reader that waited for one could wait
        long.
        """
        return self._inbox.messages

    @property
    def complete(self) -> Revision:
        """Everything that was ever stored up to here has been received, or what replaced it.

        On a stream that keeps the last message of each subject, this does not advance while the reader lags: a message
        overwritten before its delivery arrives at its new position, and its subject is unknown until then.
        """
        return self._consumer.complete

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await anext(self._events)

    async def close(self) -> None:
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Inbox:
    """Unread messages in order of arrival."""

    def __init__(self) -> None:
        self.items: deque[Msg] = deque()
        self.messages = 0
        """Number of stored messages among them; the others come from the server itself."""

        self.arrived = asyncio.Event()

    def put_nowait(self, message: Msg) -> None:
        self.items.append(message)
        self.messages += _is_stored(message)
        self.arrived.set()

    def take(self) -> Msg:
        message = self.items.popleft()
        self.messages -= _is_stored(message)
        return message

    def clear(self) -> None:
        self.items.clear()
        self.messages = 0
        self.arrived.clear()


def _is_stored(message: Msg) -> bool:
    return message is not _RECONNECTED and not (message.headers and "Status" in message.headers)


class _Broken(Exception):
    """The consumer is gone or lost messages: create a new one."""


class _Consumer:
    """The current consumer, and the reader's position in the stream."""

    def __init__(self, bus: Bus, stream: str, patterns: tuple[str, ...], inbox: _Inbox, *, last_only: bool) -> None:
        self.bus, self.stream = bus, stream
        self._patterns, self._inbox, self._last_only = patterns, inbox, last_only
        self._subscription: Subscription | None = None
        self._delivered = 0  # by this consumer
        self.sequence = 0  # of the last message delivered
        self.complete = NEVER
        self._gap = True  # messages may have been overwritten before delivery, and their replacements are still to come
        self._checked_s = 0.0
        self._goal = 0
        """The stream has at least this sequence, according to its leader; until it was delivered, "nothing pending"
        means nothing. A consumer on a replica that lags, or is still empty, claims to have caught up."""

    async def attach(self, known: Origin | None) -> tuple[Origin, bool]:
        """Begin a consumer after the last message delivered; returns the stream's origin and whether messages wait."""
        while True:
            try:
                before = await surely(self.bus, self.stream, known.created if known else 0, self.sequence)
                self._goal = await self._last(before)
                waiting = await patiently(self.bus, self._begin)
                after = await origin(self.bus, self.stream)
            except (Missing, NotFoundError):
                await asyncio.sleep(_ABSENT_WAIT_S)
                continue
            if before[:2] != after[:2]:  # recreated in between: the consumer may belong to either stream
                continue
            if waiting or self.sequence >= self._goal:
                self._checked_s = asyncio.get_running_loop().time()
                return before, waiting
            log.info("replica_lags", stream=self.stream, delivered=self.sequence, leader_has=self._goal)
            await asyncio.sleep(_BEHIND_WAIT_S)

    async def _last(self, here: Origin) -> int:
        """The last sequence on our subjects according to the leader; 0 for a single server, which cannot lag."""
        return await last_of(self.bus, self.stream, self._patterns) if here.replicated else 0

    async def _begin(self) -> bool:
        await self.detach()
        inbox = self.bus.nc.new_inbox()
        self._inbox.clear()
        self._delivered = 0
        # The inbox is unbounded: flow control limits what the server sends before we ask for more.
        self._subscription = await subscribe(self.bus.nc, inbox, self._inbox)
        info = await self.bus.js.add_consumer(
            self.stream,
            api.ConsumerConfig(
                name=_consumer_name(self.bus.name),
                deliver_subject=inbox,
                deliver_policy=self._policy(),
                opt_start_seq=self.sequence + 1 if self.sequence else None,
                filter_subject=self._patterns[0] if len(self._patterns) == 1 else None,
                filter_subjects=list(self._patterns) if len(self._patterns) > 1 else None,
                ack_policy=api.AckPolicy.NONE,
                max_deliver=1,
                flow_control=True,
                idle_heartbeat=_HEARTBEAT_S,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        return bool(info.num_pending)

    def _policy(self) -> api.DeliverPolicy:
        if self.sequence:
            return api.DeliverPolicy.BY_START_SEQUENCE
        return api.DeliverPolicy.LAST_PER_SUBJECT if self._last_only else api.DeliverPolicy.ALL

    def caught_up(self, upto: Revision) -> CaughtUp:
        """Record that nothing is pending, so there is no gap."""
        self._gap = False
        self.complete = max(self.complete, upto, Revision(upto.epoch, self.sequence))
        return CaughtUp(self.complete)

    def begin_again(self) -> None:
        self.sequence, self.complete, self._gap = 0, NEVER, True

    async def detach(self) -> None:
        """Unsubscribe; the server removes a consumer without listeners by itself."""
        if self._subscription is None:
            return
        subscription, self._subscription = self._subscription, None
        try:
            await subscription.unsubscribe()
        except ConnectionClosedError:
            return

    async def next(self, epoch: int, created: int) -> tuple[Message, int] | None:
        """The next message and how many are pending after it; None after a heartbeat with nothing pending.

        Raises:
            _Broken: this consumer will not deliver the next message.
        """
        inbox = self._inbox
        while True:
            while not inbox.items:
                inbox.arrived.clear()
                try:
                    async with asyncio.timeout(_SILENCE_S):
                        await inbox.arrived.wait()
                except TimeoutError as error:
                    raise _Broken(f"{self.stream}: silent for {_SILENCE_S} s") from error
            raw = inbox.take()
            if raw is _RECONNECTED:
                raise _Broken(f"{self.stream}: reconnected")
            if raw.headers and "Status" in raw.headers:
                if await self._idle(raw):
                    await self._check(created)
                    return None
                continue
            return self._take(raw, epoch)

    def _take(self, raw: Msg, epoch: int) -> tuple[Message, int]:
        # $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<ns>.<pending>, with <domain>.<account>
        # before the stream and <random> after all of it since ADR-15
        fields = raw.reply.split(".")
        first = 5 if len(fields) == 9 else 7
        sequence, delivered, time_ns, pending = map(int, fields[first : first + 4])
        if delivered != self._delivered + 1:
            raise _Broken(f"{self.stream}: message {delivered} of the consumer came after {self._delivered}")
        pending = max(pending, int(sequence < self._goal))
        self._gap = bool(pending) and (self._gap or sequence != self.sequence + 1)
        self._delivered, self.sequence = delivered, sequence
        if not self._gap:
            self.complete = Revision(epoch, sequence)
        cause = parse_cause(raw.headers.get(CAUSE_HEADER, "")) if raw.headers else NEVER
        first_ns = _first_ns(raw, time_ns)
        return Message(raw.subject, raw.data, Revision(epoch, sequence), first_ns, cause, time_ns), pending

    async def _idle(self, raw: Msg) -> bool:
        """True for a heartbeat that confirms that everything was delivered. Flow control is answered in its turn."""
        headers = raw.headers or {}
        if headers["Status"] != "100":  # 409: the consumer was deleted, or its leader moved
            raise _Broken(f"{self.stream}: {headers}")
        stalled = headers.get(api.Header.CONSUMER_STALLED.value)
        if raw.reply or stalled:
            await self.bus.nc.publish(raw.reply or stalled or "")
            return False
        delivered = int(headers.get(api.Header.LAST_CONSUMER.value, self._delivered))
        if delivered != self._delivered:
            raise _Broken(f"{self.stream}: heartbeat says {delivered} were sent, {self._delivered} came")
        return True

    async def _check(self, created: int) -> None:
        """Check that there really is nothing more; to be called when nothing arrives."""
        if self.sequence < self._goal:
            await asyncio.sleep(_BEHIND_WAIT_S)
            raise _Broken(f"{self.stream}: its replica ends at {self.sequence}, the leader has {self._goal}")
        now_s = asyncio.get_running_loop().time()
        if now_s - self._checked_s < _CHECK_S:
            return
        self._checked_s = now_s
        try:
            now = await origin(self.bus, self.stream)
            self._goal = await self._last(now)
        except (Missing, NotFoundError) as error:
            raise _Broken(str(error)) from error
        if now.created != created:
            raise _Broken(f"{self.stream}: made anew")


def _first_ns(raw: Msg, time_ns: int) -> int:
    """When the message was first stored."""
    told = raw.headers.get(TIME_HEADER, "") if raw.headers else ""
    return int(told) if told.isascii() and told.isdigit() else time_ns


_RECONNECTED = Msg(_client=None)  # type: ignore[arg-type]  # a marker in the inbox, never answered


def _consumer_name(name: str) -> str:
    return f"{re.sub('[^A-Za-z0-9_-]', '-', name)}-{secrets.token_hex(6)}"


async def _events(consumer: _Consumer) -> AsyncGenerator[Event]:
    forget = consumer.bus.on_reconnect(lambda: consumer._inbox.put_nowait(_RECONNECTED))  # noqa: SLF001  # one module
    try:
        known: Origin | None = None
        caught_up = False
        while True:
            here, waiting = await consumer.attach(known)
            if known and _is_new(here, known, consumer.sequence):
                log.warning("epoch_began", stream=consumer.stream, epoch=here.epoch)
                known, caught_up = here, False
                consumer.begin_again()
                yield NewEpoch(here.epoch)
                continue  # with a consumer from the beginning
            known = here
            if not waiting:
                now = consumer.caught_up(Revision(here.epoch, here.last_sequence))
                if not caught_up:
                    caught_up = True
                    yield now
            try:
                while True:
                    got = await consumer.next(here.epoch, here.created)
                    if got:
                        yield got[0]
                    if not caught_up and not (got and got[1]):
                        caught_up = True
                        yield consumer.caught_up(Revision(here.epoch, here.last_sequence))
            except _Broken as error:
                log.info("consumer_broken", reason=str(error))
    finally:
        forget()
        await consumer.detach()


def _is_new(here: Origin, known: Origin, sequence: int) -> bool:
    return here[:2] != known[:2] or here.last_sequence < sequence
