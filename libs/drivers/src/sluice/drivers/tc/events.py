"""Changes made by others: interfaces that appear, disappear or are renamed, and filters.

The kernel reports every change together with the socket that requested it; changes through our own socket are left out.
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
"""Multicast groups. Source: RTMGRP_LINK, RTMGRP_TC."""

NEW_LINK, DEL_LINK = 16, 17
QDISCS = {messages.NEW_QDISC, messages.DEL_QDISC}
FILTERS_CHANGED = {messages.NEW_FILTER, messages.DEL_FILTER}
"""Without chains: the kernel reports those that appear and disappear with filters as requested by nobody."""

_INTERFACE = struct.Struct("=4xi")
"""The position of the interface index in struct ifinfomsg and struct tcmsg."""


class LinksChanged(Struct, frozen=True):
    """An interface appeared, disappeared or changed its identity."""

    ifindex: int


class FiltersChanged(Struct, frozen=True):
    """Somebody else changed filters or hooks of the interface."""

    ifindex: int


class Missed(Struct, frozen=True):
    """Events were lost in a buffer overflow: read everything again."""


Event = LinksChanged | FiltersChanged | Missed
"""Not tuples: events are kept in sets, where tuples of the same interface would be equal."""


class Events:
    """The events since its creation, of the network namespace that it was created in."""

    def __init__(self, ours: int) -> None:
        """Report the changes of everybody but the socket with this port id."""
        self._ours = ours
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * RECEIVE_BYTES)
        self._socket.bind((0, LINKS | FILTERS))

    def close(self) -> None:
        self._socket.close()

    async def next(self) -> frozenset[Event]:
        """Wait for events and return all since the last call."""
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
        """The events since the last call, without waiting."""
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
