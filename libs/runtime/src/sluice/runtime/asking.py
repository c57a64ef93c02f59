"""How a node requests what it wants: subscribe, confirm the subscription, send the request, and repeat as needed.

This is the requesting half of one `Interest`: answers go to its queue, and it tells this half how to handle them.
"""

import asyncio
import contextlib
import itertools
import random
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError

from sluice.contracts import subjects
from sluice.runtime.arrivals import Arrivals
from sluice.runtime.bus import Bus
from sluice.runtime.metrics import METRICS
from sluice.runtime.patience import TROUBLE, patiently
from sluice.runtime.snapshot import MOST_PATTERNS, MOST_SUBJECTS, Answer, request
from sluice.runtime.streams import Missing, Origin, origin, surely

T = TypeVar("T")

log = structlog.get_logger()

_ANSWER_S = 5.0  # seconds to wait for an answer before the request is repeated
_AGAIN_S = 0.05  # before a request is repeated that got half an answer, or whose stream was missing

_rereads = METRICS.counter("sluice_interest_rereads_total", "Times everything wanted was asked for again", "why")


class Want:
    """One wanted pattern, between `want` and `unwant`."""

    __slots__ = ("answered", "held", "pattern", "stream", "subscription")

    def __init__(self, pattern: str, stream: str) -> None:
        self.pattern, self.stream = pattern, stream
        self.subscription: Subscription | None = None
        self.answered = False
        self.held: set[str] = set()
        """Subjects that were received under this pattern."""


class Question(NamedTuple):
    """Wants on one stream, to be read with one request."""

    wants: list[Want]
    one_by_one: bool = False
    """Their single pattern matches too many subjects for one request: request the subjects themselves."""


class Reading:
    """A question in flight; takes several requests if its subjects are requested themselves."""

    __slots__ = ("least", "parts", "since", "stream", "subjects", "torn", "wants")

    def __init__(self, stream: str, wants: list[Want], least: int, since: int) -> None:
        self.stream, self.wants = stream, wants
        self.least = least
        """The stream's last sequence at the time of the request: an answer that ends before it came from a lagging
        replica."""

        self.since = since
        self.subjects: set[str] = set()
        self.parts = 0
        self.torn = False


class Part(NamedTuple):
    reading: Reading
    answer: Answer
    deadline_s: float


class Reader(Protocol):
    """The owner of the questions."""

    @property
    def loss(self) -> int:
        """Counts how often messages may have been lost."""

    @property
    def wants(self) -> list[Want]: ...

    def current(self, wants: list[Want]) -> list[Want]:
        """Those of these that are still wanted."""

    def begin_again(self, stream: str) -> None:
        """The stream was deleted and created anew."""


class Asker:
    """Subscribes and sends requests for one Interest; the answers arrive in its queue."""

    def __init__(self, reader: Reader, bus: Bus, arrivals: Arrivals, resync_s: float, jitter_s: float) -> None:
        self._reader, self._bus, self._arrivals = reader, bus, arrivals
        self._resync_s, self._jitter_s = resync_s, jitter_s
        self._prefix = bus.nc.new_inbox()
        self._inbox: Subscription | None = None
        self._numbers = itertools.count(1)
        self._parts: dict[int, Part] = {}
        self._questions: deque[Question] = deque()
        self._retry: list[Want] = []
        self._left: list[Want] = []
        self._why: str | None = None
        self._wake = asyncio.Event()
        self.by_sid: dict[int, Want] = {}
        self.origins: dict[str, Origin] = {}

    def ask(self, wants: list[Want]) -> None:
        by_stream = itertools.groupby(sorted(wants, key=lambda want: want.stream), key=lambda want: want.stream)
        for _, group in by_stream:
            for slice_ in _slices(list(group), MOST_PATTERNS):
                self._queue(slice_)
        self._wake.set()

    def _queue(self, wants: list[Want]) -> None:
        """Join the last question if it has room, else append a new one."""
        last = self._questions[-1] if self._questions else None
        if (
            last
            and not last.one_by_one
            and last.wants[0].stream == wants[0].stream
            and len(last.wants) + len(wants) <= MOST_PATTERNS
        ):
            last.wants.extend(wants)
        else:
            self._questions.append(Question(wants))

    def split(self, wants: list[Want]) -> None:
        """Split the question, which had too many answers, and ask again."""
        half = len(wants) // 2
        if half:
            self._questions.extend((Question(wants[:half]), Question(wants[half:])))
        elif wants:
            self._questions.append(Question(wants, one_by_one=True))
        self._wake.set()

    def retry(self, wants: list[Want]) -> None:
        """Ask again: the question had no complete answer."""
        self._retry.extend(wants)
        self._wake.set()

    def leave(self, want: Want) -> None:
        self._left.append(want)
        self._wake.set()

    def reread(self, why: str) -> bool:
        """Schedule a re-read of everything; False if one was already scheduled."""
        if self._why not in (None, "resync"):
            return False
        self._why = why
        self._parts.clear()
        self._wake.set()
        return True

    def part(self, raw: Msg) -> Part | None:
        """The request that this message answers, or None if it has been repeated since."""
        return self._parts.get(_number(raw))

    def end(self, raw: Msg) -> None:
        del self._parts[_number(raw)]

    async def close(self, wants: Iterable[Want]) -> None:
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
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(_ANSWER_S, resync_at_s - loop.time()))):
                    await self._wake.wait()
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
                    question = self._questions.popleft()  # removed first, or wants might join it while it is being sent
                    await self._put(question)
            except (Missing, *TROUBLE) as error:
                log.info("interest_waits", reason=repr(error))
                await asyncio.sleep(_AGAIN_S)
                self._wake.set()

    def _overdue(self, now_s: float) -> None:
        """Schedule unanswered requests for a retry, unless unread messages are queued: the answer may be among them."""
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
                self.by_sid.pop(want.subscription._id, None)  # noqa: SLF001  # the id that messages carry in `sid`
                await want.subscription.unsubscribe()

    async def _reread(self) -> None:
        if self._why is not None:
            if self._why != "resync":
                await asyncio.sleep(random.uniform(0, self._jitter_s))
            await self._arrivals.calm.wait()  # requests to an overloaded reader would only cause more drops
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
        self.ask(self._reader.wants)

    async def _put(self, question: Question) -> None:
        """Send the requests of the question, or put it back for later if that fails.

        Raises:
            Missing: the stream does not exist.
        """
        wants = self._reader.current(question.wants)
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
            # Every request includes a mark, so that the answer tells up to where it is complete; an empty answer does
            # not.
            slices = [[*patterns, f"{patterns[0].split('.')[0]}._mark.>"]]
        reading.parts = len(slices)
        for slice_ in slices:
            await self._request(stream, slice_, reading)

    async def _begin(self, stream: str, wants: list[Want]) -> tuple[Reading | None, list[str]]:
        """Ensure that the server knows our live subscriptions for these wants; None if everything must be re-read."""
        if stream not in self.origins:
            self.origins[stream] = await origin(self._bus, stream)
        for want in wants:
            if want.subscription is None:
                want.subscription = await self._arrivals.subscribe(self._bus, subjects.live(want.pattern))
                self.by_sid[want.subscription._id] = want  # noqa: SLF001  # see _leave
        since = self._reader.loss
        known = self.origins[stream]
        # Requested after subscribing: by the time the server answers, it knows the subscriptions.
        here = await surely(self._bus, stream, known.created, known.last_sequence)
        if self._moved(stream, here):
            self._reader.begin_again(stream)
            self._ask_everything()
            return None, []
        return Reading(stream, wants, here.last_sequence, since), [want.pattern for want in wants]

    async def _matching(self, stream: str, pattern: str) -> list[str]:
        info = await patiently(self._bus, lambda: self._bus.js.stream_info(stream, subjects_filter=pattern))
        return sorted(info.state.subjects or {})

    def _moved(self, stream: str, here: Origin) -> bool:
        known, self.origins[stream] = self.origins[stream], here
        return here.created != known.created or here.last_sequence < known.last_sequence

    async def _request(self, stream: str, patterns: list[str], reading: Reading) -> None:
        number = next(self._numbers)
        deadline_s = asyncio.get_running_loop().time() + _ANSWER_S
        self._parts[number] = Part(reading, Answer(), deadline_s)
        await self._bus.nc.publish(
            f"{self._bus.api}.DIRECT.GET.{stream}", request(patterns), f"{self._prefix}.{number}"
        )


def _number(raw: Msg) -> int:
    return int(raw.subject.rpartition(".")[2])


def _slices(items: list[T], size: int) -> list[list[T]]:
    return [items[start : start + size] for start in range(0, len(items), max(size, 1))] or [[]]
