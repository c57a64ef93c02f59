"""Commands that query a running bus: a lab's, or any by its URL."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import click

from sluice.cli import options

T = TypeVar("T")

CONNECT_S = 5.0
"""For a bus that should be running."""

PORT = 4222
"""NATS's default port."""

KEYS = "SLUICE_NATS_KEYS"
"""Environment variable: the folder of the operator's keys, a keyring's `identities/person.operator`; for a bus with
identities."""

SERVER_NAME = "SLUICE_NATS_SERVER_NAME"
"""Environment variable: the name in the server's certificate if the URL's differs, as for a forwarded port."""

_bus = [
    click.option("--nats-url", metavar="URL", help="URL of the bus. Default: that of a running lab."),
    click.option("--name", metavar="LAB", help="Name of the lab. Default: the only one running."),
]


def on_a_bus(command: Any) -> Any:  # Any: as click's own decorators
    for option in reversed(_bus):
        command = option(command)
    return command


class NoBus(OSError):
    """There is no bus at the address, or it has no data of Sluice."""


def url(nats_url: str | None, name: str | None) -> str:
    if nats_url:
        return nats_url
    from sluice.lab import state

    try:
        return state.read(name).nats_url
    except state.NoLab as error:
        options.refuse([f"{error}, or give the URL of a bus with --nats-url"])


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run with only errors logged and return the result; a missing bus ends the command."""
    import asyncio
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        return asyncio.run(work)
    except NoBus as error:
        options.refuse([str(error)])


@contextlib.asynccontextmanager
async def connected(bus_url: str) -> AsyncIterator[Any]:  # Any: a Bus, which is imported lazily
    """A connection to the bus. What goes wrong with the bus meanwhile becomes a NoBus that names its URL."""
    import asyncio

    import nats.errors

    from sluice.runtime.bus import Bus
    from sluice.runtime.streams import Missing

    try:
        async with asyncio.timeout(CONNECT_S):
            bus = await Bus.connect(bus_url, name="sluice", credentials=_credentials(bus_url))
    except nats.errors.Error as error:
        raise NoBus(f"{bus_url}: {error}") from None
    except TimeoutError:
        raise NoBus(f"{bus_url}: {await _why(bus_url)}") from None
    async with bus:
        try:
            yield bus
        except Missing as error:
            raise NoBus(f"{bus_url}: {error}") from None
        except nats.errors.Error as error:
            raise NoBus(f"{bus_url}: {error}; does the bus still run? Try again") from None


def unread(bus_url: str) -> NoBus:
    """The error for streams that could not be read in time."""
    from sluice.runtime.streams import NOT_OURS

    return NoBus(f"{bus_url}: the streams of Sluice could not be read in {CONNECT_S:g} s; {NOT_OURS}")


async def _why(bus_url: str) -> str:
    """Why a bus may not have answered, and what to do."""
    import asyncio
    from urllib.parse import urlsplit

    parts = urlsplit(bus_url)
    if not parts.hostname or parts.scheme not in ("nats", "tls", "ws", "wss"):
        return "not the URL of a bus; write it as nats://HOST:4222"
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or PORT)
            writer.close()
    except OSError as error:  # including TimeoutError
        known = os.strerror(error.errno) if isinstance(error, ConnectionError) and error.errno else error.strerror
        return f"no bus answers: {known or 'nothing comes back'}; start one, or check --nats-url"
    return f"no bus answers, or it does not accept the connection; for a bus with identities, set {KEYS} to your keys"


def _credentials(bus_url: str) -> Any:
    """The operator's credentials, from the environment or from a lab whose bus has identities."""
    from pathlib import Path

    from sluice.contracts.identities import OPERATOR
    from sluice.lab import claim, state
    from sluice.runtime.credentials import Credentials

    folder = os.environ.get(KEYS, "")
    if not folder:
        for owner in claim.owners():
            with contextlib.suppress(state.NoLab):
                known = state.read(owner.name)
                folder = known.nats_keys if known.nats_url == bus_url else folder
    return (
        Credentials(identity=OPERATOR, folder=Path(folder), server_name=os.environ.get(SERVER_NAME, ""))
        if folder
        else None
    )
