"""OBJECTS as central services read it: facts in batches, and a notice when the reader is in sync.

Not told is not gone: a fold is trustworthy only past the mark that ends the first listing of every kind it needs, and
past everything that was stored when the reading began.
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
"""Events handed over at once; more waiting ones make the next batch. One batch of changes costs a few milliseconds."""


class Facts(NamedTuple):
    """What was told since the last batch."""

    events: tuple[ObjectEvent, ...]
    unread: tuple[Unread, ...]
    """What was asked for as it is stored. Of one object either its deletions alone are among the events, or all."""

    seen: Revision
    """The newest that was told: what the fold says is caused by this."""

    upto: Revision
    """Everything on OBJECTS up to here was told, this batch included: marks say this. Before `seen` while the reader
    lags behind, because what was overwritten meanwhile comes only later."""

    afresh: bool
    """Forget all that was told before: the stream was made anew, or this is the beginning."""

    in_sync: bool
    """What was not told does not exist, but for the unreadable: the fold may be believed."""

    unreadable: Mapping[ObjectKey, str]
    """Objects whose newest version does not decode, and why. What was derived from them before must stay."""


Ask = Callable[[ObjectKey, bytes], Wanted]
"""How this version of an object is asked for; the bytes are what is stored of it."""


def every(_: ObjectKey, __: bytes) -> Wanted:
    """All objects are asked for."""
    return Wanted.READ


async def facts(bus: Bus, kinds: frozenset[Kind], ask: Ask = every) -> AsyncGenerator[Facts]:
    """The facts of these kinds, endlessly. What does not decode is set aside, and the object stays what it was.

    Args:
        ask: how objects are told; those that are passed over are not even decoded.
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
    """The kind that a mark is about, what the message tells of, or None if it is none of ours."""
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
