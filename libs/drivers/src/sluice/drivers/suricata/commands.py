"""Commands to a running engine through its Unix socket.

A handshake with the protocol version, then consecutive JSON objects in each direction.
Source: Suricata user guide, "Interacting via Unix Socket", protocol 0.2.
"""

import asyncio
import json
from pathlib import Path
from typing import Any, Self

VERSION = {"version": "0.2"}

ANSWER_TIMEOUT_S = 10.0
"""Commands about tenants take 0.26 to 0.41 s, mostly a sleep in the engine; they run one at a time."""


class EngineGone(ConnectionError):
    """No engine listens, it exited, or it did not answer in time."""


class EngineRefused(Exception):
    """The engine answered that the command failed."""


class Commands:
    """One connection. The engine runs one command at a time across all clients; so does this class."""

    def __init__(self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._path, self._reader, self._writer = path, reader, writer
        self._turn = asyncio.Lock()

    @classmethod
    async def connect(cls, path: Path, *, timeout_s: float = ANSWER_TIMEOUT_S) -> Self:
        """Connect to the engine at this socket.

        Raises:
            EngineGone: nobody listens there, or it is no such engine. The existence of the file proves nothing: it
                stays behind when the engine exits.
        """
        try:
            async with asyncio.timeout(timeout_s):
                commands = cls(path, *await asyncio.open_unix_connection(path))
        except (OSError, TimeoutError) as error:
            raise EngineGone(f"{path}: {str(error) or 'no connection in time'}") from error
        try:
            await commands._exchange(VERSION, "version", timeout_s)
        except BaseException:
            commands.close()
            raise
        return commands

    async def call(self, command: str, /, *, timeout_s: float = ANSWER_TIMEOUT_S, **arguments: object) -> Any:  # theirs
        """Run a command and return the engine's answer.

        Raises:
            EngineRefused: the command failed.
            EngineGone: it exited or did not answer; whether the command was carried out is unknown.
        """
        asked: dict[str, object] = {"command": command}
        if arguments:
            asked["arguments"] = arguments
        return await self._exchange(asked, command, timeout_s)

    def close(self) -> None:
        """Close the connection; a pending command gets no answer."""
        self._writer.transport.abort()

    async def _exchange(self, asked: dict[str, Any], name: str, timeout_s: float) -> Any:
        async with self._turn:
            try:
                async with asyncio.timeout(timeout_s):
                    self._writer.write(json.dumps(asked).encode() + b"\n")
                    answer = await self._answer()
            except (OSError, TimeoutError) as error:
                self.close()  # a late answer would be taken for that of the next command
                raise EngineGone(f"{self._path}: {name}: {str(error) or f'no answer in {timeout_s:g} s'}") from error
        if answer.get("return") != "OK":
            raise EngineRefused(f"{self._path}: {name}: {answer.get('message', answer)}")
        return answer.get("message")

    async def _answer(self) -> dict[str, Any]:
        """The next object. There is no delimiter, so the decoder finds out when it is complete."""
        text = b""
        while True:
            more = await self._reader.read(1 << 16)
            if not more:
                raise ConnectionResetError("the engine closed the connection")
            text += more
            try:
                answer: dict[str, Any] = json.loads(text)
            except ValueError:
                continue
            return answer
