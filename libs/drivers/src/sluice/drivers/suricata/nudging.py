"""Packets by which the engine takes up at once what it was told.

A command about tenants hands each thread of the engine its new rules, then waits until each has had a packet with them:
it looks a millisecond later, and where no packet came it sleeps a quarter of a second before it looks again
(DetectEngineReloadThreads, Suricata 7.0.10). So a command took 0.26 s where packets are rare, however little there was
to do, and takes 3 ms with a packet every half millisecond.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sluice.drivers.namespaces import inside

INTERVAL_S = 0.0005
"""Half of what the engine waits before it looks for the first time."""

FRAME = bytes.fromhex("020000000001 020000000002 88b5") + bytes(46)
"""An Ethernet frame for experiments, without a VLAN tag (IEEE 802, EtherType 0x88B5): the switch has no way for it."""


def _sending(interface: str) -> socket.socket:
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    found.setblocking(False)
    try:
        found.bind((interface, 0))
    except OSError:
        found.close()
        raise
    return found


class Nudges:
    """One of the engine's threads reads each tap, so packets go out by both."""

    def __init__(self, taps: Sequence[str], netns: Path | None = None) -> None:
        """Send by these interfaces of the namespace (None: of ours).

        Raises:
            OSError: there is no such interface, or packets may not be sent.
        """
        self._sockets: list[socket.socket] = []
        try:
            for tap in taps:
                self._sockets.append(inside(netns, lambda tap=tap: _sending(tap)))  # type: ignore[misc]  # bound now
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        for one in self._sockets:
            one.close()

    @asynccontextmanager
    async def given(self) -> AsyncIterator[None]:
        """Packets are sent meanwhile."""
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
                with contextlib.suppress(OSError):  # a full queue, a tap that goes away: the command only takes longer
                    one.send(FRAME)
            await asyncio.sleep(INTERVAL_S)
