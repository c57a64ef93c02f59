"""Packets that make the engine apply commands at once.

A command about tenants gives each engine thread its new rules, then waits until each thread has processed a packet with
them: it checks after a millisecond, and while no packet has come it sleeps a quarter of a second between checks
(DetectEngineReloadThreads, Suricata 7.0.10). So a command took 0.26 s where packets are rare, however little there was
to do; with a packet every half millisecond it takes 3 ms.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sluice.drivers.namespaces import inside
from sluice.drivers.suricata.taps import opened

INTERVAL_S = 0.0005
"""Half the time before the engine's first check."""

FRAME = bytes.fromhex("020000000001 020000000002 88b5") + bytes(46)
"""An untagged Ethernet frame with an experimental EtherType (IEEE 802, 0x88B5), which the switch drops."""


class Nudges:
    """Sends packets by both taps, since each is read by a thread of its own."""

    def __init__(self, taps: Sequence[str], netns: Path | None = None) -> None:
        """Send by these interfaces of the namespace (None: the current one).

        Raises:
            OSError: there is no such interface, or permission to send is missing.
        """
        self._sockets: list[socket.socket] = []
        try:
            for tap in taps:
                self._sockets.append(inside(netns, lambda tap=tap: opened(tap)))  # type: ignore[misc]  # bound now
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        for one in self._sockets:
            one.close()

    @asynccontextmanager
    async def given(self) -> AsyncIterator[None]:
        """Send packets for the duration of the context."""
        sending = asyncio.create_task(self._send(), name="nudges")
        try:
            yield
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending

    async def _send(self) -> None:
        while True:
            for one in self._sockets:
                with contextlib.suppress(OSError):  # a full queue or a vanished tap only makes the command slower
                    one.send(FRAME)
            await asyncio.sleep(INTERVAL_S)
