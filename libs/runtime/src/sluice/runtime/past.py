"""The history of the objects, from the bus: LEDGER, and the checkpoints that vouch for it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

from nats.js.errors import NotFoundError

from sluice.contracts import audit_batches, codec, subjects
from sluice.contracts.audit import AuditEvent
from sluice.contracts.audit_batches import Batch, LaterEvent
from sluice.contracts.ledger import Checkpoint, StatePart
from sluice.contracts.streams import AUDIT, CHECKPOINTS, LEDGER
from sluice.ledger import history, state
from sluice.ledger.chain import Entry
from sluice.ledger.state import State
from sluice.ledger.verifying import Verified, verify
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message
from sluice.runtime.patience import patiently
from sluice.runtime.streams import Missing, origin


class Reach(NamedTuple):
    """The range of LEDGER."""

    epoch: int
    first: int
    """Sequence of the oldest entry; one more than `last` if there is none."""

    last: int


class Moment(NamedTuple):
    """The state of all objects after one entry."""

    epoch: int
    sequence: int
    held: State


async def reach(bus: Bus) -> Reach:
    """The current range of LEDGER.

    Raises:
        Missing: there is no LEDGER.
    """
    here = await origin(bus, LEDGER.name)
    info = await patiently(bus, lambda: bus.js.stream_info(LEDGER.name))
    return Reach(here.epoch, max(1, info.state.first_seq), info.state.last_seq)


async def checkpoints(bus: Bus, epoch: int) -> list[Checkpoint]:
    """The checkpoints of the epoch, ordered by sequence; empty if the stream does not exist.

    Raises:
        Undecodable: a checkpoint does not decode.
    """
    stored = await last_of(bus, CHECKPOINTS.name, f"ledger._checkpoint.{epoch}.*")
    found = (codec.decode(message.body, Checkpoint) for message in stored if message.body)
    return sorted(found, key=lambda one: one.last)


async def state_at(bus: Bus, checkpoint: Checkpoint) -> State:
    """The state of LEDGER at the checkpoint.

    Raises:
        BadState: the parts are not those the checkpoint was made of.
        Undecodable: a part does not decode.
    """
    return state.read(await parts(bus, checkpoint), checkpoint.state)


async def parts(bus: Bus, checkpoint: Checkpoint) -> tuple[StatePart, ...]:
    """The stored parts of the checkpoint's state, in order; some may be missing.

    Raises:
        Undecodable: a part does not decode.
    """
    pattern = f"ledger._state.{checkpoint.epoch}.{checkpoint.last}.*"
    stored = {message.subject: message.body for message in await last_of(bus, CHECKPOINTS.name, pattern)}
    wanted = [subjects.state_part(checkpoint.epoch, checkpoint.last, part) for part in range(checkpoint.parts)]
    return tuple(codec.decode(stored[subject], StatePart) for subject in wanted if subject in stored)


async def entries(bus: Bus, epoch: int, after: int, upto: int) -> list[Entry]:
    """The entries in LEDGER after one sequence, up to and including another.

    Raises:
        Missing: LEDGER was recreated meanwhile.
    """
    async with aclosing(told(bus, epoch, after, upto)) as stream:
        return [one async for one in stream]


async def told(bus: Bus, epoch: int, after: int, upto: int) -> AsyncGenerator[Entry]:
    """Like `entries`, but yields them one by one as they arrive.

    Raises:
        Missing: LEDGER was recreated meanwhile.
    """
    if upto <= after:
        return
    async with follow(bus, LEDGER.name, after=after) as events:
        async for event in events:
            match event:
                case Message(subject=subject, body=body, revision=revision, time_ns=time_ns):
                    if revision.epoch != epoch:
                        break
                    if revision.sequence > upto:
                        return
                    yield Entry(revision.sequence, subject, body, time_ns)
                    if revision.sequence == upto:
                        return
                case CaughtUp(there) if there.epoch == epoch:
                    return
                case CaughtUp() | NewEpoch():
                    break
    raise Missing(f"the stream {LEDGER.name} was deleted and created anew while it was read; try again")


async def moment(bus: Bus, sequence: int | None = None) -> Moment:
    """The state after the entry with this sequence; None: now.

    Raises:
        TooOld: the ledger does not reach back that far, or has not reached it yet.
        BadState, Undecodable: see `state_at`.
    """
    here = await reach(bus)
    wanted = here.last if sequence is None else sequence
    if not 0 <= wanted <= here.last:
        raise history.TooOld(f"entry {wanted}: the ledger has only the entries {here.first} to {here.last}")
    begin = history.start(await checkpoints(bus, here.epoch), here.first, wanted)
    begun = await state_at(bus, begin.checkpoint) if begin.checkpoint else State()
    since = await entries(bus, here.epoch, begin.sequence - 1, wanted)
    return Moment(here.epoch, wanted, history.replay(begun, since, wanted))


async def sequence_at(bus: Bus, time_ns: int) -> int:
    """Sequence of the last entry that LEDGER had stored by this time (nanoseconds since 1970).

    Raises:
        TooOld: the oldest entry is younger, and there is no earlier checkpoint.
    """
    here = await reach(bus)
    low, high = here.first - 1, here.last  # the answer is low, or between low and high
    while low < high:
        middle = (low + high + 1) // 2
        if await _stored_ns(bus, middle) <= time_ns:
            low = middle
        else:
            high = middle - 1
    if low >= here.first or here.first == 1:
        return low
    older = [one.last for one in await checkpoints(bus, here.epoch) if one.time_ns <= time_ns]
    if not older:
        raise history.TooOld("the ledger does not go back that far; its oldest entry is " + str(here.first))
    return older[-1]


async def verified(bus: Bus) -> Verified:
    """Verify LEDGER against its checkpoints; reports where it differs.

    Raises:
        Missing: LEDGER was recreated meanwhile.
        Undecodable: a checkpoint does not decode.
    """
    here = await reach(bus)
    known = await checkpoints(bus, here.epoch)
    return verify(known, await entries(bus, here.epoch, here.first - 1, here.last))


async def _stored_ns(bus: Bus, sequence: int) -> int:
    """When the entry was stored; if it is gone, when the next existing entry was."""
    async with follow(bus, LEDGER.name, after=sequence - 1) as events:
        async for event in events:
            if isinstance(event, Message):
                return event.time_ns
            break
    return 1 << 63


async def last_of(bus: Bus, stream: str, pattern: str) -> list[Message]:
    """All messages currently in the stream on this pattern; empty if the stream does not exist."""
    try:
        await patiently(bus, lambda: bus.js.stream_info(stream))
    except NotFoundError:
        return []
    found: list[Message] = []
    async with follow(bus, stream, (pattern,)) as events:
        async for event in events:
            match event:
                case Message():
                    found.append(event)
                case NewEpoch():
                    found.clear()
                case CaughtUp():
                    break
    return found


async def audited(bus: Bus) -> list[AuditEvent]:
    """All lines in AUDIT, each once. Undecodable batches are skipped; the regular readers of AUDIT report them."""
    batches: dict[str, Batch] = {}
    for message in await last_of(bus, AUDIT.name, "audit.>"):
        try:
            batch = audit_batches.read(message.body, message.time_ns // 1_000)
        except codec.Undecodable:
            continue
        batches.setdefault(batch.id, batch)
    told = (event for batch in batches.values() for event in batch.events)
    return [event for event in told if not isinstance(event, LaterEvent)]
