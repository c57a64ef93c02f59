"""A nats-server for each test, a source of objects, and what is stored in the end."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import structlog

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject, Listed
from sluice.grouping.events import ObjectKey, key_of
from sluice.runtime.bus import Bus, Limits
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.output import Output

LIMITS = Limits(max_bytes=64 << 20)
_LONGEST_S = 100  # for what takes milliseconds on one server, and some elections on three


@pytest.fixture(autouse=True)
def logs_aside() -> Iterator[None]:
    """Services that run in the test's own process log elsewhere: what a command beside them says is its own."""
    structlog.reset_defaults()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.__stderr__))
    yield
    structlog.reset_defaults()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    running = await NatsServer.start(tmp_path / "nats")
    yield running
    await running.stop()


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    async with await Bus.connect(server.url, name="test", limits=LIMITS) as connected:
        yield connected


class Source:
    """Stores objects as ingest does, and remembers them."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.objects: dict[ObjectKey, AnyObject] = {}

    async def put(self, *objects: AnyObject) -> Revision:
        for obj in objects:
            key = key_of(obj)
            self.objects[key] = obj
            self._output.put(subjects.object_(*key), codec.encode(obj))
        return await self.settled()

    async def delete(self, *keys: ObjectKey) -> Revision:
        for key in keys:
            self.objects.pop(key, None)
            self._output.remove(subjects.object_(*key))
        return await self.settled()

    async def spoil(self, key: ObjectKey) -> Revision:
        """The object's newest version does not decode."""
        self._output.put(subjects.object_(*key), b'{"apiVersion":1}')
        return await self.settled()

    async def listed(self, *kinds: Kind) -> Revision:
        """The first listing of these kinds ends here; without any, of all."""
        for kind in kinds or tuple(Kind):
            self._output.mark(subjects.listed(kind), Listed(kind=kind, source="test"))
        return await self.settled()

    async def settled(self) -> Revision:
        async with asyncio.timeout(_LONGEST_S):
            await self._output.settled()
        return self._output.revision


@pytest.fixture
async def source(bus: Bus) -> AsyncIterator[Source]:
    async with await Output.open(bus, "LEDGER", ["objects.>"]) as output:
        yield Source(output)


class Stored:
    """What a stream holds by and by: members and programs, without their causes, so that they can be compared."""

    def __init__(self, bus: Bus, stream: str) -> None:
        self._events = follow(bus, stream)
        self.values: dict[str, object] = {}
        self.history: list[tuple[str, bool]] = []
        """Subjects as they were told, and whether they hold something since then."""

        self.reached: dict[str, Revision] = {}
        """What each mark says."""

    async def until(self, mark: str, upto: Revision) -> Mapping[str, object]:
        """What is stored once the mark says that everything up to this revision is; marks aside."""
        async with asyncio.timeout(_LONGEST_S):
            while self.reached.get(mark, Revision(0, 0)) < upto:
                self._take(await anext(self._events))
        return dict(self.values)

    async def caught_up(self) -> Mapping[str, object]:
        """What is stored now; marks aside."""
        async with asyncio.timeout(_LONGEST_S):
            while True:
                event = await anext(self._events)
                self._take(event)
                if isinstance(event, CaughtUp):
                    return dict(self.values)

    def _take(self, event: object) -> None:
        match event:
            case Message(subject=subject, body=body) if "._mark." in subject:
                self.reached[subject] = Revision(*codec.decode(body or b"{}", dict).get("upto", (0, 0)))
            case Message(subject=subject) if "._route." in subject:
                pass
            case Message(subject=subject, body=b""):
                self.history.append((subject, False))
                self.values.pop(subject, None)
            case Message(subject=subject, body=body):
                self.history.append((subject, True))
                value = codec.decode(body, dict)
                value.pop("cause", None)
                self.values[subject] = value
            case NewEpoch():
                self.values.clear()
                self.reached.clear()
            case _:
                pass

    async def close(self) -> None:
        await self._events.close()


@pytest.fixture
async def watch(bus: Bus) -> AsyncIterator[Callable[[str], Stored]]:
    """Watches a stream."""
    watching: list[Stored] = []

    def begin(stream: str) -> Stored:
        watching.append(Stored(bus, stream))
        return watching[-1]

    yield begin
    for stored in watching:
        await stored.close()
