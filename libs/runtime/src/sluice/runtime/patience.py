"""Retries until the request succeeds: the server is down, JetStream is not ready yet, or an answer was lost."""

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
    NoStreamResponseError,  # the same for a publish; or the stream was just deleted
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.OutboundBufferLimitError,
    nats.errors.ConnectionReconnectingError,
)
"""Errors that a retry may cure."""

_NO_PEERS = 10005
"""The cluster has too few servers to place what is created: some have just started, or are down.

Source: nats-server 2.15.1, server/errors.json, JSClusterNoPeersErrF.
"""

_FIRST_WAIT_S = 0.02
_LONGEST_WAIT_S = 1.0


async def patiently(bus: Bus, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of `ask`, retried for as long as it fails with transient errors. Every other error is raised.

    A retried request may have been executed twice.
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
    """Await the result, but not beyond the loss of the connection, after which the answer cannot arrive."""
    asked = asyncio.ensure_future(asking)
    try:
        first: list[asyncio.Future[Any]] = [asked, bus.dropped]  # Any: their results have different types
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise nats.errors.ConnectionReconnectingError
        return asked.result()
    finally:
        asked.cancel()
