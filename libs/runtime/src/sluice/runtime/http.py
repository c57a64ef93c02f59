"""Minimal HTTP/1.1 to serve an ASGI application to probes and scrapers: GET and HEAD, one request per connection."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

Scope = MutableMapping[str, Any]  # Any: as ASGI defines it
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_MOST_BYTES = 16 << 10  # of a request's head
_TIMEOUT_S = 5


async def serve(application: Application, host: str, port: int) -> asyncio.Server:
    """Start a listening server; port 0 picks a free one."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                await _answer(application, head, writer)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # the client is gone, or never sent a request
        finally:
            writer.close()

    return await asyncio.start_server(answer, host, port, limit=_MOST_BYTES)


async def _answer(application: Application, head: bytes, writer: asyncio.StreamWriter) -> None:
    match head.split(b"\r\n", 1)[0].split(b" "):
        case [method, target, b"HTTP/1.1" | b"HTTP/1.0"]:
            path, _, query = target.partition(b"?")
        case _:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method.decode("latin-1"),
        "path": path.decode("latin-1"),
        "query_string": query,
        "headers": [],
    }

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            status = HTTPStatus(event["status"])
            lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), b"connection: close"]
            lines += [name + b": " + value for name, value in event.get("headers", ())]
            writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
        elif event["type"] == "http.response.body" and method != b"HEAD":
            writer.write(event.get("body", b""))

    await application(scope, receive, send)
