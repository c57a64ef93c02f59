"""nats-py where it is too slow for hundreds of thousands of messages: three private parts of 2.16, held to by tests.

It takes headers apart letter by letter, which lasts longer than all the rest of a message's way, and puts them together
piece by piece; and each subscription has a queue and a task of its own between the message and its reader.
"""

from typing import Any, Protocol

from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import BadHeaderError, BadSubjectError


class Client(NatsClient):
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
