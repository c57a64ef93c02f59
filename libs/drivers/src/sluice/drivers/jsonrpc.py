"""JSON-RPC 1.0 over a Unix socket, as ovsdb-server and the control sockets of the Open vSwitch daemons speak it.

Messages follow each other without a separator, so the decoder finds where one ends. Both sides may send requests:
`echo` requests of the peer are answered here and its notifications passed on; anything else is a protocol error.

Source: RFC 7047 section 4, JSON-RPC 1.0.
"""

import asyncio
import codecs
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Self, cast

CALL_TIMEOUT_S = 10.0
KEEPALIVE_S = 10.0
"""Seconds between our echo requests; a peer that does not answer one within this time is considered dead."""

LONGEST_TEXT = 64 << 20
"""Characters. Anything longer is not JSON-RPC: the tables of a node take a few megabytes."""

Notice = Callable[[str, list[Any]], None]


class RpcGone(ConnectionError):
    """The connection ended, or the peer stopped answering; the caller has to reconnect."""


class RpcRefused(Exception):
    """The peer answered with an error."""

    def __init__(self, peer: str, method: str, error: object) -> None:
        super().__init__(f"{peer}: {method}: {error}")
        self.error = error


def ignore(method: str, params: list[Any]) -> None:
    """A handler for peers that send no notifications."""


class JsonRpc(asyncio.Protocol):
    """One connection. Once it has ended, `closed` holds the reason."""

    def __init__(self, path: Path, notice: Notice = ignore) -> None:
        self._path = path
        self._notice = notice
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._bytes_to_text = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._transport: asyncio.WriteTransport | None = None
        self._loop = asyncio.get_running_loop()
        self._beat: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[str] = self._loop.create_future()
        """Done when the connection has ended; its result is the reason. Never raises."""

    @classmethod
    async def connect(
        cls, path: Path, notice: Notice = ignore, *, keepalive_s: float | None = None, timeout_s: float = CALL_TIMEOUT_S
    ) -> Self:
        """Connect to the socket at `path`.

        Raises:
            OSError: nobody listens there, or the path is longer than the 107 bytes of a unix socket address.
            TimeoutError: the peer did not accept in time.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            _, rpc = await loop.create_unix_connection(lambda: cls(path, notice), str(path))
        if keepalive_s is not None:
            rpc.keep_alive(keepalive_s)
        return rpc

    async def call(self, method: str, params: list[Any], *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Call a method of the peer and return its result.

        Raises:
            RpcRefused: the peer answered with an error.
            RpcGone: the connection ended before the answer, or no answer came in time (which ends the connection).
        """
        number = next(self._numbers)
        answer = self._ask(number, method, params)
        try:
            async with asyncio.timeout(timeout_s):
                reply = await answer
        except TimeoutError as error:
            self.close(f"no answer to {method} in {timeout_s:g} s")
            raise RpcGone(f"{self._path}: no answer to {method} in {timeout_s:g} s: is the daemon alive?") from error
        finally:
            self._waiting.pop(number, None)
        if reply.get("error") is not None:
            raise RpcRefused(str(self._path), method, reply["error"])
        return reply.get("result")

    def close(self, reason: str = "closed by us") -> None:
        """End the connection; pending calls raise RpcGone."""
        if self.closed.done():
            return
        self.closed.set_result(reason)
        if self._beat is not None:
            self._beat.cancel()
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(RpcGone(f"{self._path}: {reason}"))

    # -------------------------------------------------------------------------------------------- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writable = cast("asyncio.WriteTransport", transport)  # uvloop's transports do not declare it
        self._transport = writable

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"connection lost: {exc}" if exc else "the daemon closed the connection")

    def data_received(self, data: bytes) -> None:
        try:
            self._text += self._bytes_to_text.decode(data)
            if self._text.endswith("}"):  # otherwise it is incomplete, and would be decoded twice
                self._take_texts()
        except ValueError as error:
            self.close(f"not JSON-RPC: {error}")
        if len(self._text) > LONGEST_TEXT:
            self.close(f"a text longer than {LONGEST_TEXT} characters")

    def _take_texts(self) -> None:
        position = 0
        while position < len(self._text):
            if self._text[position] != "{":
                raise ValueError(f"a text begins with {self._text[position : position + 20]!r}")
            try:
                message, position = _DECODER.raw_decode(self._text, position)
            except json.JSONDecodeError:
                break  # incomplete
            self._take(message)
        self._text = self._text[position:]

    def _take(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method is None:
            answer = self._waiting.pop(message.get("id", 0), None)
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif method == "echo":
            self._send({"id": message.get("id"), "result": message.get("params"), "error": None})
        elif message.get("id") is None:
            self._notice(method, message.get("params", []))
        else:
            self._send({"id": message["id"], "result": None, "error": "unknown method"})

    # ---------------------------------------------------------------------------------------------- our side

    def _ask(self, number: int, method: str, params: list[Any]) -> asyncio.Future[dict[str, Any]]:
        if self.closed.done():
            raise RpcGone(f"{self._path}: {self.closed.result()}")
        answer: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._waiting[number] = answer
        self._send({"id": number, "method": method, "params": params})
        return answer

    def _send(self, message: dict[str, Any]) -> None:
        if self._transport is not None and not self.closed.done():
            self._transport.write(json.dumps(message, separators=(",", ":")).encode())

    def keep_alive(self, every_s: float, unanswered: asyncio.Future[dict[str, Any]] | None = None) -> None:
        """Send an echo request now and every `every_s`; close the connection if the previous one was not answered."""
        if self.closed.done():
            return
        if unanswered is not None and not unanswered.done():
            self.close(f"no answer to an echo in {every_s:g} s")
            return
        echo = self._ask(next(self._numbers), "echo", [])
        echo.add_done_callback(lambda done: done.cancelled() or done.exception())  # checked when the next one is due
        self._beat = self._loop.call_later(every_s, self.keep_alive, every_s, echo)


_DECODER = json.JSONDecoder()
