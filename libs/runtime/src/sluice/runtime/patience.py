"""Retries until the world is ready: the server is away, JetStream is not ready yet, or an answer was lost."""

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, TypeVar

import nats.errors
import structlog
from nats.js.errors import APIError, NoStreamResponseError, ServiceUnavailableError

from sluice.runtime.bus import Bus

T = TypeVar("T")

log = structlog.get_logger()

TROUBLE = (
    ServiceUnavailableError,  # no responders: JetStream is not up, or the stream has no leader
    NoStreamResponseError,  # the same of a publish; or the stream was deleted this moment
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.OutboundBufferLimitError,
    nats.errors.ConnectionReconnectingError,
)
"""What another try may cure."""

_NO_PEERS = 10005
"""Too few servers of the cluster are there to hold what is made: some have just started, or are away.

Source: nats-server 2.15.1, server/errors.json, JSClusterNoPeersErrF.
"""

_FIRST_WAIT_S = 0.02
_LONGEST_WAIT_S = 1.0


async def patiently(bus: Bus, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What `ask` returns, tried for as long as it meets nothing but world trouble. Every other error is raised.

    It may be asked twice, and both may have an effect.
    """
    wait_s, since_s = _FIRST_WAIT_S, monotonic()
    while True:
        await bus.connected.wait()
        try:
            answer = await _while_connected(bus, ask())
        except TROUBLE as error:
            log.debug("request_retried", error=repr(error), wait_s=wait_s)
            await bus.not_heard(since_s)
        except APIError as error:
            if error.err_code != _NO_PEERS:
                raise
            if wait_s == _FIRST_WAIT_S:
                log.warning("servers_awaited", bus=bus.name, error=str(error))
        else:
            if wait_s > _FIRST_WAIT_S:
                bus.heard()
            return answer
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


async def _while_connected(bus: Bus, asking: Coroutine[Any, Any, T]) -> T:
    """Its result, but not longer than the connection lasts: the answer to what was asked on it will not come."""
    asked = asyncio.ensure_future(asking)
    try:
        first: list[asyncio.Future[Any]] = [asked, bus.dropped]  # Any: they have nothing in common
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise nats.errors.ConnectionReconnectingError
        return asked.result()
    finally:
        asked.cancel()
