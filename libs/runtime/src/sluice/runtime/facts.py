"""OBJECTS as central services read it: facts in batches, and the word when they are all there are.

Not told is not gone: a fold may be believed only past the mark that ends the first listing of every kind it needs, and
past everything that was stored when the reading began.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.kinds import Kind
from sluice.grouping.events import ObjectEvent, read
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message

BATCH = 512
"""Events handed over at once; more waiting ones make the next batch. One batch of changes costs a few milliseconds."""


class Facts(NamedTuple):
    """What was told since the last batch."""

    events: tuple[ObjectEvent, ...]
    seen: Revision
    """The newest that was told: what the fold says is caused by this."""

    upto: Revision
    """Everything on OBJECTS up to here was told, this batch included: marks say this. Before `seen` while the reader
    lags behind, because what was overwritten meanwhile comes only later."""

    afresh: bool
    """Forget all that was told before: the stream was made anew, or this is the beginning."""

    in_sync: bool
    """What was not told does not exist: the fold may be believed."""


async def facts(bus: Bus, kinds: frozenset[Kind]) -> AsyncIterator[Facts]:
    """The facts of these kinds, endlessly. What does not decode is set aside, and the object stays what it was."""
    listed: set[Kind] = set()
    events: list[ObjectEvent] = []
    caught_up, afresh, seen = False, True, NEVER
    async with follow(bus, "OBJECTS") as follower:
        async for event in follower:
            match event:
                case NewEpoch():
                    listed.clear()
                    events.clear()
                    caught_up, afresh, seen = False, True, NEVER
                    continue
                case CaughtUp(upto):
                    caught_up, seen = True, max(seen, upto)
                case Message():
                    seen = event.revision
                    _take(bus, event, kinds, listed, events)
            if len(events) >= BATCH or (caught_up and not follower.waiting):
                yield Facts(tuple(events), seen, follower.complete, afresh, in_sync=caught_up and listed >= kinds)
                events, afresh = [], False


def _take(bus: Bus, message: Message, kinds: frozenset[Kind], listed: set[Kind], events: list[ObjectEvent]) -> None:
    try:
        match subjects.parse(message.subject):
            case subjects.ListedSubject(kind):
                (listed.add if message.body else listed.discard)(kind)
            case subjects.ObjectSubject() as subject if subject.kind in kinds:
                events.append(read(subject, message.body, message.revision))
            case _:
                pass
    except (codec.Undecodable, subjects.BadSubject) as error:
        bus.rejects.add(message, str(error))
