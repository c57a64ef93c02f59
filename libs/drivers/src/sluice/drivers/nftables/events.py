"""Changes that others make to our table, as reported by the kernel.

The kernel reports each change, and at the end of a transaction the process that made it. So our own changes are
recognised, and those of other tables are skipped without asking the kernel. Source: linux/netfilter/nf_tables.h.
"""

import asyncio
import socket
from collections.abc import Collection
from pathlib import Path

from sluice.dataplane.host.table import NAME
from sluice.drivers.nftables import netlink

SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
GROUP_NFTABLES = 7
NFT = 10
NEWGEN = 15
GEN_PROC_PID = 2
TABLE = 1
"""The attribute with the table's name, in every type of message."""

_LARGEST = 1 << 17


class Events:
    def __init__(self, netns: Path | None, ours: Collection[int]) -> None:
        """`ours`: ids of processes whose changes are ignored.

        Raises:
            OSError
        """
        self._socket = netlink.opened(netns)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, GROUP_NFTABLES)
        self._ours, self._touched = ours, False

    def close(self) -> None:
        self._socket.close()

    async def changed(self) -> None:
        """Return once another process has changed our table, or may have (events were lost)."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self._socket, _LARGEST)
            except OSError as error:
                if error.errno == 105:  # ENOBUFS: events arrived faster than they were read
                    return
                raise
            if self._take(data):
                return

    def _take(self, data: bytes) -> bool:
        for message in netlink.messages(data):
            if message.subsystem != NFT:
                continue
            if message.kind != NEWGEN:
                self._touched |= message.attributes.get(TABLE, b"").rstrip(b"\0") == NAME.encode()
                continue
            touched, self._touched = self._touched, False
            pid = socket.ntohl(int.from_bytes(message.attributes.get(GEN_PROC_PID, bytes(4)), "little"))
            if touched and pid not in self._ours:
                return True
        return False
