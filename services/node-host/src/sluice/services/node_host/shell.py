"""The shell: reads the bus, listens to the kernel, runs the upkeep in a thread, and reports what is applied.

Whatever connection is lost, the kernel keeps its state.
"""

import asyncio
from time import monotonic

import structlog

from sluice.contracts.ids import NEVER, NodeName, Revision
from sluice.contracts.status import NodeStatus
from sluice.dataplane.host.guard import BY_ITSELF
from sluice.drivers.nftables.events import Events
from sluice.drivers.nftables.tables import Tables
from sluice.runtime.bus import Bus
from sluice.runtime.feed import Feed
from sluice.runtime.reporting import Reporting
from sluice.runtime.rounds import Rounds
from sluice.runtime.telling import Telling
from sluice.services.node_host import lifelines
from sluice.services.node_host.audit import Audit
from sluice.services.node_host.counting import Counting
from sluice.services.node_host.explaining import Explaining
from sluice.services.node_host.programmer import Programmer
from sluice.services.node_host.settings import NodeHostSettings
from sluice.services.node_host.upkeep import Upkeep

log = structlog.get_logger()

RETRY_S = 1.0
"""Retry interval after the kernel refused something: it will most likely do so again until something else changes."""

DRIFT_PAUSE_S = 0.5
"""Minimum interval between reads of a table that others keep changing."""


class Shell:
    def __init__(self, settings: NodeHostSettings, bus: Bus) -> None:
        self._settings, self._bus = settings, bus
        self._node = NodeName(settings.node_name)
        self._programmer = Programmer(self._node, settings.log_rate)
        self._tables = Tables(settings.namespace)
        self._upkeep = Upkeep(self._tables)
        self._events = Events(settings.namespace, self._tables.ours)
        self._audit = Audit(self._node, settings.namespace, settings.audit_folder, settings.audit_limits)
        self._counting = Counting(bus, self._node, self._programmer, self._tables)
        self._telling = Telling(bus, self._node, "host", Explaining(self._programmer))
        self._rounds = Rounds(settings.resync_interval_s)
        self._feed = Feed(bus, self._programmer, resync_s=settings.resync_interval_s, told=self._rounds.wake)
        self._applied: Revision = NEVER
        self._said: NodeStatus | None = None
        self._reporting = Reporting(bus, self._node, "host", lambda: self._said)

    @property
    def ready(self) -> bool:
        return self._programmer.in_sync and self._upkeep.done

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for task in (self._feed.run, self._hear_kernel, self._apply, self._count):
                    tasks.create_task(task(), name=task.__name__.strip("_"))
                tasks.create_task(self._reporting.run(), name="reporting")
                tasks.create_task(self._audit.run(), name="audit")
                tasks.create_task(self._telling.run(), name="telling")
        finally:
            self._events.close()
            if self._settings.remove_at_exit:
                self._upkeep.remove()

    async def _hear_kernel(self) -> None:
        while True:
            await self._events.changed()
            log.warning("drift_found", table="inet sluice")
            self._upkeep.doubt()
            self._rounds.wake()
            await asyncio.sleep(DRIFT_PAUSE_S)

    async def _apply(self) -> None:
        self._programmer.guard_is(await asyncio.to_thread(lifelines.found, self._settings))
        while True:
            if await self._rounds.next(self._programmer.next_deadline_s(monotonic())):
                self._programmer.guard_is(await asyncio.to_thread(lifelines.found, self._settings))
                self._upkeep.look_again()
            self._programmer.advance(monotonic())
            self._feed.tell_interests()
            if self._programmer.in_sync:
                await self._bring()
            self._said = self._status()
            self._reporting.changed()

    async def _bring(self) -> None:
        """Bring the kernel to the programmer's state."""
        upto, table = self._programmer.upto, self._programmer.table()
        self._audit.rules_are(self._programmer.rules)
        await asyncio.to_thread(self._upkeep.advance, table)
        if self._upkeep.done:
            self._applied = upto
        else:
            self._rounds.wake_in(RETRY_S)

    async def _count(self) -> None:
        while True:
            if self._programmer.in_sync:
                self._audit.counted(await self._counting.read())
            await asyncio.sleep(self._settings.stats_interval_s)

    def _status(self) -> NodeStatus:
        programmer, upkeep = self._programmer, self._upkeep
        kept = (*BY_ITSELF, *(one.words() for one in programmer.lifelines))
        return NodeStatus(
            node=self._node,
            backend="host",
            applied=self._applied,
            healthy=programmer.in_sync and upkeep.done,
            detail=upkeep.failure if programmer.in_sync else "not in sync with the bus yet",
            problems=programmer.problems,
            repairs=upkeep.repairs,
            lifelines=kept,
        )
