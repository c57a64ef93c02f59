"""OBJECTS as central services read it: facts in batches, and whether the reader is in sync.

What was not received need not be absent: a fold is complete only past the mark that ends the first listing of every
kind it needs, and past everything that was stored when the reading began.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import NamedTuple

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.kinds import Kind
from sluice.grouping.events import ObjectEvent, ObjectKey, Unread, Wanted, read_as
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message

BATCH = 512
"""Events per batch; the rest waits for the next one. A batch of changes costs a few milliseconds."""


class Facts(NamedTuple):
    """What was received since the last batch."""

    events: tuple[ObjectEvent, ...]
    unread: tuple[Unread, ...]
    """Messages requested undecoded. Either all changes of an object are among the events, or only its deletions."""

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


Ask = Callable[[ObjectKey, bytes], Wanted]
"""How this version of an object is wanted; the bytes are its stored body."""


def every(_: ObjectKey, __: bytes) -> Wanted:
    """Want all objects decoded."""
    return Wanted.READ


async def facts(bus: Bus, kinds: frozenset[Kind], ask: Ask = every) -> AsyncGenerator[Facts]:
    """Endless batches of facts of these kinds. An undecodable message is rejected, and the object stays as it was.

    Args:
        ask: tells how each object is wanted; unwanted ones are not even decoded.
    """
    listed: set[Kind] = set()
    events: list[ObjectEvent] = []
    unread: list[Unread] = []
    unreadable: dict[ObjectKey, str] = {}
    caught_up, afresh, seen = False, True, NEVER
    async with follow(bus, "OBJECTS") as follower:
        async for event in follower:
            match event:
                case NewEpoch():
                    for known in (listed, events, unread, unreadable):
                        known.clear()
                    caught_up, afresh, seen = False, True, NEVER
                    continue
                case CaughtUp(upto):
                    caught_up, seen = True, max(seen, upto)
                case Message():
                    seen = event.revision
                    match _fact(bus, event, kinds, ask, unreadable):
                        case Kind() as kind:
                            (listed.add if event.body else listed.discard)(kind)
                        case ObjectEvent() as fact:
                            events.append(fact)
                        case Unread() as fact:
                            unread.append(fact)
                        case None:
                            pass
            if len(events) + len(unread) >= BATCH or (caught_up and not follower.waiting):
                in_sync = caught_up and listed >= kinds
                yield Facts(tuple(events), tuple(unread), seen, follower.complete, afresh, in_sync, dict(unreadable))
                events, unread, afresh = [], [], False


def _fact(
    bus: Bus,
    message: Message,
    kinds: frozenset[Kind],
    ask: Ask,
    unreadable: dict[ObjectKey, str],
) -> Kind | ObjectEvent | Unread | None:
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
            key = ObjectKey(*subject)
            wanted = ask(key, message.body)
            if wanted is Wanted.NOT:
                return None
        case _:
            return None
    unreadable.pop(key, None)
    try:
        return read_as(wanted, key, message.body, message.revision)
    except codec.Undecodable as error:
        bus.rejects.add(message, str(error))
        unreadable[key] = str(error)
        return None
