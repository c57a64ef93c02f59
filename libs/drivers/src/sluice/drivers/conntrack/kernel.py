"""The kernel's own connection tracker, by zone. Not thread-safe.

Source: Linux include/uapi/linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c.
"""

import errno
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from sluice.dataplane.addresses import Block
from sluice.drivers.tc.attributes import BE16, BE32, attribute, by_kind, nested
from sluice.drivers.tc.errors import NetlinkLost
from sluice.drivers.tc.netlink import Message, Netlink

NETLINK_NETFILTER = 12
NEW, GET, DELETE = 0x100, 0x101, 0x102
"""NFNL_SUBSYS_CTNETLINK << 8 plus IPCTNL_MSG_CT_NEW (which also modifies entries), _GET or _DELETE."""

HEAD = struct.Struct("!BBH")
"""struct nfgenmsg: family, version, resource."""

TUPLE_ORIG, TUPLE_REPLY, MARK, ID, ZONE = 1, 2, 8, 12, 18
"""CTA_*"""

TUPLE_IP = 1
ADDRESSES = {1: 4, 2: 4, 3: 6, 4: 6}
"""CTA_IP_V4_SRC, _V4_DST, _V6_SRC and _V6_DST, to their IP versions."""


class Entry(NamedTuple):
    family: int
    original: bytes
    """The attribute of its original direction, as the kernel wrote it."""

    id: bytes
    addresses: frozenset[Block]
    """Of both directions."""

    mark: int


class KernelTracker:
    """Opens its socket on first use: a kernel whose zones nobody uses need not support it."""

    def __init__(self) -> None:
        self._opened: Netlink | None = None

    def marks(self, zone: int) -> list[int]:
        """The marks of the zone's connections; sorted.

        Raises:
            NetlinkLost: see `forget`.
        """
        return sorted(entry.mark for entry in self._known(zone))

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def forget(self, zone: int) -> int:
        """Remove all connections of the zone; returns how many there were.

        Raises:
            NetlinkLost: also if the kernel refuses the request.
        """
        gone = self._known(zone)
        self._change([Message(DELETE, 0, _naming(entry, zone) + attribute(ID, entry.id)) for entry in gone])
        return len(gone)

    def unmark(self, zone: int, addresses: Collection[Block]) -> int:
        """Clear the mark of the zone's connections that have one of these addresses; returns how many there were.

        The connections stay tracked: a packet that answers an earlier one still counts as an answer and cannot open a
        new connection. Costs a walk through everything that the kernel tracks.

        Raises:
            NetlinkLost: see `forget`.
        """
        found = [entry for entry in self._known(zone) if _has(entry, addresses)]
        nothing = attribute(MARK, BE32.pack(0))
        self._change([Message(NEW, 0, _naming(entry, zone) + nothing) for entry in found])
        return len(found)

    def _known(self, zone: int) -> list[Entry]:
        try:
            self._opened = self._opened or Netlink(NETLINK_NETFILTER)
            return list(_entries(self._opened, zone))
        except OSError as error:
            reason = f"conntrack: {error.strerror or error}; load nf_conntrack_netlink, or give CAP_NET_ADMIN"
            raise NetlinkLost(reason) from error

    def _change(self, messages: Sequence[Message]) -> None:
        assert self._opened is not None
        for answer in self._opened.send(messages).values():
            if answer.code != errno.ENOENT:  # it ended by itself meanwhile
                raise NetlinkLost(f"conntrack: {answer.says or errno.errorcode.get(answer.code, '')}")


def _entries(netlink: Netlink, zone: int) -> Iterator[Entry]:
    asked = HEAD.pack(socket.AF_UNSPEC, 0, 0) + attribute(ZONE, BE16.pack(zone))
    for message in netlink.dump(Message(GET, 0, asked)):
        told = by_kind(message.body[HEAD.size :])
        if BE16.unpack(told.get(ZONE, b"\0\0"))[0] != zone:  # some kernels dump all zones
            continue
        family = HEAD.unpack_from(message.body)[0]
        both = _addresses(told[TUPLE_ORIG]) | _addresses(told[TUPLE_REPLY])
        mark = BE32.unpack(told.get(MARK, bytes(4)))[0]
        yield Entry(family, told[TUPLE_ORIG], told[ID], both, mark)


def _addresses(tuple_: bytes) -> frozenset[Block]:
    told = by_kind(by_kind(tuple_)[TUPLE_IP])
    return frozenset(
        Block(ADDRESSES[kind], int.from_bytes(value, "big"), 8 * len(value))
        for kind, value in told.items()
        if kind in ADDRESSES
    )


def _has(entry: Entry, addresses: Collection[Block]) -> bool:
    return any(wanted.covers(one) for wanted in addresses for one in entry.addresses)


def _naming(entry: Entry, zone: int) -> bytes:
    """The attributes that identify the entry to the kernel."""
    return HEAD.pack(entry.family, 0, 0) + nested(TUPLE_ORIG, entry.original) + attribute(ZONE, BE16.pack(zone))
