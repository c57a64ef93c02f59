"""A nats-server of its own for each test that asks for one: it starts in a tenth of a second."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from sluice.runtime import streams
from sluice.runtime.bus import Bus, Limits
from sluice.runtime.natsserver import NatsServer

LIMITS = Limits(max_bytes=64 << 20)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    running = await NatsServer.start(tmp_path / "nats")
    yield running
    await running.stop()


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    """The writer's connection; the streams are there."""
    async with await Bus.connect(server.url, name="test.writer", limits=LIMITS) as connected:
        await streams.ensure(connected)
        yield connected


@pytest.fixture
async def reader(server: NatsServer) -> AsyncIterator[Bus]:
    """Another connection."""
    async with await Bus.connect(server.url, name="test.reader", limits=LIMITS) as connected:
        yield connected


Until = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


@pytest.fixture
def until() -> Until:
    """Waits for something that only asking can tell."""

    async def wait(reached: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(60):
            while not await reached():  # noqa: ASYNC110  # the server sends no event for it
                await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def stored(bus: Bus, until: Until) -> Callable[[str, int], Awaitable[None]]:
    """Waits until the stream, a mirror perhaps, has got so far."""

    async def wait(stream: str, sequence: int) -> None:
        async def reached() -> bool:
            return (await streams.origin(bus, stream)).last_sequence >= sequence

        await until(reached)

    return wait
