"""Packets that rules with `log group` copy to user space. Source: linux/netfilter/nfnetlink_log.h."""

import asyncio
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from sluice.drivers.nftables import netlink

ULOG = 4
PACKET, CONFIG = 0, 1
CFG_CMD, CFG_MODE, CFG_TIMEOUT, CFG_FLAGS = 1, 2, 4, 6
CMD_BIND = 1
COPY_PACKET = 2
FLAG_SEQ = 1
PAYLOAD, PREFIX, SEQ = 9, 10, 12

REQUEST_ACK = 0x5
_MODE = Struct("!IBB")
_ANSWER = Struct("=IHHIIi")
_LARGEST = 1 << 17

FLUSH_CS = 5
"""Hundredths of a second for which the kernel batches packets."""


class Copy(NamedTuple):
    prefix: str
    packet: bytes
    """From its IP header on, truncated as the rule says."""


class NotHeard(OSError):
    """The kernel does not deliver copies; the message says why."""


class Copies:
    """The copies of one NFLOG group in a network namespace."""

    def __init__(self, netns: Path | None, group: int, size_bytes: int) -> None:
        """From now on the kernel delivers copies to this object.

        Raises:
            NotHeard: another process listens to the group, or the kernel has no NFLOG.
            OSError
        """
        self._socket = netlink.opened(netns)
        self._next: int | None = None
        self.missed = 0
        """How many copies the kernel could not deliver."""

        try:
            self._configure(group, netlink.attribute(CFG_CMD, bytes((CMD_BIND,))))
            mode = netlink.attribute(CFG_MODE, _MODE.pack(size_bytes, COPY_PACKET, 0))
            timeout = netlink.attribute(CFG_TIMEOUT, FLUSH_CS.to_bytes(4, "big"))
            flags = netlink.attribute(CFG_FLAGS, FLAG_SEQ.to_bytes(2, "big"))
            self._configure(group, mode + timeout + flags)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    async def next(self) -> list[Copy]:
        """Wait for copies and return those that arrived, at least one."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self._socket, _LARGEST)
            except OSError as error:
                if error.errno == 105:  # ENOBUFS: the sequence numbers of the next copies tell how many were lost
                    continue
                raise
            found = [copy for message in netlink.messages(data) if (copy := self._copy(message)) is not None]
            if found:
                return found

    def _copy(self, message: netlink.Message) -> Copy | None:
        if (message.subsystem, message.kind) != (ULOG, PACKET):
            return None
        said = message.attributes
        number = int.from_bytes(said.get(SEQ, b""), "big")
        if self._next is not None and number > self._next:
            self.missed += number - self._next
        self._next = number + 1
        return Copy(said.get(PREFIX, b"").rstrip(b"\0").decode(errors="replace"), said.get(PAYLOAD, b""))

    def _configure(self, group: int, attributes: bytes) -> None:
        self._socket.setblocking(True)
        self._socket.settimeout(5)
        self._socket.send(netlink.request(ULOG, CONFIG, group, attributes, REQUEST_ACK))
        answer = self._socket.recv(_LARGEST)
        self._socket.setblocking(False)
        code = -_ANSWER.unpack_from(answer)[-1]
        if code:
            raise NotHeard(code, f"group {group} of NFLOG; see who else reads it in /proc/net/netfilter/nfnetlink_log")
