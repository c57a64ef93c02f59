"""JSON-RPC 1.0 over a unix socket, as ovsdb-server and the control sockets of the Open vSwitch daemons speak it.

Texts follow each other without a separator, so the decoder itself finds where one ends. Both sides may call: the
other's `echo` is answered here, its notifications are handed on, anything else is an error of the peer.

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
"""Seconds between our own echoes; a peer that answers none for as long is taken for dead."""

LONGEST_TEXT = 64 << 20
"""Characters. What grows beyond is not JSON-RPC: the tables of a node are a few megabytes."""

Notice = Callable[[str, list[Any]], None]


class RpcGone(ConnectionError):
    """The connection ended, or the peer stopped answering; the caller connects anew."""


class RpcRefused(Exception):
    """The peer answered with an error."""

    def __init__(self, peer: str, method: str, error: object) -> None:
        super().__init__(f"{peer}: {method}: {error}")
        self.error = error


def ignore(method: str, params: list[Any]) -> None:
    """For peers that notify nobody."""


class JsonRpc(asyncio.Protocol):
    """One connection. It ends once; `closed` then says why."""

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
        """Done when the connection has ended, with the reason. It never raises."""

    @classmethod
    async def connect(
        cls, path: Path, notice: Notice = ignore, *, keepalive_s: float | None = None, timeout_s: float = CALL_TIMEOUT_S
    ) -> Self:
        """A connection to the socket at `path`.

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
        """The result of the peer's method.

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
        """End the connection; who waits for an answer gets RpcGone."""
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
        writable = cast("asyncio.WriteTransport", transport)  # uvloop's is one without saying so
        self._transport = writable

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"connection lost: {exc}" if exc else "the daemon closed the connection")

    def data_received(self, data: bytes) -> None:
        try:
            self._text += self._bytes_to_text.decode(data)
            if self._text.endswith("}"):  # else the last text is unfinished, and trying it would read it twice
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
                break  # unfinished
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
        """Ask for an echo at once and then every so often; end the connection when one was not answered."""
        if self.closed.done():
            return
        if unanswered is not None and not unanswered.done():
            self.close(f"no answer to an echo in {every_s:g} s")
            return
        echo = self._ask(next(self._numbers), "echo", [])
        echo.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at when the next is due
        self._beat = self._loop.call_later(every_s, self.keep_alive, every_s, echo)


_DECODER = json.JSONDecoder()
