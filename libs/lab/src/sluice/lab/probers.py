"""The lab's side of the probers: starting one in each Pod's namespace, and sending it requests."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import msgspec
from msgspec import Struct

from sluice.lab import prober
from sluice.lab.checks import Got, Question
from sluice.lab.records import Records
from sluice.lab.scenario import HttpRequest, TlsHello

TRIES = 2
TRY_S = 0.25
"""A probe is Dropped if two tries of a quarter of a second each get no answer."""

ASKING_TRY_S = 1.0
"""For probes answered by a request or a handshake: several round trips, possibly through an engine."""

SPARE_S = 15.0
"""Extra time beyond the tries for a reply; allows for the machine's load, not the network."""


PLAIN = "".join(map(chr, range(0x21, 0x7F)))
"""Printable ASCII: the characters allowed in a request line, including `%` of encoded ones."""


class ProberGone(Exception):
    """The process in the Pod's namespace is not running, or could not be started."""


class Result(Struct, frozen=True):
    result: Got
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.result}: {self.detail}" if self.result == "Error" else self.result


class _Answer(Struct, frozen=True):
    id: int
    results: tuple[Result, ...]


class _Begun(Struct, frozen=True):
    """A child's first message: it serves, or why it could not start."""

    started: str = ""
    pid: int = 0
    failed: str = ""
    reason: str = ""


class Prober:
    """The process in one Pod."""

    def __init__(
        self, pod: str, pid: int, socket: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.pod, self.pid, self.socket = pod, pid, socket
        self._writer = writer
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[tuple[Result, ...]]] = {}
        self._reading = asyncio.create_task(self._read(reader), name=f"prober {pod}")

    @classmethod
    async def connect(cls, pod: str, pid: int, socket: Path) -> Self:
        """Connect to a running prober; it accepts any number of connections.

        Raises:
            ProberGone: nobody listens there.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(socket, limit=16 << 20)
        except OSError as error:
            raise ProberGone(f"{pod}: its prober does not run: {error}") from error
        return cls(pod, pid, socket, reader, writer)

    async def ask(
        self, questions: Sequence[Question], *, tries: int = TRIES, try_s: float = TRY_S
    ) -> tuple[Result, ...]:
        """Send all packets at once; returns what became of them.

        Raises:
            ProberGone
        """
        return await self._request({"probe": [_order(question) for question in questions]}, tries, try_s)

    async def open(self, name: str, question: Question, *, tries: int = TRIES, try_s: float = TRY_S) -> Result:
        """Open a long-lived connection with this name, and return whether it works.

        Raises:
            ProberGone
        """
        return (await self._request({"open": {"name": name, **_order(question)}}, tries, try_s))[0]

    async def check(
        self, name: str, question: Question | None = None, *, tries: int = TRIES, try_s: float = TRY_S
    ) -> Result:
        """Whether the connection still carries data; if it speaks HTTP, sends the question's request.

        Raises:
            ProberGone
        """
        what = {"name": name, **_order(question)} if question else {"name": name}
        return (await self._request({"check": what}, tries, try_s))[0]

    async def close_connection(self, name: str) -> None:
        """Close and forget the connection.

        Raises:
            ProberGone
        """
        await self._request({"close": name}, 0, 0)

    async def say_names(self, records: Records) -> None:
        """Set the records of its DNS server.

        Raises:
            ProberGone
        """
        await self._request({"names": records}, 0, 0)

    async def disconnect(self) -> None:
        """Disconnect; the prober goes on serving."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def _request(self, what: Mapping[str, Any], tries: int, try_s: float) -> tuple[Result, ...]:
        number = next(self._numbers)
        answer: asyncio.Future[tuple[Result, ...]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        if self._reading.done():
            raise ProberGone(f"{self.pod}: its prober has ended")
        request = {"id": number, "tries": tries, "timeout_ms": try_s * 1000, **what}
        try:
            self._writer.write(msgspec.json.encode(request) + b"\n")
            async with asyncio.timeout(tries * try_s + SPARE_S):
                return await answer
        except TimeoutError as error:
            raise ProberGone(f"{self.pod}: its prober does not answer") from error
        finally:
            del self._waiting[number]

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                answer = msgspec.json.decode(line, type=_Answer)
                if (waiting := self._waiting.get(answer.id)) and not waiting.done():
                    waiting.set_result(answer.results)
        except OSError:
            pass  # as if it had closed the connection
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ProberGone(f"{self.pod}: its prober has ended"))


class Probers:
    """The parent of all probers. If it is killed its children live on, and the next start creates a new parent."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._folder, self._variables = folder, variables
        self._parent: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting: dict[str, asyncio.Future[int]] = {}
        self._numbers = count(1)

    async def start(
        self,
        pod: str,
        netns: Path | None,
        ports: Sequence[int],
        *,
        every_sctp_port: bool = False,
        serves_names: bool = False,
    ) -> Prober:
        """Start a prober that serves these ports in the namespace (None: the current one).

        Raises:
            ProberGone: it could not be started; says why.
        """
        parent = await self._running()
        socket = self._folder / f"{next(self._numbers)}.sock"
        started = self._starting[pod] = asyncio.get_running_loop().create_future()
        order = {
            "start": pod,
            "netns": str(netns) if netns else None,
            "socket": str(socket),
            "ports": ports,
            "every_sctp_port": every_sctp_port,
            "serves_names": serves_names,
        }
        assert parent.stdin is not None
        parent.stdin.write(msgspec.json.encode(order) + b"\n")
        try:
            async with asyncio.timeout(SPARE_S):
                pid = await started
        except TimeoutError as error:
            raise ProberGone(f"{pod}: its prober does not start: see {self._folder}/probers.log") from error
        finally:
            del self._starting[pod]
        return await Prober.connect(pod, pid, socket)

    async def stop(self) -> None:
        """End the parent; the children are killed one by one, or by the sweep."""
        if self._parent and self._reading:
            with contextlib.suppress(ProcessLookupError):
                self._parent.kill()
            await self._parent.wait()
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def _running(self) -> asyncio.subprocess.Process:
        if self._parent is None or self._parent.returncode is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / "probers.log").open("ab") as log:
                self._parent = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", prober.__name__),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, **self._variables},
                    start_new_session=True,
                )
            assert self._parent.stdout is not None
            self._reading = asyncio.create_task(self._read(self._parent.stdout), name="probers")
        return self._parent

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            begun = msgspec.json.decode(line, type=_Begun)
            waiting = self._starting.get(begun.started or begun.failed)
            if waiting is None or waiting.done():
                continue
            if begun.started:
                waiting.set_result(begun.pid)
            else:
                waiting.set_exception(ProberGone(f"{begun.failed}: it cannot serve: {begun.reason}"))


async def ask_each(
    of: Callable[[str], Prober], questions: Sequence[Question], *, tries: int = TRIES, try_s: float = TRY_S
) -> list[Result]:
    """Send all packets at once, each by its sender's prober; returns what became of them, in order."""
    by_source: dict[str, list[int]] = {}
    for index, question in enumerate(questions):
        by_source.setdefault(question.from_, []).append(index)

    async def from_one(pod: str, indexes: list[int]) -> Sequence[Result]:
        try:
            return await of(pod).ask([questions[index] for index in indexes], tries=tries, try_s=try_s)
        except ProberGone as error:
            return [Result("Error", str(error))] * len(indexes)

    answers = await asyncio.gather(*(from_one(pod, indexes) for pod, indexes in by_source.items()))
    results: dict[int, Result] = {}
    for indexes, answer in zip(by_source.values(), answers, strict=True):
        results |= dict(zip(indexes, answer, strict=True))
    return [results[index] for index in range(len(questions))]


def _order(question: Question) -> dict[str, Any]:
    return {
        "protocol": question.protocol,
        "address": question.address,
        "port": question.port,
        "source_port": question.source_port,
        "icmp_type": question.icmp.type if question.icmp else None,
        "requests": list(map(partial(_text, question.address), _requests(question))),
        "least_ms": ASKING_TRY_S * 1000 if question.asks else 0,
        "sni": question.asks.sni if isinstance(question.asks, TlsHello) else None,
        "resolve": msgspec.to_builtins(question.resolve),
    }


def _requests(question: Question) -> tuple[HttpRequest, ...]:
    return (question.asks, *question.pipelined) if isinstance(question.asks, HttpRequest) else ()


def _text(address: str, request: HttpRequest) -> str:
    """The text of the request. If its method has a body, the body is declared empty."""
    host = request.host or (f"[{address}]" if ":" in address else address)
    body = "Content-Length: 0\r\n" if request.method in ("POST", "PUT", "PATCH") else ""
    return f"{request.method} {quote(request.path, safe=PLAIN)} HTTP/1.1\r\nHost: {host}\r\n{body}\r\n"
