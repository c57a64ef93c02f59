"""What is in force, from the bus: folds every relevant fact and notifies whenever the answer may have changed.

It reads only the kinds of objects that the fold needs, and no Pods, since pages say where they are.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import get_args

import structlog

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Mark
from sluice.contracts.ids import Backend, NodeName
from sluice.contracts.status import CompilerStatus, NodeStatus, SourceStatus, read_status
from sluice.grouping.events import read
from sluice.policy.realisation.fold import KINDS, Realisation
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, Event, NewEpoch, follow
from sluice.runtime.message import Message

log = structlog.get_logger()

_PATTERNS = {
    "OBJECTS": tuple(sorted(f"objects.{kind}.>" for kind in KINDS)),
    "GROUPS": (),
    "PROGRAMS": (),
    "STATUS": (),
}
_GATHER_S = 0.05
"""Time for which changes are gathered, since the order of messages between streams is not kept."""


_Arrivals = asyncio.Queue[tuple[str, Event | Exception]]


class _BegunError(Exception):
    """A stream was recreated: the fold is void."""


async def realisations(bus: Bus) -> AsyncGenerator[Realisation]:
    """Yield the fold after each change, endlessly; for the first time once all streams have been read.

    It is the same fold each time, until a stream is recreated.
    """
    while True:
        try:
            async with aclosing(_one(bus)) as tellings:
                async for fold in tellings:
                    yield fold
        except _BegunError as begun:
            log.warning("realisation_begun_again", stream=str(begun))


async def _one(bus: Bus) -> AsyncGenerator[Realisation]:
    arrivals: _Arrivals = asyncio.Queue()
    running = [
        asyncio.create_task(_read(bus, stream, patterns, arrivals), name=f"reader of {stream}")
        for stream, patterns in _PATTERNS.items()
    ]
    try:
        fold, behind = Realisation(), set(_PATTERNS)
        while True:
            took = _take_all(bus, fold, behind, await arrivals.get(), arrivals)
            if behind or not took:
                continue
            await asyncio.sleep(_GATHER_S)
            if not arrivals.empty():
                _take_all(bus, fold, behind, arrivals.get_nowait(), arrivals)
            yield fold
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _read(bus: Bus, stream: str, patterns: tuple[str, ...], arrivals: "_Arrivals") -> None:
    """Queue the events of the stream, and an error, if any, for the reader of the queue to raise."""
    try:
        async with follow(bus, stream, patterns) as events:
            async for event in events:
                arrivals.put_nowait((stream, event))
    except Exception as error:
        arrivals.put_nowait((stream, error))


def _take_all(
    bus: Bus,
    fold: Realisation,
    behind: set[str],
    first: tuple[str, Event | Exception],
    arrivals: "_Arrivals",
) -> bool:
    """Take in what has arrived; True if it may have changed anything."""
    took, arrival = False, first
    while True:
        stream, event = arrival
        match event:
            case Exception():
                raise event
            case CaughtUp():
                behind.discard(stream)
                took = True
            case NewEpoch():
                raise _BegunError(stream)
            case Message():
                took |= _take(bus, fold, event)
        if arrivals.empty():
            return took
        arrival = arrivals.get_nowait()


def _take(bus: Bus, fold: Realisation, message: Message) -> bool:
    """Take in one message; True if it is of interest to the fold."""
    try:
        subject = subjects.parse(message.subject)
        _tell(bus, fold, subject, message)
    except (subjects.BadSubject, codec.Undecodable) as error:
        bus.rejects.add(message, str(error))
        return False
    return not isinstance(subject, subjects.OwnSubject | subjects.LocalSubject | subjects.RouteSubject)


def _tell(bus: Bus, fold: Realisation, subject: subjects.Subject, message: Message) -> None:
    body = message.body
    cause = message.cause if body else None
    match subject:
        case subjects.ObjectSubject():
            fold.object(read(subject, body, message.revision))
        case subjects.ProgramSubject(backend, group, unit):
            fold.program(backend, group, unit, cause)
        case subjects.PageSubject(group, node) if node and not node.startswith("."):  # `_` has blocks, not members
            fold.page(group, node, cause)
        case subjects.GroupMarkSubject() if body:
            fold.mark("groups", codec.decode(body, Mark))
        case subjects.ProgramMarkSubject(backend) if body:
            if backend in get_args(Backend):  # another may stem from a version that was upgraded to and rolled back
                fold.mark(f"programs.{backend}", codec.decode(body, Mark))
            else:
                bus.rejects.strange(message.subject, f"programs._mark.{backend}", f"no backend {backend} is known")
        case subjects.StatusSubject(node="_compiler", backend=shard):
            fold.compiler(int(shard), codec.decode(body, CompilerStatus) if body else None)
        case subjects.StatusSubject(node="_source", backend=name):
            fold.source(name, codec.decode(body, SourceStatus) if body else None)
        case subjects.StatusSubject(node=node, backend=backend) if not node.startswith("_"):
            fold.node(read_status(NodeName(node), backend, body) if body else None, NodeName(node), backend)
            if body and backend in get_args(Backend):
                bus.rejects.decode(message, NodeStatus)  # only to reject it if it does not decode
            elif body:
                bus.rejects.strange(message.subject, f"status.*.{backend}", f"no backend {backend} is known")
        case _:
            pass
