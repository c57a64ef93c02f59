"""A NATS client that corrects nats-py where that is too slow or trusts too much. It uses private parts of 2.16; tested.

nats-py reads keys and certificates only once, trusts a server that offers no TLS, and gives up for ever when a server
that it was connected to refuses it.

Its `flush` may be answered before the server has what was sent just before: the PING overtakes data that waits for the
writing task.

It parses headers character by character, which takes longer than everything else about a message, and builds them piece
by piece; and each subscription puts a queue and a task between a message and its reader.
"""

import asyncio
import contextlib
import ssl
from typing import Any, Protocol

from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.errors import AuthorizationError, BadHeaderError, BadSubjectError

from sluice.runtime.credentials import Credentials, NotEncrypted

_CLOSE_S = 1.0  # for the two ends of a connection to part


class _Transport(TcpTransport):
    """One that ends: after a handshake of TLS that failed nats-py waits for a connection that nobody has any more."""

    def __init__(self, begun: TcpTransport) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nats-py's
        vars(self).update(vars(begun))

    async def wait_closed(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await super().wait_closed()  # type: ignore[no-untyped-call]  # nats-py's


class Client(NatsClient):
    def __init__(self, credentials: Credentials | None = None) -> None:
        super().__init__()
        self._credentials = credentials

    async def _connect_to_server(self, server: Any) -> None:  # Any: nats-py's, of a private class
        if isinstance(self._transport, _Transport):  # of an attempt that was refused
            self._transport.close()  # type: ignore[no-untyped-call]  # nats-py's
        await super()._connect_to_server(server)
        if self._credentials and type(self._transport) is TcpTransport:
            self._transport = _Transport(self._transport)

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """Asked for by each connection that the server wants encrypted."""
        return self._credentials.tls() if self._credentials else super().ssl_context

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002  # nats-py's
        if initial_connection and self._credentials and not info.get("tls_required"):
            raise NotEncrypted("the server offers no TLS; it is not ours, or not set up by `sluice admin keys`")
        await super()._process_info(info, initial_connection)

    def _connect_command(self) -> bytes:
        if self._credentials:  # the signature is of the seed as it is now, and so must be the name
            self._public_nkey = self._credentials.public_key()
            transport: Any = self._transport  # asyncio warns at the end of each connection that nats-py made TLS of
            transport._io_writer._protocol._over_ssl = True  # noqa: SLF001  # so it is told
        return super()._connect_command()

    async def _process_err(self, err_msg: str) -> None:
        if "authorization violation" in err_msg and self.is_connected:  # the key was good, and may be again: try
            error = AuthorizationError()
            await self._process_op_err(error)
            await self._error_cb(error)
            return
        await super()._process_err(err_msg)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        if self.is_connected and self._pending and self._transport:
            self._transport.writelines(self._pending[:])
            self._pending, self._pending_data_size = [], 0
        await super()._send_ping(future)

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, str] | None
    ) -> None:
        """Send it; `publish` has seen that there is a connection and that the payload is not too large.

        Raises:
            BadSubjectError, BadHeaderError: they would end the line that they stand in.
        """
        if " " in subject or not subject.isprintable():
            raise BadSubjectError
        if not headers:
            await super()._send_publish(subject, reply, payload, payload_size, headers)
            return
        lines = "".join([name + ": " + value + "\r\n" for name, value in headers.items()])  # nats-py's are no plain str
        if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
            raise BadHeaderError(lines)
        block = f"NATS/1.0\r\n{lines}\r\n".encode()
        size = len(block)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += payload_size
        head = f"HPUB {subject} {reply} {size} {size + payload_size}\r\n".encode()
        await self._send_command(b"".join((head, block, payload, b"\r\n")))
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """`Name: Value` per line, without what surrounds either; a line without a colon is none."""
        found = {}
        for line in raw.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                found[name.strip()] = value.strip()
        return found


class Taker(Protocol):
    def put_nowait(self, message: Msg, /) -> None:
        """Take the message, at once and in order of arrival.

        Raises:
            asyncio.QueueFull: there is no room; nats-py reports a slow consumer. Nothing else may be raised.
        """


async def subscribe(nc: NatsClient, subject: str, taker: Taker) -> Subscription:
    """A subscription whose messages the taker gets as they are read, without a task in between."""
    subscription = await nc.subscribe(subject, pending_bytes_limit=0)  # the taker's room is the limit
    early = subscription._pending_queue  # noqa: SLF001  # see the module's docstring
    queue: Any = taker  # it is no asyncio.Queue, and need not be: nats-py calls `put_nowait` alone
    subscription._pending_queue = queue  # noqa: SLF001  # the same
    while not early.empty():
        taker.put_nowait(early.get_nowait())
    return subscription
