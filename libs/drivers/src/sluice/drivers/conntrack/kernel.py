"""The kernel's own connection tracker, by zone. Not for several threads at once.

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
"""NFNL_SUBSYS_CTNETLINK << 8, and IPCTNL_MSG_CT_NEW (which changes what there is), _GET or _DELETE."""

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
    """Its attribute, as the kernel wrote it."""

    id: bytes
    addresses: frozenset[Block]
    """Of both directions."""

    mark: int


class KernelTracker:
    """Opens its socket when it is first asked: where nobody tracks by zones, the kernel need not have it."""

    def __init__(self) -> None:
        self._opened: Netlink | None = None

    def marks(self, zone: int) -> list[int]:
        """Of the zone's connections; sorted.

        Raises:
            NetlinkLost: see `forget`.
        """
        return sorted(entry.mark for entry in self._known(zone))

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def forget(self, zone: int) -> int:
        """No packet belongs to a connection that was in the zone before; how many there were.

        Raises:
            NetlinkLost: also if the kernel does not let itself be asked.
        """
        gone = self._known(zone)
        self._change([Message(DELETE, 0, _naming(entry, zone) + attribute(ID, entry.id)) for entry in gone])
        return len(gone)

    def unmark(self, zone: int, addresses: Collection[Block]) -> int:
        """Connections of the zone that have one of these addresses have no mark; how many there were.

        They stay known: a packet of somebody who was answered is still an answer, and cannot begin anything. Costs a
        look at all that the kernel tracks.

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
        if BE16.unpack(told.get(ZONE, b"\0\0"))[0] != zone:  # some kernels tell all
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
    """What tells the kernel which one is meant."""
    return HEAD.pack(entry.family, 0, 0) + nested(TUPLE_ORIG, entry.original) + attribute(ZONE, BE16.pack(zone))
