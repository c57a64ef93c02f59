"""How a node reads GROUPS and PROGRAMS: only the subjects it wants.

It subscribes to the republished subjects, confirms the subscription, then requests what is stored; the higher sequence
wins. Everything arrives in one queue and is delivered in that order. After anything that may have lost a message (a
reconnect, a slow consumer) and at each resync interval, it requests everything again. Until that is answered, no mark
is delivered, because a mark vouches for everything before it.

This module keeps track of what was delivered; `asking` makes the requests.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple, Self

import structlog
from nats.aio.msg import Msg

from sluice.contracts import subjects
from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.streams import CAUSE_HEADER, parse_cause
from sluice.runtime.arrivals import Arrivals
from sluice.runtime.asking import Asker, Part, Reading, Want
from sluice.runtime.bus import Bus
from sluice.runtime.marks import is_mark
from sluice.runtime.message import Message
from sluice.runtime.metrics import METRICS
from sluice.runtime.patterns import covering
from sluice.runtime.snapshot import Answer, End, Row

log = structlog.get_logger()

_ROOM = 262_144  # unread messages; the whole program of a node is a tenth of it
_strangers = METRICS.counter("sluice_interest_strangers_total", "Live messages that no stream sent")


class Answered(NamedTuple):
    """Everything stored under these patterns has been delivered."""

    patterns: frozenset[str]


class Restarted(NamedTuple):
    """A stream was recreated: drop everything delivered so far; what is wanted is read again."""


Event = Message | Answered | Restarted


class Interest:
    """What one node wants of GROUPS and PROGRAMS, as an endless iterator over what arrives."""

    def __init__(self, bus: Bus, *, resync_s: float = 300.0, jitter_s: float = 1.0, room: int = _ROOM) -> None:
        """Nothing is read before the first iteration.

        Args:
            resync_s: interval at which everything is requested again, ±10 %.
            jitter_s: longest delay of a re-read after a loss, since a thousand nodes lose a server at the same moment.
            room: limit of unread messages.
        """
        self._bus = bus
        self._streams = {spec.subjects[0].split(".")[0]: spec.name for spec in bus.specs.values() if spec.republish}
        self._arrivals = Arrivals(room)
        self._wants: dict[str, Want] = {}
        self._held: dict[str, int] = {}
        self._gone: set[str] = set()  # tombstones among the held
        self._newest: dict[str, int] = {}  # by stream: the highest sequence known
        self._last_live: dict[str, int] = {}  # by stream
        self._loss = 0  # counts how often messages may have been lost
        self._doubtful: set[str] = set()
        self._withheld: dict[str, Message] = {}
        self._out: deque[Event] = deque()
        self._asker = Asker(self, bus, self._arrivals, resync_s, jitter_s)
        self._asking: asyncio.Task[None] | None = None
        self._undo = [bus.on_drop(self._dropped), bus.on_slow(self._slow)]

    def want(self, patterns: Iterable[str]) -> None:
        """From now on, deliver what is stored under these patterns, then `Answered`. Wanting twice changes nothing."""
        for pattern in patterns:
            if pattern not in self._wants:
                self._wants[pattern] = Want(pattern, self._streams[pattern.split(".")[0]])
                self._asker.ask([self._wants[pattern]])

    def unwant(self, patterns: Iterable[str]) -> None:
        """Stop delivering these, unless another pattern covers them; wanted again, everything is delivered again."""
        for pattern in patterns:
            want = self._wants.pop(pattern, None)
            if want is None:
                continue
            self._asker.leave(want)
            self._doubtful.discard(pattern)
            for subject in want.held:
                if not self._wanting(subject):
                    self._held.pop(subject, None)
                    self._gone.discard(subject)
                    self._withheld.pop(subject, None)
        self._release_marks()

    @property
    def waiting(self) -> int:
        """Number of messages that have arrived and are unread."""
        return len(self._arrivals) + len(self._out)

    @property
    def sound(self) -> bool:
        """Whether the connection is up and nothing delivered is in doubt."""
        return self._bus.connected.is_set() and not self._doubtful

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._asking is None:
            self._asking = asyncio.create_task(self._asker.run(), name="interest-asker")
            self._asking.add_done_callback(lambda _: self._arrivals.wake())
        while not self._out:
            await self._arrivals.some()
            if self._asking.done():
                self._asking.result()
                raise StopAsyncIteration
            while len(self._arrivals) and not self._out:
                self._take(self._arrivals.take())
        return self._out.popleft()

    async def close(self) -> None:
        for undo in self._undo:
            undo()
        self._undo.clear()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self._asker.close(self._wants.values())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ------------------------------------------------------------------------------------------------ arrivals

    def _take(self, raw: Msg) -> None:
        if raw.subject.startswith(subjects.LIVE):
            self._live(raw)
        elif (part := self._asker.part(raw)) is not None:
            self._answer(raw, part)

    def _live(self, raw: Msg) -> None:
        want = self._asker.by_sid.get(raw.sid)
        if want is None or self._wants.get(want.pattern) is not want:
            return
        headers = raw.headers or {}
        number = headers.get("Nats-Sequence", "")
        if not (number.isascii() and number.isdigit()):  # anyone may publish there, but only streams add sequences
            _strangers.add(1)
            return
        sequence = int(number)
        self._check_order(want.stream, sequence)
        self._check_gap(want, subjects.stored(raw.subject), headers.get("Nats-Last-Sequence", ""))
        self._tell(Row(subjects.stored(raw.subject), sequence, raw.data, headers), [want])

    def _check_order(self, stream: str, sequence: int) -> None:
        """Detect a sequence that went backwards: the stream began anew, and nothing else tells."""
        if sequence <= self._newest.get(stream, 0) and sequence != self._last_live.get(stream):  # patterns may overlap
            self._doubt("order")
            self._newest.pop(stream, None)
        self._last_live[stream] = sequence
        self._newest[stream] = max(sequence, self._newest.get(stream, 0))

    def _check_gap(self, want: Want, subject: str, before: str) -> None:
        """Detect that the subject had an earlier value that we did not receive.

        Servers that lose their route to each other lose live messages between them, unnoticed by clients whose own
        connection stays up. The next mark reveals it, since it names its predecessor: the last sequence of its subject,
        or 0 if nothing is stored there.
        """
        if want.answered and before.isascii() and before.isdigit() and int(before) > self._held.get(subject, 0):
            self._doubt("gap")

    def _tell(self, row: Row, wants: list[Want]) -> None:
        for want in wants:
            want.held.add(row.subject)
        if row.sequence <= self._held.get(row.subject, 0):
            return
        self._held[row.subject] = row.sequence
        (self._gone.discard if row.body else self._gone.add)(row.subject)
        revision = Revision(self._asker.origins[wants[0].stream].epoch, row.sequence)
        cause = parse_cause(row.headers.get(CAUSE_HEADER, ""))
        message = Message(row.subject, row.body, revision, 0, cause)
        if self._doubtful and is_mark(row.subject):
            self._withheld[row.subject] = message
        else:
            self._out.append(message)

    def _wanting(self, subject: str) -> list[Want]:
        return [self._wants[pattern] for pattern in covering(subject) if pattern in self._wants]

    def _answer(self, raw: Msg, part: Part) -> None:
        reading = part.reading
        match part.answer.take(raw):
            case Row() as row:
                reading.subjects.add(row.subject)
                if wants := self._wanting(row.subject):
                    self._tell(row, wants)
                return
            case End.WHOLE:
                reading.torn |= self._lags(part.answer, reading)
                self._newest[reading.stream] = max(part.answer.upto, self._newest.get(reading.stream, 0))
            case End.TORN | End.NOWHERE:
                reading.torn = True
            case End.TOO_MANY:
                self._asker.end(raw)
                self._asker.split(self.current(reading.wants))
                return
        self._asker.end(raw)
        reading.parts -= 1
        if not reading.parts:
            self._finish(reading)

    @staticmethod
    def _lags(answer: Answer, reading: Reading) -> bool:
        """Whether the answering replica has less than the stream.

        An empty answer does not tell how far it goes. Since every request includes a mark, either the stream never had
        one, or the replica is still empty.
        """
        if answer.upto:
            return answer.upto < reading.least
        return any(want.held for want in reading.wants)

    def _finish(self, reading: Reading) -> None:
        wants = self.current(reading.wants)
        if reading.torn:
            self._asker.retry(wants)
            return
        for want in wants:
            want.answered = True
            if reading.since == self._loss:
                self._doubtful.discard(want.pattern)
            for subject in sorted(want.held - reading.subjects):
                self._vanished(subject, want, reading.least)
        if wants:
            self._out.append(Answered(frozenset(want.pattern for want in wants)))
        self._release_marks()

    def _vanished(self, subject: str, want: Want, upto: int) -> None:
        """Handle a subject missing from a complete answer: deleted, and its tombstone expired, while we were away."""
        if self._held.get(subject, 0) > upto:
            return  # arrived live since
        want.held.discard(subject)
        if subject in self._held and subject not in self._gone:
            revision = Revision(self._asker.origins[want.stream].epoch, upto)
            self._out.append(Message(subject, b"", revision, 0, NEVER))
        self._held.pop(subject, None)
        self._gone.discard(subject)

    # ------------------------------------------------------------------------------------------------ losses

    def _dropped(self) -> None:
        self._doubt("disconnected")

    def _slow(self) -> None:
        self._doubt("slow")

    def _doubt(self, why: str) -> None:
        """Messages may have been lost: deliver no mark until everything was answered again."""
        if not self._asker.reread(why):
            return  # nothing has been requested since the last call
        self._loss += 1
        self._doubtful = {pattern for pattern, want in self._wants.items() if want.answered}

    def _release_marks(self) -> None:
        if not self._doubtful and self._withheld:
            self._out.extend(self._withheld.values())
            self._withheld.clear()
            self._arrivals.wake()

    # ------------------------------------------------------------------------------------------------ for the asker

    @property
    def loss(self) -> int:
        return self._loss

    @property
    def wants(self) -> list[Want]:
        return list(self._wants.values())

    def current(self, wants: list[Want]) -> list[Want]:
        """Those of these that are still wanted."""
        return [want for want in wants if self._wants.get(want.pattern) is want]

    def begin_again(self, stream: str) -> None:
        """The stream is another one: what is held is void, and queued messages may come from either."""
        log.warning("stream_restarted", stream=stream)
        self._arrivals.clear()
        for held in (self._held, self._gone, self._newest, self._last_live, self._withheld, self._doubtful):
            held.clear()
        for want in self._wants.values():
            want.answered = False
            want.held.clear()
        self._out.append(Restarted())
        self._arrivals.wake()
