"""An rtnetlink socket: requests in batches, answers by sequence number, dumps.

The kernel processes a batch synchronously in the sender's context, message by message: when the system call `send`
returns, the work is done and the answers are queued. So there is nothing to await; long operations run in a thread.
Only the last message of a batch requests an acknowledgement; the others cause an answer only if they are refused.
"""

import contextlib
import errno
import itertools
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sluice.drivers.tc.errors import Answer, NetlinkLost

HEAD = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""

REQUEST, MULTI, ACK, ECHO, DUMP_INTERRUPTED = 0x01, 0x02, 0x04, 0x08, 0x10
REPLACE, EXCL, CREATE = 0x100, 0x200, 0x400
DUMP = 0x300
"""Flags. Source: linux/netlink.h, NLM_F_*."""

ERROR, DONE = 2, 3
"""Types. Source: linux/netlink.h, NLMSG_*."""

SOL_NETLINK = 270
CAP_ACK, EXT_ACK = 10, 11
"""Options: errors repeat only the header of a request, and say why. Source: linux/socket.h, linux/netlink.h."""

TIMEOUT_S = 30.0
"""Answers are queued when a request returns; it takes this long only if another holds the rtnetlink lock."""

RECEIVE_BYTES = 1 << 20
"""A dump arrives in pieces of at most 32 KiB."""

RETRIES = 5
"""Attempts to repeat a dump that was interrupted by a change."""


class Message(NamedTuple):
    type: int
    flags: int
    body: bytes


class Netlink:
    """One socket. Not thread-safe."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.setsockopt(SOL_NETLINK, CAP_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, EXT_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self._socket.settimeout(TIMEOUT_S)
        self._socket.bind((0, 0))
        self._sequence = itertools.cycle(range(1, 1 << 32))
        self.port: int = self._socket.getsockname()[0]
        """The port id of this socket."""

        self.messages_sent = 0

    def close(self) -> None:
        self._socket.close()

    def send(self, messages: Sequence[Message]) -> dict[int, Answer]:
        """Send these requests in order; returns the refusals by index. The kernel continues after a refusal.

        Raises:
            NetlinkLost
        """
        if not messages:
            return {}
        numbers = [next(self._sequence) for _ in messages]
        last = numbers[-1]
        parts: list[bytes] = []
        for message, number in zip(messages, numbers, strict=True):
            flags = message.flags | REQUEST | (ACK if number == last else 0)
            body = message.body
            parts += HEAD.pack(HEAD.size + len(body), message.type, flags, number, 0), body, bytes(-len(body) % 4)
        self._put(b"".join(parts), len(messages))
        index = {number: position for position, number in enumerate(numbers)}
        refused = {}
        for head, body in self._received():
            _, kind, flags, number, _ = head
            if kind == ERROR and number in index:
                answer = Answer(body, flags)
                if answer.code:
                    refused[index[number]] = answer
                if number == last:
                    return refused
        raise AssertionError("the kernel's answers have no end")

    def dump(self, message: Message) -> list[Message]:
        """The kernel's reply to a dump request, as one consistent state.

        Raises:
            NetlinkLost: also if the state kept changing.
            OSError: it was refused, with the kernel's error number.
        """
        for _ in range(RETRIES):
            found = self._dump(message)
            if found is not None:
                return found
        raise NetlinkLost(f"what is to be read changed in each of {RETRIES} readings; try again")

    def _dump(self, message: Message) -> list[Message] | None:
        number = next(self._sequence)
        flags = message.flags | REQUEST | DUMP
        self._put(HEAD.pack(HEAD.size + len(message.body), message.type, flags, number, 0) + message.body, 1)
        found: list[Message] = []
        whole = True
        for head, body in self._received():
            _, kind, flags, sequence, _ = head
            if sequence != number:
                continue  # the rest of an unfinished dump
            whole = whole and not flags & DUMP_INTERRUPTED
            if kind in (ERROR, DONE):
                answer = Answer(body, flags) if len(body) >= 4 else None
                if answer is not None and answer.code:
                    raise OSError(answer.code, answer.says or errno.errorcode.get(answer.code, ""))
                return found if whole else None
            found.append(Message(kind, flags, body))
        raise AssertionError("the kernel's answers have no end")

    def _put(self, body: bytes, count: int) -> None:
        self._drain()
        try:
            sent = self._socket.send(body)
        except OSError as error:
            raise NetlinkLost(f"rtnetlink: {error}") from error
        if sent != len(body):
            raise NetlinkLost(f"rtnetlink took {sent} of {len(body)} bytes")
        self.messages_sent += count

    def _drain(self) -> None:
        """Discard what is left of an earlier, interrupted exchange."""
        self._socket.setblocking(False)
        try:
            with contextlib.suppress(BlockingIOError):
                while True:
                    with contextlib.suppress(InterruptedError):
                        self._socket.recv(RECEIVE_BYTES)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
        finally:
            self._socket.settimeout(TIMEOUT_S)

    def _received(self) -> Iterator[tuple[tuple[int, int, int, int, int], bytes]]:
        while True:
            try:
                packet = self._socket.recv(RECEIVE_BYTES)
            except TimeoutError as error:
                raise NetlinkLost(f"rtnetlink: no answer in {TIMEOUT_S:g} s") from error
            except OSError as error:
                raise NetlinkLost(f"rtnetlink: {error}") from error
            at = 0
            while at + HEAD.size <= len(packet):
                head = HEAD.unpack_from(packet, at)
                length = head[0]
                if not HEAD.size <= length <= len(packet) - at:
                    raise NetlinkLost(f"rtnetlink: a message says it has {length} bytes, and {len(packet) - at} came")
                yield head, packet[at + HEAD.size : at + length]
                at += length + 3 & ~3
