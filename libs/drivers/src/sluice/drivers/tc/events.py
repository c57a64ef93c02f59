"""What others change: interfaces that come, go or get another name, and filters.

The kernel tells of every change, and which socket asked for it; what our own socket asked for is left out.
Source: rtnetlink(7), linux/rtnetlink.h, RTMGRP_*.
"""

import asyncio
import errno
import socket
import struct

from msgspec import Struct

from sluice.drivers.tc import messages
from sluice.drivers.tc.netlink import HEAD, RECEIVE_BYTES

LINKS, FILTERS = 0x1, 0x8
"""Groups. Source: RTMGRP_LINK, RTMGRP_TC."""

NEW_LINK, DEL_LINK = 16, 17
QDISCS = {messages.NEW_QDISC, messages.DEL_QDISC}
FILTERS_CHANGED = {messages.NEW_FILTER, messages.DEL_FILTER}
"""Not chains: those come and go with filters, and then nobody asked for it."""

_INTERFACE = struct.Struct("=4xi")
"""Where struct ifinfomsg and struct tcmsg have the interface."""


class LinksChanged(Struct, frozen=True):
    """An interface came, went or is another one than before."""

    ifindex: int


class FiltersChanged(Struct, frozen=True):
    """Somebody else changed filters at the interface, or its hooks."""

    ifindex: int


class Missed(Struct, frozen=True):
    """There was more than could be held: look at everything again."""


Event = LinksChanged | FiltersChanged | Missed
"""No tuples: events are kept in sets, and tuples of one interface would be one event."""


class Events:
    """From when it is made, of the network namespace in which it is made."""

    def __init__(self, ours: int) -> None:
        """Tell what others than the socket with this port change."""
        self._ours = ours
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * RECEIVE_BYTES)
        self._socket.bind((0, LINKS | FILTERS))

    def close(self) -> None:
        self._socket.close()

    async def next(self) -> frozenset[Event]:
        """What happened since the last time, as soon as something did."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                packet = await loop.sock_recv(self._socket, RECEIVE_BYTES)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                return frozenset({Missed()})
            found = self._read(packet)
            if found:
                return found

    def pending(self) -> frozenset[Event]:
        """What happened since the last time, without waiting."""
        found: set[Event] = set()
        while True:
            try:
                found |= self._read(self._socket.recv(RECEIVE_BYTES))
            except BlockingIOError:
                return frozenset(found)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                found.add(Missed())

    def _read(self, packet: bytes) -> frozenset[Event]:
        found: set[Event] = set()
        at = 0
        while at + HEAD.size <= len(packet):
            length, kind, _, _, port = HEAD.unpack_from(packet, at)
            if kind in {NEW_LINK, DEL_LINK}:
                found.add(LinksChanged(_INTERFACE.unpack_from(packet, at + HEAD.size)[0]))
            elif kind in QDISCS | FILTERS_CHANGED and port != self._ours:
                found.add(FiltersChanged(_INTERFACE.unpack_from(packet, at + HEAD.size)[0]))
            at += max(length, HEAD.size) + 3 & ~3
        return frozenset(found)
