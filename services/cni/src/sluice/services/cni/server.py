"""The socket that the plugin connects to: one request per connection."""

import asyncio
import os
import time
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from sluice.contracts import codec
from sluice.drivers import veth
from sluice.runtime.metrics import METRICS
from sluice.services.cni import protocol
from sluice.services.cni.attaching import Attaching
from sluice.services.cni.protocol import VERSIONS, CniFailed, Code, Owner, Request

log = structlog.get_logger()

_requests = METRICS.counter("sluice_cni_requests_total", "Requests of the container runtime that succeeded", "command")
_failures = METRICS.counter("sluice_cni_failures_total", "Requests of the container runtime that failed", "command")
_seconds = METRICS.counter("sluice_cni_request_seconds_total", "Total duration of requests, in seconds", "command")

MOST_BYTES = 8 << 20
"""Maximum size of a request: a GC lists every attachment of the node."""


class Asked(Struct):
    variables: dict[str, str]
    stdin: str


async def serve(path: Path, attaching: Attaching) -> asyncio.Server:
    """Listen on the socket, which only its owner may connect to."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            code, out = await _answer(attaching, await reader.read())
            writer.write(codec.encode({"exit": code, "out": out.decode()}))
            await writer.drain()
        except (OSError, asyncio.LimitOverrunError) as error:
            log.warning("plugin_gone", reason=str(error))
        finally:
            writer.close()

    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # left by a previous daemon
    before = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(answer, path, backlog=512, limit=MOST_BYTES)
    finally:
        os.umask(before)


async def _answer(attaching: Attaching, body: bytes) -> tuple[int, bytes]:
    """Exit code and output of the plugin."""
    began, command, version = time.monotonic(), "?", VERSIONS[-1]
    try:
        asked = msgspec.json.decode(body, type=Asked)
        command = asked.variables.get("CNI_COMMAND", "?")
        request = protocol.read(asked.variables, asked.stdin.encode())
        version = request.config.version
        out = await _fulfil(attaching, request)
    except CniFailed as error:
        _failures.add(1, command)
        log.warning("cni_failed", command=command, code=int(error.code), reason=error.message)
        return 1, error.encode(version)
    except Exception as error:  # a bug of ours fails one request, not the daemon
        _failures.add(1, command)
        log.exception("cni_failed", command=command)
        return 1, CniFailed(Code.IO, f"{type(error).__name__}: {error}").encode(version)
    _requests.add(1, command)
    _seconds.add(time.monotonic() - began, command)
    return 0, out


async def _fulfil(attaching: Attaching, request: Request) -> bytes:
    match request.command:
        case "ADD":
            return protocol.result(request, await attaching.add(request), veth.GATEWAY)
        case "DEL":
            await attaching.delete(request.owner)
        case "CHECK":
            await attaching.check(request)
        case "GC":
            valid = request.config.valid or ()
            await attaching.keep(frozenset(Owner(each.container_id, each.ifname) for each in valid))
        case "STATUS":
            await attaching.ready()
    return b""
