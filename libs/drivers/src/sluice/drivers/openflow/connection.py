"""A connection to a switch: version negotiation, framing, replies by xid, echoes. It knows nothing about flows.

Source: OpenFlow 1.5.1 sections 6.3 (connection), 7.1 (header), 7.5.1 (hello), 7.5.2 (echo).
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, cast

from sluice.drivers.openflow.errors import RequestRefused, SwitchError, SwitchGone, VersionRefused, decode_error
from sluice.drivers.openflow.headers import HEADER, VERSION, VERSIONS, Message, Type, message
from sluice.drivers.openflow.stats import MULTIPART, REPLY_MORE

CONNECT_TIMEOUT_S = 5.0
REPLY_TIMEOUT_S = 10.0

KEEPALIVE_S = 5.0
"""Seconds of silence after which an echo request is sent."""

PATIENCE_S = 15.0
"""Seconds of silence after which the switch is considered dead; for long commits see `patient`."""

WRITE_AHEAD = 1 << 20
"""Octets that may be buffered for the switch before writing pauses."""

STRAYS_KEPT = 100

HELLO_BITMAP = b"\x00\x01\x00\x08" + (1 << VERSION).to_bytes(4, "big")
"""OFPHET_VERSIONBITMAP: only this version is offered."""

Event = Callable[[Message], None]
OnError = Callable[[int, SwitchError], bool]


class Connection(asyncio.Protocol):
    """One connection. Once it has ended, `closed` holds the reason; the user has to reconnect."""

    def __init__(self, path: Path, event: Event) -> None:
        self.path = path
        self.strays: deque[SwitchError] = deque(maxlen=STRAYS_KEPT)
        """Errors that belong to no pending request: of packet-outs and resumes."""
        self.on_error: OnError = takes_none
        """Called first for every error; True means that it is handled."""
        self._event = event
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[str] = self._loop.create_future()
        """Done when the connection has ended; its result is the reason. Never raises."""
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = bytearray()
        self._xid = 0
        self._answers: dict[int, asyncio.Queue[Message | None]] = {}
        self.hello: asyncio.Future[None] = self._loop.create_future()
        """Done when both sides agree on the version, or cannot."""
        self._writable = asyncio.Event()
        self._writable.set()
        self._beat: asyncio.TimerHandle | None = None
        self._heard = self._loop.time()
        self._patient = 0

    @classmethod
    async def connect(cls, path: Path, event: Event) -> Self:
        """Connect and negotiate OpenFlow 1.5.

        Raises:
            OSError: nobody listens at the Unix socket `path`.
            VersionRefused: the bridge does not speak OpenFlow 1.5.
            SwitchGone: it did not answer in time.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_unix_connection(lambda: cls(path, event), os.fspath(path))
                try:
                    await connection.hello
                except BaseException:
                    connection.close("no agreement on a version")
                    raise
        except TimeoutError as error:
            raise SwitchGone(f"{path}: no hello in {CONNECT_TIMEOUT_S:g} s: is ovs-vswitchd alive?") from error
        connection.keep_alive()
        return connection

    # ------------------------------------------------------------------------------------------------------- asking

    def reserve(self, count: int = 1) -> int:
        """Reserve `count` consecutive xids and return the first."""
        if self._xid + count > 0x7FFFFFFF:
            self._xid = 0
        first = self._xid + 1
        self._xid += count
        return first

    def send(self, octets: bytes) -> None:
        """Write messages without waiting for anything; see `drain`.

        Raises:
            SwitchGone
        """
        self._must_be_open().write(octets)

    async def drain(self) -> None:
        """Wait until the switch has read enough of the output buffer for more to be written.

        Raises:
            SwitchGone
        """
        await self._writable.wait()
        self._must_be_open()

    async def request(self, type: int, body: bytes = b"", *, timeout_s: float = REPLY_TIMEOUT_S) -> Message:
        """Send a message and return the reply.

        Raises:
            RequestRefused: the reply is an error.
            SwitchGone: there is no reply, since the connection ended or the switch took too long (which ends it).
        """
        with self._exchange(type, body) as queue:
            return await self._next(queue, type, timeout_s)

    async def tell(self, type: int, body: bytes) -> None:
        """Send a message that is answered only if refused, and wait until the switch has processed it.

        Raises:
            RequestRefused, SwitchGone
        """
        with self._exchange(type, body) as queue:
            await self.request(Type.BARRIER_REQUEST)
            if not queue.empty():  # an error arrives before the barrier reply
                await self._next(queue, type, REPLY_TIMEOUT_S)

    async def multipart(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """The parts of the reply to a multipart request, as they arrive, without their headers.

        Raises:
            RequestRefused, SwitchGone
        """
        with self._exchange(Type.MULTIPART_REQUEST, body) as queue:
            flags = REPLY_MORE
            while flags & REPLY_MORE:
                answer = await self._next(queue, Type.MULTIPART_REQUEST, REPLY_TIMEOUT_S)
                _, flags = MULTIPART.unpack_from(answer.body)
                yield answer.body[MULTIPART.size :]

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Allow the switch to be silent for long; callers have a timeout of their own."""
        self._patient += 1
        try:
            yield
        finally:
            self._patient -= 1
            self._heard = self._loop.time()

    def close(self, reason: str = "closed by us") -> None:
        """End the connection; pending requests raise SwitchGone."""
        if self.closed.done():
            return
        self.closed.set_result(reason)
        if self._beat is not None:
            self._beat.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._writable.set()
        for queue in self._answers.values():
            queue.put_nowait(None)
        if not self.hello.done():
            self.hello.set_exception(SwitchGone(f"{self.path}: {reason}"))

    # ---------------------------------------------------------------------------------------------- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writable = cast("asyncio.WriteTransport", transport)  # uvloop's transports do not declare it
        self._transport = writable
        writable.set_write_buffer_limits(high=WRITE_AHEAD)
        writable.write(message(Type.HELLO, self.reserve(), HELLO_BITMAP))

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"connection lost: {exc}" if exc else "the switch closed the connection")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        buffer = self._buffer
        buffer += data
        position = 0
        while len(buffer) - position >= HEADER.size and not self.closed.done():
            version, kind, length, xid = HEADER.unpack_from(buffer, position)
            if length < HEADER.size:
                self.close(f"not OpenFlow: a message of {length} octets")
                return
            if len(buffer) - position < length:
                break
            body = bytes(memoryview(buffer)[position + HEADER.size : position + length])
            position += length
            if self.hello.done() and version == VERSION:
                self._take(Message(kind, xid, body))
            else:
                self._agree(version, kind, body)
        del buffer[:position]

    # ------------------------------------------------------------------------------------------------------ our side

    def _agree(self, version: int, type: int, body: bytes) -> None:
        """Before agreement only one hello or one error is accepted; afterwards only messages of the agreed version."""
        if self.hello.done():
            self.close(f"a message in version {version} after agreement on {VERSION}")
        elif type == Type.HELLO and VERSION in (spoken := _versions(version, body)):
            self.hello.set_result(None)
        elif type == Type.HELLO:
            names = ", ".join(VERSIONS.get(number, str(number)) for number in sorted(spoken))
            self.hello.set_exception(
                VersionRefused(
                    f"{self.path}: the bridge speaks OpenFlow {names} and we speak {VERSIONS[VERSION]}: "
                    f"ovs-vsctl --timeout=5 add bridge {self.path.stem} protocols OpenFlow15"
                )
            )
        else:
            self.close(f"not a hello, but {_name(type)}: {decode_error(body) if type == Type.ERROR else body.hex()}")

    def _take(self, received: Message) -> None:
        queue = self._answers.get(received.xid)
        if received.type == Type.ECHO_REQUEST:
            self.send(message(Type.ECHO_REPLY, received.xid, received.body))
        elif received.type == Type.ECHO_REPLY:
            pass  # any message proves that the switch is alive
        elif received.type == Type.ERROR and self.on_error(received.xid, decode_error(received.body)):
            pass
        elif queue is not None:
            queue.put_nowait(received)
        elif received.type == Type.ERROR:
            self.strays.append(decode_error(received.body))
        else:
            self._event(received)

    @contextmanager
    def _exchange(self, type: int, body: bytes) -> Iterator[asyncio.Queue[Message | None]]:
        """Send a message; replies with its xid arrive in the queue, and None when the connection has ended."""
        xid = self.reserve()
        queue = self._answers[xid] = asyncio.Queue[Message | None]()
        try:
            self.send(message(type, xid, body))
            yield queue
        finally:
            del self._answers[xid]

    async def _next(self, queue: asyncio.Queue[Message | None], type: int, timeout_s: float) -> Message:
        try:
            async with asyncio.timeout(timeout_s):
                answer = await queue.get()
        except TimeoutError as error:
            self.close(f"no answer to {_name(type)} in {timeout_s:g} s")
            raise SwitchGone(f"{self.path}: {self.closed.result()}: is ovs-vswitchd alive?") from error
        if answer is None:
            raise SwitchGone(f"{self.path}: {self.closed.result()}")
        if answer.type == Type.ERROR:
            raise RequestRefused(f"{self.path}: {_name(type)}", decode_error(answer.body))
        return answer

    def _must_be_open(self) -> asyncio.WriteTransport:
        if self.closed.done() or self._transport is None:
            raise SwitchGone(f"{self.path}: {self.closed.result() if self.closed.done() else 'not connected'}")
        return self._transport

    def keep_alive(self) -> None:
        """Check regularly whether the switch is alive, and end the connection if it is not."""
        if self.closed.done():
            return
        silent_s = self._loop.time() - self._heard
        if silent_s > PATIENCE_S and not self._patient:
            self.close(f"nothing heard for {silent_s:.0f} s")
            return
        if silent_s >= KEEPALIVE_S:
            self.send(message(Type.ECHO_REQUEST, self.reserve()))
        self._beat = self._loop.call_later(KEEPALIVE_S, self.keep_alive)


def takes_none(_xid: int, _error: SwitchError) -> bool:
    return False


def _versions(version: int, body: bytes) -> frozenset[int]:
    """The versions offered by a hello: its bitmap, or else all up to the header's."""
    position = 0
    while position + 8 <= len(body):
        kind, length = (int.from_bytes(body[position + at : position + at + 2], "big") for at in (0, 2))
        if kind == 1 and length >= 8:  # OFPHET_VERSIONBITMAP
            bitmap = int.from_bytes(body[position + 4 : position + 8], "big")
            return frozenset(number for number in range(32) if bitmap >> number & 1)
        position += max(8, (length + 7) // 8 * 8)
    return frozenset(range(1, version + 1))


def _name(type: int) -> str:
    try:
        return Type(type).name
    except ValueError:
        return f"message type {type}"
