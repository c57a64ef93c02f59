"""Filters at the hooks of interfaces: read them, apply a plan, read the counters.

A plan is applied in order and stops at the first refusal. Filters that no packet reaches yet (everything before the
root filter that leads to them) are sent in batches. Changes that packets meet at once are sent singly, since the kernel
continues a batch after a refusal, and nothing may be applied after a refused change.

Hardware offload is all or nothing per hook. If the hardware refuses a filter behind one that it accepted, it could let
through what the first one denies. The root decides: while it is in software only, no packet of the hook reaches the
filters in hardware. So the root is offloaded once everything behind it is, and returns to software when something is
not.
"""

import errno
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, assert_never

from sluice.dataplane.tc.filter import FilterBody, FilterKey, Goto, Standings
from sluice.dataplane.tc.operations import (
    SETTLE_S,
    AddFilter,
    DeleteChain,
    DeleteFilter,
    Operation,
    ReplaceFilter,
    Settle,
)
from sluice.dataplane.tc.owner import generation_of, is_our_chain, is_ours, is_root, unpack
from sluice.dataplane.tc.text import write
from sluice.drivers.tc import messages
from sluice.drivers.tc.actions import Count
from sluice.drivers.tc.errors import Answer, NoSuchDevice, Refused
from sluice.drivers.tc.messages import Held, Offload, Stranger, Where
from sluice.drivers.tc.netlink import Message, Netlink

BATCH = 256
"""Messages per system call; more would need more room for answers and gain nothing (figure P19)."""


class Placement(StrEnum):
    """Where the filters of a hook are."""

    SOFTWARE = "software"
    HARDWARE = "hardware"
    """All of them."""

    MIXED = "mixed"
    """Some of them: we never leave it like this."""


class Reading(NamedTuple):
    """The contents of a hook."""

    standings: Standings
    strangers: tuple[Stranger, ...]
    """Foreign filters in our chains, which are in the way. Those in other chains are not listed."""

    placement: Placement
    foreign: int
    """Number of filters that belong to others and do not concern us."""


class Placed(NamedTuple):
    """An operation and its place."""

    where: Where
    operation: Operation


class Done(NamedTuple):
    """The result of a plan."""

    messages: int
    placement: Placement
    not_in_hardware: str = ""
    """Why it is not in hardware although it should be."""


class Hooks:
    """One netlink socket for any hook of the network namespace in which it was created."""

    def __init__(self) -> None:
        self._netlink = Netlink()

    def close(self) -> None:
        self._netlink.close()

    @property
    def port(self) -> int:
        """The port id of the socket that makes these changes (see `events`)."""
        return self._netlink.port

    @property
    def messages_sent(self) -> int:
        return self._netlink.messages_sent

    def open(self, ifindex: int, *, ingress_block: int = 0, egress_block: int = 0) -> None:
        """Give the interface its two hooks; existing ones are left alone.

        Raises:
            Refused, NoSuchDevice, NetlinkLost
        """
        message = messages.add_clsact(ifindex, ingress_block=ingress_block, egress_block=egress_block)
        self._one(f"interface {ifindex}: qdisc clsact", message, fine=errno.EEXIST)

    def opened(self) -> frozenset[int]:
        """The interfaces that have the hooks.

        Raises:
            NetlinkLost
        """
        found = map(messages.clsact_interface, self._netlink.dump(messages.dump_qdiscs()))
        return frozenset(ifindex for ifindex in found if ifindex is not None)

    def close_hooks(self, ifindex: int) -> None:
        """Remove the interface's hooks with all their filters, including those of others.

        Raises:
            Refused, NetlinkLost
        """
        self._one(f"interface {ifindex}: qdisc clsact", messages.delete_clsact(ifindex), fine=errno.ENOENT)

    def read(self, where: Where) -> Reading:
        """The contents of the hook; empty if the interface has no hooks.

        Raises:
            NetlinkLost, NoSuchDevice
        """
        standings: Standings = {}
        strangers, foreign = [], 0
        in_hardware: dict[FilterKey, bool] = {}
        for message in self._dump(where, messages.dump_filters(where)):
            match messages.read_filter(message):
                case None:
                    pass
                case Stranger(chain) as stranger if is_our_chain(chain):
                    strangers.append(stranger)
                case Held(key, standing, hardware) if is_ours(key):
                    standings[key] = standing
                    in_hardware[key] = hardware
                case _:
                    foreign += 1
        return Reading(standings, tuple(strangers), _placement_of(in_hardware), foreign)

    def count(self, where: Where) -> dict[int, Count]:
        """The counters of our filters, added up by the reference in their cookies.

        Raises:
            NetlinkLost, NoSuchDevice
        """
        found: dict[int, Count] = {}
        for message in self._dump(where, messages.dump_filters(where, terse=True)):
            one = messages.read_count(message)
            if one is None:
                continue
            _, count, raw = one
            cookie = unpack(raw)
            if cookie is not None:
                before = found.get(cookie.reference, Count(0, 0))
                found[cookie.reference] = Count(before.packets + count.packets, before.bytes + count.bytes)
        return found

    def remove(self, where: Where, strangers: Iterable[Stranger]) -> None:
        """Delete foreign filters from our chains.

        Raises:
            Refused, NoSuchDevice, NetlinkLost
        """
        for one in strangers:
            message = messages.delete_stranger(where, one)
            self._one(f"chain {one.chain} pref {one.pref}: removing {one.kind}", message, fine=errno.ENOENT)

    def apply(self, plan: Sequence[Placed], *, hardware: bool = False) -> Done:
        """Apply the operations, in order.

        Args:
            plan: what the pure half planned for hooks of one interface, or for shared blocks.
            hardware: offload each hook if all of it can be offloaded.

        Raises:
            Refused: the first refusal of the kernel; nothing was sent after it. Read back and plan again.
            NoSuchDevice: the interface disappeared.
            NetlinkLost: what was done is unknown. Read back.
        """
        before = self._netlink.messages_sent
        reasons: dict[Where, str] = {}
        for batch in batches(plan):
            where, operation = batch[0]
            offload = Offload.SKIP_HW
            if hardware:
                reason = self._why_in_software(where, operation) if changes_root(operation) else ""
                offload = Offload.SKIP_HW if reason else Offload.VERBOSE
                if reason:
                    reasons[where] = reason
            self._make(batch, offload)
        if hardware:
            for where in dict.fromkeys(where for where, _ in plan):
                self._place(where, reasons)
        placement = Placement.HARDWARE if hardware and not reasons else Placement.SOFTWARE
        return Done(self._netlink.messages_sent - before, placement, "; ".join(sorted(set(reasons.values()))))

    def _make(self, batch: Sequence[Placed], offload: Offload) -> None:
        if isinstance(batch[0].operation, Settle):
            time.sleep(SETTLE_S)
            return
        refused = self._netlink.send([_message(where, operation, offload) for where, operation in batch])
        for position, answer in sorted(refused.items()):
            operation = batch[position].operation
            if answer.code != FINE.get(type(operation)):
                raise _refused(_describe(operation), answer)

    def _why_in_software(self, where: Where, root: Operation) -> str:
        """Why the root may not be in hardware: something that it leads to is not."""
        generation = generation_of(_target(root))
        for held in self._held(where):
            if is_our_chain(held.key.chain) and generation_of(held.key.chain) == generation and not held.in_hardware:
                return f"the hardware did not take {_name(held.key)}"
        return ""

    def _place(self, where: Where, reasons: dict[Where, str]) -> None:
        """Offload the hook's root if everything else is in hardware; otherwise note the reason."""
        held = [one for one in self._held(where) if is_ours(one.key)]
        root = next((one for one in held if is_root(one.key)), None)
        left_out = next((one for one in held if not one.in_hardware), None)
        if root is None or left_out is None:
            return
        reasons.setdefault(where, f"the hardware did not take {_name(left_out.key)}")
        if root.in_hardware:
            back = ReplaceFilter(root.key, root.standing.handle, root.standing.body)
            self._make((Placed(where, back),), Offload.SKIP_HW)

    def _held(self, where: Where) -> Iterator[Held]:
        for message in self._dump(where, messages.dump_filters(where)):
            held = messages.read_filter(message)
            if isinstance(held, Held):
                yield held

    def _one(self, what: str, message: Message, *, fine: int) -> None:
        answer = self._netlink.send([message]).get(0)
        if answer is not None and answer.code != fine:
            raise _refused(what, answer)

    def _dump(self, where: Where, message: Message) -> list[Message]:
        try:
            return self._netlink.dump(message)
        except ConnectionError:
            raise
        except OSError as error:
            raise NoSuchDevice(f"reading {_place_name(where)}", error.errno or 0, error.strerror or "") from error


FINE = {AddFilter: errno.EEXIST, DeleteFilter: errno.ENOENT, DeleteChain: errno.ENOENT}
"""Refusals that mean that the change was made already."""

GONE = frozenset({errno.ENODEV, errno.ENXIO})


def changes_root(operation: Operation) -> bool:
    return isinstance(operation, AddFilter | ReplaceFilter) and is_root(operation.key)


def batches(plan: Sequence[Placed]) -> Iterator[tuple[Placed, ...]]:
    """The plan in batches: additions that no root leads to yet together, everything else singly."""
    unseen_until = {one.where: place for place, one in enumerate(plan) if changes_root(one.operation)}
    waiting: list[Placed] = []
    for place, one in enumerate(plan):
        unseen = place < unseen_until.get(one.where, 0)
        if unseen and isinstance(one.operation, AddFilter) and not changes_root(one.operation):
            waiting.append(one)
            if len(waiting) == BATCH:
                yield tuple(waiting)
                waiting = []
            continue
        if waiting:
            yield tuple(waiting)
            waiting = []
        yield (one,)
    if waiting:
        yield tuple(waiting)


def _message(where: Where, operation: Operation, offload: Offload) -> Message:
    match operation:
        case AddFilter(key, handle, body):
            return messages.add_filter(where, key, handle, body, offload)
        case ReplaceFilter(key, handle, body):
            return messages.replace_filter(where, key, handle, body, offload)
        case DeleteFilter(key, handle):
            return messages.delete_filter(where, key, handle)
        case DeleteChain(chain):
            return messages.delete_chain(where, chain)
        case Settle():
            raise AssertionError("a wait is no message")
        case _:
            assert_never(operation)


def _target(root: Operation) -> int:
    """The chain that a root filter leads to; 0 without one, which is never a generation's chain."""
    if isinstance(root, AddFilter | ReplaceFilter):
        for action in root.body.actions:
            if isinstance(action, Goto):
                return action.chain
    return 0


def _placement_of(standings: Mapping[FilterKey, bool]) -> Placement:
    """Where our filters are, given for each one whether it is in hardware."""
    if not any(held for key, held in standings.items() if is_root(key)):
        return Placement.SOFTWARE
    return Placement.HARDWARE if all(standings.values()) else Placement.MIXED


def _describe(operation: Operation) -> str:
    match operation:
        case AddFilter(key) | ReplaceFilter(key) | DeleteFilter(key):
            return f"{type(operation).__name__} {_name(key)}"
        case DeleteChain(chain):
            return f"DeleteChain {chain:#x}"
        case Settle():
            return "Settle"
        case _:
            assert_never(operation)


def _name(key: FilterKey) -> str:
    return f"chain {key.chain:#x} pref {key.pref} {_flower_words(key)}"


def _flower_words(key: FilterKey) -> str:
    words = write(key, FilterBody((), b"")).split(" flower", 1)
    return (words[0].split(" pref", 1)[0] + words[-1]).strip()


def _refused(what: str, answer: Answer) -> Refused:
    return (NoSuchDevice if answer.code in GONE else Refused)(what, answer.code, answer.says)


def _place_name(where: Where) -> str:
    if where.ifindex == messages.BLOCK:
        return f"block {where.parent}"
    names = {parent: hook for hook, parent in messages.PARENTS.items()}
    return f"interface {where.ifindex} {names.get(where.parent, hex(where.parent))}"
