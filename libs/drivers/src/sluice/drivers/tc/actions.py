"""Filter actions gact and ct, each with our cookie, and their statistics.

Source: Linux 6.1 include/uapi/linux/tc_act/{tc_gact,tc_ct}.h, pkt_cls.h, gen_stats.h; net/sched/act_ct.c.
"""

import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, assert_never

from sluice.dataplane.tc.filter import Accept, AnyAction, Bits, Ct, Drop, Goto
from sluice.drivers.tc.attributes import U16, U32, attribute, attributes, by_kind, nested, string, text
from sluice.drivers.tc.flower import NotOurs, label_bytes

KIND, OPTIONS, STATS, COOKIE = 1, 2, 4, 6
"""Of an action. Source: TCA_ACT_*."""

OK, SHOT, PIPE = 0, 2, 3
GOTO_CHAIN = 0x20000000
GOTO_MASK = 0xF0000000
"""Verdicts; the other bits of a goto are the chain. Source: TC_ACT_*."""

GACT_PARMS = 2
CT_PARMS, CT_ACTION, CT_ZONE, CT_MARK, CT_MARK_MASK, CT_LABELS, CT_LABELS_MASK = 1, 3, 4, 5, 6, 7, 8
COMMIT, FORCE, CLEAR = 1, 2, 4
"""Of options. Source: TCA_GACT_*, TCA_CT_*, TCA_CT_ACT_*."""

BASIC, BASIC_HW, PKT64 = 1, 7, 8
"""Of statistics. Source: TCA_STATS_*."""

GENERIC = struct.Struct("=IIiii")
"""struct tc_gen: index, capabilities, verdict, references, bindings."""

_BASIC = struct.Struct("=QI")
_PACKETS = struct.Struct("=Q")
_KNOWN_CT = {CT_PARMS, 2, CT_ACTION, CT_ZONE, CT_MARK, CT_MARK_MASK, CT_LABELS, CT_LABELS_MASK, 15}
"""Including the times and padding."""


class Count(NamedTuple):
    """What a filter has counted since it was added."""

    packets: int
    bytes: int


def encode(actions: Sequence[AnyAction], cookie: bytes, *, index: int = 0) -> Iterator[bytes]:
    """The actions in order, each an attribute whose type is its position.

    Args:
        index: the action's index in the kernel; 0 lets the kernel choose one.
    """
    for place, action in enumerate(actions, start=1):
        match action:
            case Accept():
                kind, options = "gact", _gact(OK)
            case Drop():
                kind, options = "gact", _gact(SHOT)
            case Goto(chain):
                kind, options = "gact", _gact(GOTO_CHAIN | chain)
            case Ct():
                kind, options = "ct", b"".join(_ct(action, index))
            case _:
                assert_never(action)
        yield nested(place, text(KIND, kind), nested(OPTIONS, options), attribute(COOKIE, cookie))


def _gact(verdict: int) -> bytes:
    return attribute(GACT_PARMS, GENERIC.pack(0, 0, verdict, 0, 0))


def _ct(action: Ct, index: int) -> Iterator[bytes]:
    yield attribute(CT_PARMS, GENERIC.pack(index, 0, PIPE, 0, 0))
    what = COMMIT * action.commit | FORCE * action.force | CLEAR * action.clear
    yield attribute(CT_ACTION, U16.pack(what))
    if action.zone is not None:
        yield attribute(CT_ZONE, U16.pack(action.zone))
    if action.mark is not None:
        yield attribute(CT_MARK, U32.pack(action.mark.value))
        yield attribute(CT_MARK_MASK, U32.pack(action.mark.mask))
    if action.label is not None:
        yield attribute(CT_LABELS, label_bytes(action.label.value))
        yield attribute(CT_LABELS_MASK, label_bytes(action.label.mask))


def decode(body: bytes) -> tuple[tuple[AnyAction, ...], bytes]:
    """The actions of a dumped filter, and their cookie (empty if they have none).

    Raises:
        NotOurs: none of our filters has such an action.
    """
    found, cookies = [], set()
    for _, action in attributes(body):
        parts = by_kind(action)
        cookies.add(parts.get(COOKIE, b""))
        kind, options = string(parts.get(KIND, b"")), by_kind(parts.get(OPTIONS, b""))
        if kind == "gact":
            found.append(_gact_of(options))
        elif kind == "ct":
            found.append(_ct_of(options))
        else:
            raise NotOurs(f"it has an action {kind!r}, which ours never do")
    if len(cookies) > 1:
        raise NotOurs("its actions have different cookies, which ours never do")
    return tuple(found), cookies.pop() if cookies else b""


def _gact_of(options: dict[int, bytes]) -> AnyAction:
    verdict = GENERIC.unpack_from(options[GACT_PARMS])[2] & 0xFFFFFFFF
    if verdict == OK:
        return Accept()
    if verdict == SHOT:
        return Drop()
    if verdict & GOTO_MASK == GOTO_CHAIN:
        return Goto(verdict & ~GOTO_MASK)
    raise NotOurs(f"it has an action gact {verdict:#x}, which ours never do")


def _ct_of(options: dict[int, bytes]) -> Ct:
    verdict = GENERIC.unpack_from(options[CT_PARMS])[2]
    (what,) = U16.unpack(options.get(CT_ACTION, bytes(2)))
    if verdict != PIPE or what & ~(COMMIT | FORCE | CLEAR) or not options.keys() <= _KNOWN_CT:
        raise NotOurs(f"it has an action ct of kind {what:#x} with attributes {sorted(options)}, which ours never do")
    zone = U16.unpack(options[CT_ZONE])[0] if CT_ZONE in options else 0
    return Ct(
        zone=zone or None,
        commit=bool(what & COMMIT),
        force=bool(what & FORCE),
        clear=bool(what & CLEAR),
        mark=_bits(options, CT_MARK, CT_MARK_MASK, sys.byteorder),
        label=_bits(options, CT_LABELS, CT_LABELS_MASK, "big"),
    )


def _bits(options: dict[int, bytes], value: int, mask: int, order: Literal["big", "little"]) -> Bits | None:
    if value not in options:
        return None
    whole = b"\xff" * len(options[value])
    return Bits(int.from_bytes(options[value], order), int.from_bytes(options.get(mask, whole), order))


def count(body: bytes) -> tuple[Count, bytes]:
    """The statistics of a filter's last action, and the cookie; from full and terse dumps.

    The last one counts because an earlier action (ct) may consume the packet; the count should cover packets that were
    decided on.
    """
    found, cookie = Count(0, 0), b""
    for _, action in attributes(body):
        parts = by_kind(action)
        cookie = parts.get(COOKIE, b"")
        stats = by_kind(parts.get(STATS, b""))
        octets, packets = _BASIC.unpack_from(stats[BASIC]) if BASIC in stats else (0, 0)
        if PKT64 in stats:
            (packets,) = _PACKETS.unpack_from(stats[PKT64])
        found = Count(packets, octets)
    return found, cookie
