"""Serves requests to a service on the bus (request-reply); nothing is stored."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from nats.aio.msg import Msg

from sluice.contracts import codec
from sluice.runtime.bus import Bus

Answer = Callable[[bytes], Awaitable[msgspec.Struct]]


async def answer(bus: Bus, subject: str, find: Answer) -> None:
    """Answer requests on this subject until cancelled."""

    async def take(message: Msg) -> None:
        if message.reply:
            await message.respond(codec.encode(await find(message.data)))

    subscription = await bus.nc.subscribe(subject, cb=take)
    try:
        await asyncio.Event().wait()
    finally:
        if bus.nc.is_connected:
            await subscription.unsubscribe()
