"""How a node reads GROUPS and PROGRAMS: only what it wants, and the one way only.

Subscribe to the republished subjects, make sure the server knows, then ask for what is stored; the higher sequence
wins. All of it arrives in one queue, and is told in that order. What may have been missed (a reconnect, a reader that
was too slow, or just the resync interval) is asked for again; until that is answered no mark is told, because a mark
vouches for everything before it.

`Interest` holds what was told and is asked by its reader; `_Asker` asks the server.
"""

import asyncio
import itertools
import random
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple, Self, TypeVar

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError

from sluice.contracts import subjects
from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.streams import CAUSE_HEADER, parse_cause
from sluice.runtime.arrivals import Arrivals
from sluice.runtime.bus import Bus
from sluice.runtime.marks import is_mark
from sluice.runtime.message import Message
from sluice.runtime.metrics import METRICS
from sluice.runtime.patience import TROUBLE, patiently
from sluice.runtime.patterns import covering
from sluice.runtime.snapshot import MOST_PATTERNS, MOST_SUBJECTS, Answer, End, Row, request
from sluice.runtime.streams import Missing, Origin, origin

T = TypeVar("T")

log = structlog.get_logger()

_ROOM = 262_144  # messages that wait to be read; a node's whole program is a tenth of it
_FLUSH_S = 2
_ANSWER_S = 5.0  # then the question is asked again
_AGAIN_S = 0.05  # before a question that got half an answer, or met a missing stream, is asked again

_rereads = METRICS.counter("sluice_interest_rereads_total", "Times everything wanted was asked for again", "why")
_strangers = METRICS.counter("sluice_interest_strangers_total", "Live messages that no stream sent")


class Answered(NamedTuple):
    """All that is stored under these patterns has been told."""

    patterns: frozenset[str]


class Restarted(NamedTuple):
    """A stream was made anew: drop all that was told; what is wanted is read again."""


Event = Message | Answered | Restarted


class _Want:
    """One pattern, from `want` to `unwant`."""

    __slots__ = ("answered", "held", "pattern", "stream", "subscription")

    def __init__(self, pattern: str, stream: str) -> None:
        self.pattern, self.stream = pattern, stream
        self.subscription: Subscription | None = None
        self.answered = False
        self.held: set[str] = set()
        """Subjects that were told under it."""


class _Question(NamedTuple):
    """Some wants of one stream, to be asked for in one request."""

    wants: list[_Want]
    one_by_one: bool = False
    """Their one pattern matches too many subjects for a request: ask for the subjects themselves."""


class _Reading:
    """A question on its way; more than one request where it goes one by one."""

    __slots__ = ("least", "parts", "since", "stream", "subjects", "torn", "wants")

    def __init__(self, stream: str, wants: list[_Want], least: int, since: int) -> None:
        self.stream, self.wants = stream, wants
        self.least = least
        """Where the stream ended when it was asked: an answer that ends before is a replica's that lags behind."""

        self.since = since
        self.subjects: set[str] = set()
        self.parts = 0
        self.torn = False


class _Part(NamedTuple):
    reading: _Reading
    answer: Answer
    deadline_s: float


class Interest:
    """What one node wants of GROUPS and PROGRAMS, as an endless iterator over what it gets."""

    def __init__(self, bus: Bus, *, resync_s: float = 300.0, jitter_s: float = 1.0, room: int = _ROOM) -> None:
        """Nothing is read before the first iteration.

        Args:
            resync_s: everything is asked for again this often, give or take a tenth.
            jitter_s: longest wait before it is asked for again after a loss: a thousand nodes lose a server together.
            room: messages that may wait to be read.
        """
        self._bus = bus
        self._streams = {spec.subjects[0].split(".")[0]: spec.name for spec in bus.specs.values() if spec.republish}
        self._arrivals = Arrivals(room)
        self._wants: dict[str, _Want] = {}
        self._held: dict[str, int] = {}
        self._gone: set[str] = set()  # of those held, the tombstones
        self._newest: dict[str, int] = {}  # by stream: how far it went, as far as we know
        self._last_live: dict[str, int] = {}  # by stream
        self._loss = 0  # counts the times that messages may have been missed
        self._doubtful: set[str] = set()
        self._withheld: dict[str, Message] = {}
        self._out: deque[Event] = deque()
        self._asker = _Asker(self, bus, self._arrivals, resync_s, jitter_s)
        self._asking: asyncio.Task[None] | None = None
        self._undo = [bus.on_drop(self._dropped), bus.on_slow(self._slow)]

    def want(self, patterns: Iterable[str]) -> None:
        """From now on what is stored under these patterns is told, then `Answered`. Wanting twice changes nothing."""
        for pattern in patterns:
            if pattern not in self._wants:
                self._wants[pattern] = _Want(pattern, self._streams[pattern.split(".")[0]])
                self._asker.ask([self._wants[pattern]])

    def unwant(self, patterns: Iterable[str]) -> None:
        """They are told no more, unless another pattern covers them; wanted again, all is told again."""
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
        """Messages that have arrived and were not read yet."""
        return len(self._arrivals) + len(self._out)

    @property
    def sound(self) -> bool:
        """The connection is there, and nothing that was told is in doubt."""
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

    # ------------------------------------------------------------------------------------------------ what arrives

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
        if not (number.isascii() and number.isdigit()):  # anybody may publish there, only a stream numbers
            _strangers.add(1)
            return
        sequence = int(number)
        self._check_order(want.stream, sequence)
        self._tell(Row(subjects.stored(raw.subject), sequence, raw.data, headers), [want])

    def _check_order(self, stream: str, sequence: int) -> None:
        """A sequence that should be behind us: the stream began again, and nothing else says so."""
        if sequence <= self._newest.get(stream, 0) and sequence != self._last_live.get(stream):  # patterns may overlap
            self._doubt("order")
            self._newest.pop(stream, None)
        self._last_live[stream] = sequence
        self._newest[stream] = max(sequence, self._newest.get(stream, 0))

    def _tell(self, row: Row, wants: list[_Want]) -> None:
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

    def _wanting(self, subject: str) -> list[_Want]:
        return [self._wants[pattern] for pattern in covering(subject) if pattern in self._wants]

    def _answer(self, raw: Msg, part: _Part) -> None:
        reading = part.reading
        match part.answer.take(raw):
            case Row() as row:
                reading.subjects.add(row.subject)
                if wants := self._wanting(row.subject):
                    self._tell(row, wants)
                return
            case End.WHOLE:
                reading.torn |= 0 < part.answer.upto < reading.least
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

    def _finish(self, reading: _Reading) -> None:
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

    def _vanished(self, subject: str, want: _Want, upto: int) -> None:
        """A whole answer lacks what was told before: it went, and its tombstone too, while we were away."""
        if self._held.get(subject, 0) > upto:
            return  # told live since
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
        """Messages may have been missed: until all is answered again no mark is told."""
        if not self._asker.reread(why):
            return  # nothing was asked since the last time
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
    def wants(self) -> list[_Want]:
        return list(self._wants.values())

    def current(self, wants: list[_Want]) -> list[_Want]:
        """Those that are still wanted."""
        return [want for want in wants if self._wants.get(want.pattern) is want]

    def begin_again(self, stream: str) -> None:
        """The stream is another one: what is held says nothing, what is in the queue is of nobody knows which."""
        log.warning("stream_restarted", stream=stream)
        self._arrivals.clear()
        for held in (self._held, self._gone, self._newest, self._last_live, self._withheld, self._doubtful):
            held.clear()
        for want in self._wants.values():
            want.answered = False
            want.held.clear()
        self._out.append(Restarted())
        self._arrivals.wake()


class _Asker:
    """Subscribes and asks, for one Interest; the answers come to its queue."""

    def __init__(self, interest: Interest, bus: Bus, arrivals: Arrivals, resync_s: float, jitter_s: float) -> None:
        self._interest, self._bus, self._arrivals = interest, bus, arrivals
        self._resync_s, self._jitter_s = resync_s, jitter_s
        self._prefix = bus.nc.new_inbox()
        self._inbox: Subscription | None = None
        self._numbers = itertools.count(1)
        self._parts: dict[int, _Part] = {}
        self._questions: deque[_Question] = deque()
        self._retry: list[_Want] = []
        self._left: list[_Want] = []
        self._why: str | None = None
        self._wake = asyncio.Event()
        self.by_sid: dict[int, _Want] = {}
        self.origins: dict[str, Origin] = {}

    def ask(self, wants: list[_Want]) -> None:
        by_stream = itertools.groupby(sorted(wants, key=lambda want: want.stream), key=lambda want: want.stream)
        for _, group in by_stream:
            for slice_ in _slices(list(group), MOST_PATTERNS):
                self._queue(slice_)
        self._wake.set()

    def _queue(self, wants: list[_Want]) -> None:
        """Ask together with the last question, if there is room in it."""
        last = self._questions[-1] if self._questions else None
        if (
            last
            and not last.one_by_one
            and last.wants[0].stream == wants[0].stream
            and len(last.wants) + len(wants) <= MOST_PATTERNS
        ):
            last.wants.extend(wants)
        else:
            self._questions.append(_Question(wants))

    def split(self, wants: list[_Want]) -> None:
        """The question had too many answers."""
        half = len(wants) // 2
        if half:
            self._questions.extend((_Question(wants[:half]), _Question(wants[half:])))
        elif wants:
            self._questions.append(_Question(wants, one_by_one=True))
        self._wake.set()

    def retry(self, wants: list[_Want]) -> None:
        """The question had no whole answer."""
        self._retry.extend(wants)
        self._wake.set()

    def leave(self, want: _Want) -> None:
        self._left.append(want)
        self._wake.set()

    def reread(self, why: str) -> bool:
        """Everything is to be asked for again; False if it was to be already."""
        if self._why not in (None, "resync"):
            return False
        self._why = why
        self._parts.clear()
        self._wake.set()
        return True

    def part(self, raw: Msg) -> _Part | None:
        """The request that this answers, unless it was made again since."""
        return self._parts.get(_number(raw))

    def end(self, raw: Msg) -> None:
        del self._parts[_number(raw)]

    async def close(self, wants: Iterable[_Want]) -> None:
        try:
            for want in [*wants, *self._left]:
                if want.subscription is not None:
                    await want.subscription.unsubscribe()
            if self._inbox is not None:
                await self._inbox.unsubscribe()
        except ConnectionClosedError:
            return

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._inbox = await self._arrivals.subscribe(self._bus, f"{self._prefix}.*", asked_for=True)
        resync_at_s = loop.time() + self._resync_s * random.uniform(0.9, 1.1)
        while True:
            try:
                async with asyncio.timeout(max(0.0, min(_ANSWER_S, resync_at_s - loop.time()))):
                    await self._wake.wait()
            except TimeoutError:
                log.debug("interest_idle")
            self._overdue(loop.time())
            if loop.time() >= resync_at_s:
                resync_at_s = loop.time() + self._resync_s * random.uniform(0.9, 1.1)
                self._why = self._why or "resync"
            self._wake.clear()
            await self._bus.connected.wait()
            try:
                await self._leave()
                await self._reread()
                while self._questions:
                    question = self._questions.popleft()  # else wants may join it while it is being asked
                    await self._put(question)
            except (Missing, *TROUBLE) as error:
                log.info("interest_waits", reason=repr(error))
                await asyncio.sleep(_AGAIN_S)
                self._wake.set()

    def _overdue(self, now_s: float) -> None:
        """Requests whose answer did not come; while there is something to read it may be in there."""
        if len(self._arrivals):
            return
        for number, part in list(self._parts.items()):
            if part.deadline_s < now_s:
                del self._parts[number]
                self._retry.extend(part.reading.wants)
                part.reading.wants = []

    async def _leave(self) -> None:
        while self._left:
            want = self._left.pop()
            if want.subscription is not None:
                self.by_sid.pop(want.subscription._id, None)  # noqa: SLF001  # as messages say it in `sid`
                await want.subscription.unsubscribe()

    async def _reread(self) -> None:
        if self._why is not None:
            if self._why != "resync":
                await asyncio.sleep(random.uniform(0, self._jitter_s))
            await self._arrivals.calm.wait()  # asking a crowded reader would only drop more
            _rereads.add(1, self._why)
            log.info("interest_rereads", why=self._why)
            self._ask_everything()
            self._why = None
        elif self._retry:
            await asyncio.sleep(_AGAIN_S)
            retry, self._retry = self._retry, []
            self.ask(retry)

    def _ask_everything(self) -> None:
        self._parts.clear()
        self._questions.clear()
        self._retry.clear()
        self.ask(self._interest.wants)

    async def _put(self, question: _Question) -> None:
        """Ask the question; what could not be asked is asked later.

        Raises:
            Missing: the stream is not there.
        """
        wants = self._interest.current(question.wants)
        if not wants:
            return
        stream = wants[0].stream
        try:
            reading, patterns = await self._begin(stream, wants)
        except (Missing, *TROUBLE):
            self._questions.appendleft(question)
            raise
        if reading is None:
            return
        if question.one_by_one and (subjects_ := await self._matching(stream, patterns[0])):
            slices = _slices(subjects_, MOST_SUBJECTS)
        else:
            # A mark in every request makes an answer say how far it is complete: an empty one does not.
            slices = [[*patterns, f"{patterns[0].split('.')[0]}._mark.>"]]
        reading.parts = len(slices)
        for slice_ in slices:
            await self._request(stream, slice_, reading)

    async def _begin(self, stream: str, wants: list[_Want]) -> tuple[_Reading | None, list[str]]:
        """The server knows that we listen to the live subjects of these wants; None if all must be asked anew."""
        if stream not in self.origins:
            self.origins[stream] = await origin(self._bus, stream)
        for want in wants:
            if want.subscription is None:
                want.subscription = await self._arrivals.subscribe(self._bus, subjects.live(want.pattern))
                self.by_sid[want.subscription._id] = want  # noqa: SLF001  # see _leave
        since = self._interest.loss
        await patiently(self._bus, lambda: self._bus.nc.flush(_FLUSH_S))
        here = await origin(self._bus, stream)
        if self._moved(stream, here):
            self._interest.begin_again(stream)
            self._ask_everything()
            return None, []
        return _Reading(stream, wants, here.last_sequence, since), [want.pattern for want in wants]

    async def _matching(self, stream: str, pattern: str) -> list[str]:
        info = await patiently(self._bus, lambda: self._bus.js.stream_info(stream, subjects_filter=pattern))
        return sorted(info.state.subjects or {})

    def _moved(self, stream: str, here: Origin) -> bool:
        known, self.origins[stream] = self.origins[stream], here
        return here.created != known.created or here.last_sequence < known.last_sequence

    async def _request(self, stream: str, patterns: list[str], reading: _Reading) -> None:
        number = next(self._numbers)
        deadline_s = asyncio.get_running_loop().time() + _ANSWER_S
        self._parts[number] = _Part(reading, Answer(), deadline_s)
        await self._bus.nc.publish(f"$JS.API.DIRECT.GET.{stream}", request(patterns), f"{self._prefix}.{number}")


def _number(raw: Msg) -> int:
    return int(raw.subject.rpartition(".")[2])


def _slices(items: list[T], size: int) -> list[list[T]]:
    return [items[start : start + size] for start in range(0, len(items), max(size, 1))] or [[]]
