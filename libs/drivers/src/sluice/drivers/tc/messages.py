"""Filters and qdiscs as rtnetlink messages, and back.

Source: Linux 6.1 net/sched/cls_api.c (tc_new_tfilter, tc_del_tfilter, tc_dump_tfilter), sch_api.c.
"""

import struct
from enum import IntFlag
from functools import lru_cache
from typing import NamedTuple

from sluice.dataplane.tc.filter import FilterBody, FilterKey, Hook, Standing
from sluice.drivers.tc import actions, flower
from sluice.drivers.tc.actions import Count
from sluice.drivers.tc.attributes import U32, NotAttributes, attribute, by_kind, nested, string, text
from sluice.drivers.tc.flower import Key, NotOurs
from sluice.drivers.tc.netlink import CREATE, EXCL, Message

NEW_QDISC, DEL_QDISC, GET_QDISC = 36, 37, 38
NEW_FILTER, DEL_FILTER, GET_FILTER = 44, 45, 46
"""Source: linux/rtnetlink.h, RTM_*."""

HEAD = struct.Struct("=BxxxiIII")
"""struct tcmsg: family, interface, handle, parent, info."""

KIND, OPTIONS, CHAIN, INGRESS_BLOCK, EGRESS_BLOCK, DUMP_FLAGS = 1, 2, 11, 13, 14, 15
"""Source: linux/rtnetlink.h, TCA_*."""

TERSE = struct.pack("=II", 1, 1)
"""TCA_DUMP_FLAGS: value and mask of TCA_DUMP_FLAGS_TERSE. No keys and options, but statistics and cookies."""

PARENTS = {Hook.INGRESS: 0xFFFFFFF2, Hook.EGRESS: 0xFFFFFFF3}
"""TC_H_CLSACT with TC_H_MIN_INGRESS or TC_H_MIN_EGRESS."""

CLSACT, CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000
BLOCK = -1
"""TCM_IFINDEX_MAGIC_BLOCK, 0xffffffff: the parent is the number of a shared block."""


class Where(NamedTuple):
    """Where filters are attached: one hook of an interface, or a block shared by hooks."""

    ifindex: int
    parent: int


class Offload(IntFlag):
    """Source: linux/pkt_cls.h, TCA_CLS_FLAGS_*."""

    ANY = 0
    """The kernel tries the hardware, and keeps the filter in software as well."""

    SKIP_HW = 1
    SKIP_SW = 2
    IN_HW = 4
    NOT_IN_HW = 8
    VERBOSE = 16
    """With SKIP_HW unset: if the hardware refuses, the acknowledgement says why."""


class Held(NamedTuple):
    """A filter from a dump."""

    key: FilterKey
    standing: Standing
    in_hardware: bool


class Stranger(NamedTuple):
    """A filter that is not ours, or that we cannot decode, and why."""

    chain: int
    pref: int
    protocol: int
    handle: int
    kind: str
    reason: str


def hook(ifindex: int, of: Hook) -> Where:
    return Where(ifindex, PARENTS[of])


def block(number: int) -> Where:
    """A shared block: its filters apply at every hook bound to it."""
    return Where(BLOCK, number)


def add_filter(where: Where, key: FilterKey, handle: int, body: FilterBody, offload: Offload) -> Message:
    return Message(NEW_FILTER, CREATE | EXCL, _filter(where, key, handle, body, offload))


def replace_filter(where: Where, key: FilterKey, handle: int, body: FilterBody, offload: Offload) -> Message:
    return Message(NEW_FILTER, CREATE, _filter(where, key, handle, body, offload))


def _filter(where: Where, key: FilterKey, handle: int, body: FilterBody, offload: Offload) -> bytes:
    options = b"".join(flower.encode(key.protocol, key.match))
    return b"".join(
        (
            _head(where, key.pref, key.protocol, handle),
            attribute(CHAIN, U32.pack(key.chain)) if key.chain else b"",
            _FLOWER,
            nested(OPTIONS, options, _actions(body), attribute(Key.FLAGS, U32.pack(offload))),
        )
    )


@lru_cache(maxsize=1 << 12)
def _actions(body: FilterBody) -> bytes:
    """Cached, since many filters share a body: all addresses that lead to one chain of ports."""
    return nested(Key.ACT, *actions.encode(body.actions, body.cookie))


def delete_filter(where: Where, key: FilterKey, handle: int) -> Message:
    return _delete(_head(where, key.pref, key.protocol, handle), key.chain, "flower")


def delete_stranger(where: Where, one: Stranger) -> Message:
    return _delete(_head(where, one.pref, one.protocol, one.handle), one.chain, one.kind)


def _delete(head: bytes, chain: int, kind: str) -> Message:
    return Message(DEL_FILTER, 0, head + attribute(CHAIN, U32.pack(chain)) + text(KIND, kind))


def delete_chain(where: Where, chain: int) -> Message:
    """Delete all filters of the chain; done by giving neither preference nor protocol."""
    return Message(DEL_FILTER, 0, _head(where, 0, 0, 0) + attribute(CHAIN, U32.pack(chain)))


def dump_filters(where: Where, *, terse: bool = False) -> Message:
    flags = attribute(DUMP_FLAGS, TERSE) if terse else b""
    return Message(GET_FILTER, 0, _head(where, 0, 0, 0) + flags)


def add_clsact(ifindex: int, *, ingress_block: int = 0, egress_block: int = 0) -> Message:
    """The qdisc with the two hooks; a hook with a block shares the block's filters."""
    blocks = b"".join(
        attribute(kind, U32.pack(number))
        for kind, number in ((INGRESS_BLOCK, ingress_block), (EGRESS_BLOCK, egress_block))
        if number
    )
    head = HEAD.pack(0, ifindex, CLSACT_HANDLE, CLSACT, 0)
    return Message(NEW_QDISC, CREATE | EXCL, head + text(KIND, "clsact") + blocks)


def delete_clsact(ifindex: int) -> Message:
    return Message(DEL_QDISC, 0, HEAD.pack(0, ifindex, CLSACT_HANDLE, CLSACT, 0))


def dump_qdiscs() -> Message:
    return Message(GET_QDISC, 0, HEAD.pack(0, 0, 0, 0, 0))


def clsact_interface(message: Message) -> int | None:
    """The interface whose hooks a dumped qdisc provides, or None if it is another qdisc."""
    _, ifindex, _, parent, _ = HEAD.unpack_from(message.body)
    kind = string(by_kind(message.body[HEAD.size :]).get(KIND, b""))
    return ifindex if parent == CLSACT and kind == "clsact" else None


def read_filter(message: Message) -> Held | Stranger | None:
    """The filter in a dumped message; None if it only announces a preference."""
    _, _, handle, _, info = HEAD.unpack_from(message.body)
    if not handle:
        return None
    pref, protocol = info >> 16, _swap(info & 0xFFFF)
    chain, kind = 0, ""
    try:
        found = by_kind(message.body[HEAD.size :])
        chain = U32.unpack(found.get(CHAIN, bytes(4)))[0]
        kind = string(found.get(KIND, b""))
        if kind != "flower":
            raise NotOurs(f"its classifier is {kind}, ours are flower")
        options = by_kind(found.get(OPTIONS, b""))
        acts, cookie = actions.decode(options.get(Key.ACT, b""))
        key = FilterKey(chain, pref, protocol, flower.decode(options))
        flags = U32.unpack(options.get(Key.FLAGS, bytes(4)))[0]
    except (NotOurs, NotAttributes, KeyError, struct.error) as error:
        return Stranger(chain, pref, protocol, handle, kind, str(error))
    return Held(key, Standing(FilterBody(acts, cookie), handle), bool(flags & Offload.IN_HW))


def read_count(message: Message) -> tuple[int, Count, bytes] | None:
    """Chain, count and cookie of a filter, from a full or terse dump; None if it is no filter or has no actions."""
    _, _, handle, _, _ = HEAD.unpack_from(message.body)
    found = by_kind(message.body[HEAD.size :])
    options = by_kind(found.get(OPTIONS, b""))
    if not handle or Key.ACT not in options or string(found.get(KIND, b"")) != "flower":
        return None
    count, cookie = actions.count(options[Key.ACT])
    return U32.unpack(found.get(CHAIN, bytes(4)))[0], count, cookie


def _head(where: Where, pref: int, protocol: int, handle: int) -> bytes:
    return HEAD.pack(0, where.ifindex, handle, where.parent, pref << 16 | _swap(protocol))


def _swap(protocol: int) -> int:
    """Swap between network and host byte order. tcm_info holds an Ethernet type in network byte order."""
    return int(_HOST.unpack(_NETWORK.pack(protocol))[0])


_HOST, _NETWORK = struct.Struct("=H"), struct.Struct("!H")
_FLOWER = text(KIND, "flower")
