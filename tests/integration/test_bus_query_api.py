"""query-api's keeper on a real bus: checkpoints in time, one writer, restarts and a ledger that is made anew."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from tests.integration.conftest import Source

from sluice.runtime import past, streams
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer
from sluice.services.query_api.keeping import Keeper
from sluice.testkit.builders import namespace, pod


async def until(reached: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await reached():  # noqa: ASYNC110  # only asking tells
            await asyncio.sleep(0.02)


async def lasts(bus: Bus) -> list[int]:
    return [one.last for one in await past.checkpoints(bus, (await past.reach(bus)).epoch)]


async def test_checkpoints_are_kept_through_restarts_by_one(server: NatsServer, source: Source, bus: Bus) -> None:
    async def kept(*expected: int) -> None:
        async def reached() -> bool:
            return await lasts(bus) == list(expected)

        await until(reached)

    async with AsyncExitStack() as stack:

        async def keeper(name: str) -> tuple[Keeper, asyncio.Task[None]]:
            own = await stack.enter_async_context(await Bus.connect(server.url, name=name))
            made = Keeper(own, "query-api", name, every=10)
            return made, asyncio.create_task(made.run())

        await source.put(namespace("x"), *(pod(f"x/p{number}") for number in range(14)))
        one, running = await keeper("one")
        await one.elected.wait()
        other, waiting = await keeper("other")
        await kept(10)
        assert (one.elected.is_set(), other.elected.is_set()) == (True, False)
        await source.put(*(pod(f"x/p{number}", ip=f"10.0.0.{number}") for number in range(7)))
        await kept(10, 20)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await source.put(*(pod(f"x/p{number}", ip=f"10.0.1.{number}") for number in range(9)))
        await kept(10, 20, 30)
        assert other.elected.is_set()
        assert not (await past.verified(bus)).findings
        moment = await past.moment(bus, 30)
        assert len(moment.held.held) == 15

        await bus.js.delete_stream("LEDGER")
        await streams.ensure(bus)
        for number in range(10):
            await bus.js.publish(f"objects.pods.x.new{number}", b"{}")
        await kept(10)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
