"""Raw sockets at receivers: each hears one link of one namespace, from when it is opened until it is closed.

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
"""Room for what comes while the lab is at something else."""

LONGEST = 65_536

Taken = Callable[[bytes, int], None]
"""A frame, and what the kernel takes it for: PACKET_HOST is meant for the namespace, PACKET_OUTGOING is sent by it."""


class NoLink(Exception):
    """There is no such link in the namespace."""


class Listener:
    """One link."""

    def __init__(self, sock: socket.socket, taken: Taken) -> None:
        self._sock, self._taken = sock, taken
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self.drain)

    @classmethod
    async def open(cls, netns: Path, link: str, taken: Taken) -> Self:
        """Hears the link from now on.

        Raises:
            NoLink
        """
        return cls(await asyncio.to_thread(namespaces.inside, netns, lambda: raw(link)), taken)

    def drain(self) -> None:
        """Take what has come so far."""
        with contextlib.suppress(OSError):  # nothing more, or the link has gone
            while True:
                octets, (_, _, kind, *_) = self._sock.recvfrom(LONGEST)
                self._taken(octets, kind)

    def close(self) -> None:
        self._loop.remove_reader(self._sock)
        self._sock.close()


def raw(link: str) -> socket.socket:
    """A socket that hears and speaks by this link of the namespace we are in.

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
