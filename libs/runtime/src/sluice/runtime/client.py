"""A NATS client that fixes nats-py where it is too slow or too trusting. It uses private parts of 2.16; tested.

nats-py reads keys and certificates only once, trusts a server that offers no TLS, and gives up for good when a server
that it was connected to refuses it.

Its `flush` may return before the server has what was sent just before: the PING overtakes data that is queued for the
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

_CLOSE_S = 1.0  # for both ends to close a connection


class _Transport(TcpTransport):
    """A transport whose close is bounded: after a failed TLS handshake, nats-py waits for a connection that is gone."""

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

    async def _connect_to_server(self, server: Any) -> None:  # Any: a private class of nats-py
        if isinstance(self._transport, _Transport):  # left from an attempt that was refused
            self._transport.close()  # type: ignore[no-untyped-call]  # nats-py's
        await super()._connect_to_server(server)
        if self._credentials and type(self._transport) is TcpTransport:
            self._transport = _Transport(self._transport)

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """Read by nats-py for each connection that the server requires to be encrypted."""
        return self._credentials.tls() if self._credentials else super().ssl_context

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002  # nats-py's
        if initial_connection and self._credentials and not info.get("tls_required"):
            raise NotEncrypted(
                "the server offers no TLS; it is not the bus of Sluice, or was not set up by `sluice admin keys`"
            )
        await super()._process_info(info, initial_connection)

    def _connect_command(self) -> bytes:
        if self._credentials:  # the seed is read anew to sign, so the public key must be too
            self._public_nkey = self._credentials.public_key()
            transport: Any = self._transport  # nats-py upgrades the connection to TLS behind asyncio's back, which then
            transport._io_writer._protocol._over_ssl = True  # noqa: SLF001  # warns at its end; so tell it
        return super()._connect_command()

    async def _process_err(self, err_msg: str) -> None:
        if "authorization violation" in err_msg and self.is_connected:  # the key was valid and may be again: retry
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
        """Send it; `publish` has already checked the connection and the size of the payload.

        Raises:
            BadSubjectError, BadHeaderError: they contain characters that would break the protocol line.
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
        """Parse `Name: Value` lines, stripping both; a line without a colon is ignored."""
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
    """Subscribe so that the taker gets messages as they are read from the socket, without a task in between."""
    subscription = await nc.subscribe(subject, pending_bytes_limit=0)  # the taker sets the limit
    early = subscription._pending_queue  # noqa: SLF001  # see the module's docstring
    queue: Any = taker  # not an asyncio.Queue, but nats-py only calls `put_nowait`
    subscription._pending_queue = queue  # noqa: SLF001  # the same
    while not early.empty():
        taker.put_nowait(early.get_nowait())
    return subscription
