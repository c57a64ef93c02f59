"""Lint warnings from the bus: reads all objects a second time, and analyses them in a thread beside the event loop."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from typing import NamedTuple, TypeVar

import structlog

from sluice.contracts.ids import NEVER, Revision, Unit
from sluice.contracts.kinds import Kind
from sluice.grouping.events import ObjectEvent
from sluice.policy.realisation.report import Warned
from sluice.policy.realisation.warnings import warnings
from sluice.runtime.bus import Bus
from sluice.runtime.facts import facts
from sluice.runtime.streams import Missing, origin

log = structlog.get_logger()

T = TypeVar("T")


class Snapshot(NamedTuple):
    """OBJECTS at one moment: what is not in it does not exist."""

    events: tuple[ObjectEvent, ...]
    upto: Revision


async def snapshot(bus: Bus) -> Snapshot:
    """All objects. Waits until the first listing of every kind has ended: before that, objects may be missing."""
    events: list[ObjectEvent] = []
    async with aclosing(facts(bus, frozenset(Kind))) as batches:
        async for batch in batches:
            if batch.afresh:
                events.clear()
            events += batch.events
            if batch.in_sync:
                return Snapshot(tuple(events), batch.seen)
    raise AssertionError("facts are endless")


async def warned(bus: Bus, interval_s: float, most_rules: int) -> AsyncGenerator[Mapping[Unit, Warned]]:
    """Endless warnings, computed again after each interval in which OBJECTS changed.

    An error of ours in the analysis is logged, and earlier warnings stay: nothing depends on warnings.
    """
    upto = NEVER
    while True:
        if upto == NEVER or await _end(bus) != upto:
            events, upto = await snapshot(bus)
            try:
                found = await beside(partial(warnings, events, most_rules))
            except Exception:
                log.exception("lint_failed")
            else:
                yield found
        await asyncio.sleep(interval_s)


async def _end(bus: Bus) -> Revision:
    try:
        here = await origin(bus, "OBJECTS")
    except Missing:
        return NEVER
    return Revision(here.epoch, here.last_sequence)


async def beside(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own and return its result. A daemon thread, so shutdown need not wait for it."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: Exception | None) -> None:
        if result.done():  # nobody is waiting any more
            return
        if error is not None:
            result.set_exception(error)
        else:
            result.set_result(value)  # type: ignore[arg-type]  # None only if T is None

    def run() -> None:
        value, error = None, None
        try:
            value = work()
        except Exception as raised:
            error = raised
        with suppress(RuntimeError):  # the loop was closed: nobody is waiting any more
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, name="beside", daemon=True).start()
    return await result
