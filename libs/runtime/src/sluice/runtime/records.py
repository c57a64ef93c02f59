"""Exports a ledger from a bus into a file, and imports a file into a bus without one."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from itertools import islice

import nats.errors
from msgspec.structs import replace
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from sluice.contracts import codec, subjects
from sluice.contracts.ledger import Checkpoint
from sluice.contracts.streams import CHECKPOINTS, LEDGER, OBJECTS, TIME_HEADER
from sluice.ledger.chain import Entry
from sluice.ledger.record import Head, Record, Snapshot, Writer, encode, snapshot
from sluice.ledger.state import BadState
from sluice.runtime import acks, past, streams
from sluice.runtime.bus import Bus
from sluice.runtime.client import subscribe
from sluice.runtime.patience import patiently

AT_ONCE = 500
"""Entries that are sent before waiting for their acknowledgements."""

ANSWER_S = 30.0

_GAP = "objects._gap"
"""Placeholder for a sequence that the ledger did not have; it is deleted afterwards."""


class NotEmpty(Exception):
    """The bus already has a ledger. The message says what to do."""


class NotRestored(Exception):
    """The bus did not store all entries: what it holds is not a valid ledger. The message says why and what to do."""


Write = Callable[[bytes], object]


async def export(bus: Bus, write: Write) -> Writer:
    """Write the whole ledger with its checkpoints, line by line; the returned writer knows the number of entries.

    Raises:
        Missing: there is no ledger, or it was recreated meanwhile.
        BadState: a checkpoint has lost its state.
        Undecodable: a checkpoint does not decode.
    """
    here = await past.reach(bus)
    write(encode(Head(epoch=here.epoch, first=here.first, last=here.last)))
    for one in await past.checkpoints(bus, here.epoch):
        if one.last <= here.last:
            parts = await past.parts(bus, one)
            if len(parts) != one.parts:
                raise BadState(f"the checkpoint at {one.last} has lost {one.parts - len(parts)} parts of its state")
            for line in snapshot(Snapshot(one, parts)):
                write(line)
    writer = Writer()
    async with aclosing(past.told(bus, here.epoch, here.first - 1, here.last)) as entries:
        async for entry in entries:
            write(writer.line(entry))
    write(writer.end())
    return writer


async def restore(bus: Bus, record: Record) -> int:
    """Import the ledger (entries with their sequences and times, checkpoints); returns the number of entries.

    Raises:
        NotEmpty, NotRestored
        BadRecord: the file is invalid.
    """
    await _begin(bus, record.head.first)
    sending = _Sending(bus)
    count, entries = 0, _gapless(record)
    while some := list(islice(entries, AT_ONCE)):
        await sending.store(some)
        for gone in (one.sequence for one in some if one.subject == _GAP):
            await patiently(bus, lambda gone=gone: bus.js.delete_msg(LEDGER.name, gone))  # type: ignore[misc]  # bound now
        count += sum(one.subject != _GAP for one in some)
    await streams.ensure(bus)
    epoch = await streams.epoch(bus, LEDGER.name)
    for one in record.snapshots:
        last = one.checkpoint.last
        for number, part in enumerate(one.parts):
            await _put(bus, subjects.state_part(epoch, last, number), codec.encode(part))
        again = codec.encode(_of_epoch(one, epoch))
        await _put(bus, subjects.checkpoint(epoch, last), again)
    return count


async def _begin(bus: Bus, first: int) -> None:
    """Create LEDGER, empty and with this first sequence.

    Raises:
        NotEmpty
    """
    try:
        there = await patiently(bus, lambda: bus.js.stream_info(LEDGER.name))
    except NotFoundError:
        there = None
    if there and there.state.last_seq:
        raise NotEmpty(
            f"{LEDGER.name}: the bus already has a ledger, up to entry {there.state.last_seq}; stop all services "
            "of Sluice and empty the bus, or name another bus"
        )
    for name in (OBJECTS.name, LEDGER.name):
        with contextlib.suppress(NotFoundError):
            await patiently(bus, lambda name=name: bus.js.delete_stream(name))  # type: ignore[misc]  # bound now
    wanted = streams.config(LEDGER, bus.limits)
    wanted.first_seq = first if first > 1 else None
    await patiently(bus, lambda: bus.js.add_stream(wanted))


def _gapless(record: Record) -> Iterator[Entry]:
    """The entries, with a placeholder for each that the ledger did not have."""
    expected = record.head.first
    for entry in record.entries():
        yield from (Entry(sequence, _GAP, b"{}") for sequence in range(expected, entry.sequence))
        yield entry
        expected = entry.sequence + 1
    yield from (Entry(sequence, _GAP, b"{}") for sequence in range(expected, record.head.last + 1))


class _Sending:
    """Stores entries at their original sequences."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._answers: asyncio.Queue[Msg] = asyncio.Queue()
        self._inbox = bus.nc.new_inbox()

    async def store(self, some: Sequence[Entry]) -> None:
        """Store all of these.

        Raises:
            NotRestored
        """
        subscription = await subscribe(self._bus.nc, f"{self._inbox}.*", self._answers)
        try:
            for entry in some:
                reply = f"{self._inbox}.{entry.sequence}"
                await self._bus.nc.publish(entry.subject, entry.body, reply, _headers(entry))
            async with asyncio.timeout(ANSWER_S):
                for _ in some:
                    _check(await self._answers.get())
        except (TimeoutError, nats.errors.Error) as error:
            raise NotRestored(f"entry {some[0].sequence}: the bus does not answer: {error!r}; {_AGAIN}") from error
        finally:
            await subscription.unsubscribe()


def _headers(entry: Entry) -> dict[str, str]:
    headers = {TIME_HEADER: str(entry.time_ns)}
    if not entry.body:
        headers["Nats-TTL"] = str(LEDGER.tombstone_ttl_s)
    return headers


def _check(answer: Msg) -> None:
    sequence = int(answer.subject.rpartition(".")[2])
    match acks.parse(answer):
        case acks.Stored(there) if there == sequence:
            return
        case acks.Stored(there):
            raise NotRestored(
                f"entry {sequence}: it was stored as {there}, because another program writes to the ledger; stop all "
                f"services, {_AGAIN}"
            )
        case other:
            raise NotRestored(f"entry {sequence}: the bus refuses it: {other}; {_AGAIN}")


_AGAIN = "empty the bus, and begin again"


async def _put(bus: Bus, subject: str, body: bytes) -> None:
    await patiently(bus, lambda: bus.js.publish(subject, body, stream=CHECKPOINTS.name))


def _of_epoch(one: Snapshot, epoch: int) -> Checkpoint:
    """The checkpoint, adapted to the epoch of the new ledger."""
    return replace(one.checkpoint, epoch=epoch)
