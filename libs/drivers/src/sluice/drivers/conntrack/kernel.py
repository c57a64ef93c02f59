"""The kernel's own connection tracker, by zone. Not for several threads at once.

Source: Linux include/uapi/linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c.
"""

import errno
import socket
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

from sluice.dataplane.addresses import Block
from sluice.drivers.tc.attributes import BE16, attribute, by_kind, nested
from sluice.drivers.tc.errors import NetlinkLost
from sluice.drivers.tc.netlink import Message, Netlink

NETLINK_NETFILTER = 12
GET, DELETE = 0x101, 0x102
"""NFNL_SUBSYS_CTNETLINK << 8, and IPCTNL_MSG_CT_GET or IPCTNL_MSG_CT_DELETE."""

HEAD = struct.Struct("!BBH")
"""struct nfgenmsg: family, version, resource."""

TUPLE_ORIG, TUPLE_REPLY, ID, ZONE = 1, 2, 12, 18
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


class KernelTracker:
    """Opens its socket when it is first asked: where nobody tracks by zones, the kernel need not have it."""

    def __init__(self) -> None:
        self._opened: Netlink | None = None

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def forget(self, zone: int, addresses: Collection[Block] | None = None) -> int:
        """No packet belongs to a connection that was in the zone before, and had one of these addresses; None: any.

        Returns how many there were. Costs a look at all that the kernel tracks.

        Raises:
            NetlinkLost: also if the kernel does not let itself be asked.
        """
        try:
            netlink = self._opened = self._opened or Netlink(NETLINK_NETFILTER)
            known = list(_entries(netlink, zone))
        except OSError as error:
            reason = f"conntrack: {error.strerror or error}; load nf_conntrack_netlink, or give CAP_NET_ADMIN"
            raise NetlinkLost(reason) from error
        gone = [entry for entry in known if addresses is None or _has(entry, addresses)]
        for place, answer in netlink.send([_deletion(entry, zone) for entry in gone]).items():
            if answer.code != errno.ENOENT:  # it ended by itself meanwhile
                raise NetlinkLost(f"conntrack: {gone[place].addresses} in zone {zone}: {answer.says or answer.code}")
        return len(gone)


def _entries(netlink: Netlink, zone: int) -> Iterator[Entry]:
    asked = HEAD.pack(socket.AF_UNSPEC, 0, 0) + attribute(ZONE, BE16.pack(zone))
    for message in netlink.dump(Message(GET, 0, asked)):
        told = by_kind(message.body[HEAD.size :])
        if BE16.unpack(told.get(ZONE, b"\0\0"))[0] != zone:  # some kernels tell all
            continue
        family = HEAD.unpack_from(message.body)[0]
        both = _addresses(told[TUPLE_ORIG]) | _addresses(told[TUPLE_REPLY])
        yield Entry(family, told[TUPLE_ORIG], told[ID], both)


def _addresses(tuple_: bytes) -> frozenset[Block]:
    told = by_kind(by_kind(tuple_)[TUPLE_IP])
    return frozenset(
        Block(ADDRESSES[kind], int.from_bytes(value, "big"), 8 * len(value))
        for kind, value in told.items()
        if kind in ADDRESSES
    )


def _has(entry: Entry, addresses: Collection[Block]) -> bool:
    return any(wanted.covers(one) for wanted in addresses for one in entry.addresses)


def _deletion(entry: Entry, zone: int) -> Message:
    body = HEAD.pack(entry.family, 0, 0) + nested(TUPLE_ORIG, entry.original)
    return Message(DELETE, 0, body + attribute(ZONE, BE16.pack(zone)) + attribute(ID, entry.id))
