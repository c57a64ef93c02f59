"""The filters at hooks of interfaces: read them, change them as a plan says, count what went through.

A plan is made in order, and stops at the first refusal. What is built where no packet goes yet (everything before a
root filter leads to it) is sent in batches; what packets meet at once is sent alone, so that nothing goes in after
something that was refused: the kernel itself goes on with a batch.

Hardware is all or nothing for a hook. A filter that the hardware did not take behind one that it did could let through
what the first one denies. The root decides: while it is in software only, no packet of the hook's meets the filters
that are in hardware. So it goes into hardware when all that it leads to is there, and leaves it when something is not.
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
"""Messages in one call of the system: beyond it costs room for answers, and gains nothing (figure P19)."""


class Placement(StrEnum):
    """Where the filters of a hook are."""

    SOFTWARE = "software"
    HARDWARE = "hardware"
    """Every one of them."""

    MIXED = "mixed"
    """Some: never left so by us."""


class Reading(NamedTuple):
    """What a hook holds."""

    standings: Standings
    strangers: tuple[Stranger, ...]
    """In chains of ours, and not ours: in the way. Those elsewhere are other people's, and not told."""

    placement: Placement
    foreign: int
    """Filters of others, which are none of our business."""


class Placed(NamedTuple):
    """An operation, and where it is to be made."""

    where: Where
    operation: Operation


class Done(NamedTuple):
    """What a plan came to."""

    messages: int
    placement: Placement
    not_in_hardware: str = ""
    """Why not, though it was to be."""


class Hooks:
    """One conversation with the kernel, about any hook of the network namespace in which it was begun."""

    def __init__(self) -> None:
        self._netlink = Netlink()

    def close(self) -> None:
        self._netlink.close()

    @property
    def port(self) -> int:
        """How the kernel calls who makes these changes (see `events`)."""
        return self._netlink.port

    @property
    def messages_sent(self) -> int:
        return self._netlink.messages_sent

    def open(self, ifindex: int, *, ingress_block: int = 0, egress_block: int = 0) -> None:
        """The interface has the two hooks; if it had them already, they stay as they are.

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
        """The interface has no hooks any more, and what was at them is gone: other people's filters as well.

        Raises:
            Refused, NetlinkLost
        """
        self._one(f"interface {ifindex}: qdisc clsact", messages.delete_clsact(ifindex), fine=errno.ENOENT)

    def read(self, where: Where) -> Reading:
        """What is there; nothing if the interface has no hooks.

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
        """What went through our filters, by the reference of their cookies, those of one reference together.

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
        """Filters that nobody else should have put in chains of ours are gone.

        Raises:
            Refused, NoSuchDevice, NetlinkLost
        """
        for one in strangers:
            message = messages.delete_stranger(where, one)
            self._one(f"chain {one.chain} pref {one.pref}: removing {one.kind}", message, fine=errno.ENOENT)

    def apply(self, plan: Sequence[Placed], *, hardware: bool = False) -> Done:
        """The operations are made, in order.

        Args:
            plan: what the pure half planned for hooks of one interface, or for shared blocks.
            hardware: each hook shall be in hardware, if all of it can be.

        Raises:
            Refused: the first that the kernel did not take; none after it was sent. Read back and plan anew.
            NoSuchDevice: the interface went.
            NetlinkLost: what was done is not known. Read back.
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
        """The hook's root is in hardware only if all else is; if not, the reason is noted."""
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
"""What a refusal may be because it is done already."""

GONE = frozenset({errno.ENODEV, errno.ENXIO})


def changes_root(operation: Operation) -> bool:
    return isinstance(operation, AddFilter | ReplaceFilter) and is_root(operation.key)


def batches(plan: Sequence[Placed]) -> Iterator[tuple[Placed, ...]]:
    """The plan, cut into what may be sent at once: additions that a root is still to lead to, and all else alone."""
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
    """The chain that a root filter leads to; without one it leads nowhere, and 0 is nobody's generation."""
    if isinstance(root, AddFilter | ReplaceFilter):
        for action in root.body.actions:
            if isinstance(action, Goto):
                return action.chain
    return 0


def _placement_of(standings: Mapping[FilterKey, bool]) -> Placement:
    """Whether our filters are in hardware, each by whether it is."""
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
