"""Raw sockets of receivers: each captures one link of one namespace while it is open.

Source: packet(7).
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Self

from sluice.drivers import namespaces

ETH_P_ALL = 3
PACKET_HOST, PACKET_OUTGOING = 0, 4
"""Source: linux/if_ether.h, linux/if_packet.h."""

SO_RCVBUFFORCE = 33
"""Source: asm-generic/socket.h."""

BUFFER_BYTES = 16 << 20
"""Buffer for frames that arrive while the lab is busy with something else."""

LONGEST = 65_536

Taken = Callable[[bytes, int], None]
"""A frame and its packet type: PACKET_HOST is addressed to the namespace, PACKET_OUTGOING sent by it."""


class NoLink(Exception):
    """There is no such link in the namespace."""


class Listener:
    """Captures one link."""

    def __init__(self, sock: socket.socket, taken: Taken) -> None:
        self._sock, self._taken = sock, taken
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self.drain)

    @classmethod
    async def open(cls, netns: Path, link: str, taken: Taken) -> Self:
        """Capture the link from now on.

        Raises:
            NoLink
        """
        return cls(await asyncio.to_thread(namespaces.inside, netns, lambda: raw(link)), taken)

    def drain(self) -> None:
        """Take the frames received so far."""
        with contextlib.suppress(OSError):  # nothing more, or the link has gone
            while True:
                octets, (_, _, kind, *_) = self._sock.recvfrom(LONGEST)
                self._taken(octets, kind)

    def close(self) -> None:
        self._loop.remove_reader(self._sock)
        self._sock.close()


def raw(link: str) -> socket.socket:
    """A socket that sends and receives by this link of the current namespace.

    Raises:
        NoLink
    """
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        sock.bind((link, ETH_P_ALL))
    except OSError as error:
        sock.close()
        raise NoLink(f"there is no port {link}") from error
    return sock
