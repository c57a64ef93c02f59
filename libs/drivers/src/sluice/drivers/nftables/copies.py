"""Packets that rules with `log group` copy to user space. Source: linux/netfilter/nfnetlink_log.h."""

import asyncio
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from sluice.drivers.nftables import netlink

ULOG = 4
PACKET, CONFIG = 0, 1
CFG_CMD, CFG_MODE, CFG_TIMEOUT = 1, 2, 4
CMD_BIND = 1
COPY_PACKET = 2
PAYLOAD, PREFIX = 9, 10

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
        try:
            self._configure(group, netlink.attribute(CFG_CMD, bytes((CMD_BIND,))))
            mode = netlink.attribute(CFG_MODE, _MODE.pack(size_bytes, COPY_PACKET, 0))
            timeout = netlink.attribute(CFG_TIMEOUT, FLUSH_CS.to_bytes(4, "big"))
            self._configure(group, mode + timeout)
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
                if error.errno == 105:  # ENOBUFS: copies were lost; the rules' counters tell how many
                    continue
                raise
            found = [copy for message in netlink.messages(data) if (copy := _copy(message)) is not None]
            if found:
                return found

    def _configure(self, group: int, attributes: bytes) -> None:
        self._socket.setblocking(True)
        self._socket.settimeout(5)
        self._socket.send(netlink.request(ULOG, CONFIG, group, attributes, REQUEST_ACK))
        answer = self._socket.recv(_LARGEST)
        self._socket.setblocking(False)
        code = -_ANSWER.unpack_from(answer)[-1]
        if code:
            raise NotHeard(code, f"group {group} of NFLOG; see who else reads it in /proc/net/netfilter/nfnetlink_log")


def _copy(message: netlink.Message) -> Copy | None:
    if (message.subsystem, message.kind) != (ULOG, PACKET):
        return None
    said = message.attributes
    return Copy(said.get(PREFIX, b"").rstrip(b"\0").decode(errors="replace"), said.get(PAYLOAD, b""))
