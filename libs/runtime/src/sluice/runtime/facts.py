"""OBJECTS as central services read it: facts in batches, and whether the reader is in sync.

What was not received need not be absent: a fold is complete only past the mark that ends the first listing of every
kind it needs, and past everything that was stored when the reading began.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import NamedTuple

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.kinds import Kind
from sluice.grouping.bystanders import Bystander
from sluice.grouping.events import ObjectEvent, ObjectKey, read
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message

BATCH = 512
"""Events per batch; the rest waits for the next one. A batch of changes costs a few milliseconds."""


class Facts(NamedTuple):
    """What was received since the last batch."""

    events: tuple[ObjectEvent, ...]
    bystanders: tuple[Bystander, ...]
    """Versions of Pods of which the reader wants no more; other versions of the same Pods can be among the events."""

    seen: Revision
    """The newest revision received: the cause of what the fold derives."""

    upto: Revision
    """Everything on OBJECTS up to here has been received, including this batch; marks carry this revision. It is less
    than `seen` while the reader lags, because later versions of overwritten messages arrive only later."""

    afresh: bool
    """Forget everything received before: the stream was recreated, or this is the first batch."""

    in_sync: bool
    """What was not received does not exist, except unreadable objects: the fold is complete."""

    unreadable: Mapping[ObjectKey, str]
    """Objects whose newest version does not decode, and why. What was derived from their old version must stay."""


Read = Callable[[ObjectKey, bytes, Revision], ObjectEvent | Bystander | None]
"""A version of an object, from its stored body, in the form in which it is wanted; None if it is not.

Raises `Undecodable` if it is wanted and is not an object of its kind.
"""


async def facts(bus: Bus, kinds: frozenset[Kind], read: Read = read) -> AsyncGenerator[Facts]:
    """Endless batches of facts of these kinds. An undecodable message is rejected, and the object stays as it was.

    Args:
        read: reads each object; unset: all are decoded.
    """
    listed: set[Kind] = set()
    events: list[ObjectEvent] = []
    bystanders: list[Bystander] = []
    unreadable: dict[ObjectKey, str] = {}
    caught_up, afresh, seen = False, True, NEVER
    async with follow(bus, "OBJECTS") as follower:
        async for event in follower:
            match event:
                case NewEpoch():
                    for known in (listed, events, bystanders, unreadable):
                        known.clear()
                    caught_up, afresh, seen = False, True, NEVER
                    continue
                case CaughtUp(upto):
                    caught_up, seen = True, max(seen, upto)
                case Message():
                    seen = event.revision
                    match _fact(bus, event, kinds, read, unreadable):
                        case Kind() as kind:
                            (listed.add if event.body else listed.discard)(kind)
                        case ObjectEvent() as fact:
                            events.append(fact)
                        case Bystander() as fact:
                            bystanders.append(fact)
                        case None:
                            pass
            if len(events) + len(bystanders) >= BATCH or (caught_up and not follower.waiting):
                in_sync = caught_up and listed >= kinds
                pods = tuple(bystanders)
                yield Facts(tuple(events), pods, seen, follower.complete, afresh, in_sync, dict(unreadable))
                events, bystanders, afresh = [], [], False


def _fact(
    bus: Bus,
    message: Message,
    kinds: frozenset[Kind],
    read: Read,
    unreadable: dict[ObjectKey, str],
) -> Kind | ObjectEvent | Bystander | None:
    """The kind whose listing mark this is, the fact in the message, or None for anything else."""
    try:
        subject = subjects.parse(message.subject)
    except subjects.BadSubject as error:
        bus.rejects.add(message, str(error))
        return None
    match subject:
        case subjects.ListedSubject(kind):
            return kind
        case subjects.ObjectSubject() if subject.kind in kinds:
            unreadable.pop(subject, None)
            try:
                return read(subject, message.body, message.revision)
            except codec.Undecodable as error:
                bus.rejects.add(message, str(error))
                unreadable[subject] = str(error)
    return None
