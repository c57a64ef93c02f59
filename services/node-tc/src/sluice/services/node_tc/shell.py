"""The shell: reads the bus, listens to the kernel, runs the upkeep in a thread, and reports what is applied.

Whatever connection is lost, the kernel keeps its state.
"""

import asyncio
import socket
from time import monotonic

from sluice.contracts.ids import NEVER, NodeName, Revision
from sluice.contracts.status import NodeStatus
from sluice.dataplane.tc.content import Options
from sluice.drivers.tc.capabilities import Capabilities
from sluice.drivers.tc.events import Event
from sluice.runtime.bus import Bus
from sluice.runtime.feed import Feed
from sluice.runtime.reporting import Reporting
from sluice.runtime.rounds import Rounds
from sluice.runtime.telling import Telling
from sluice.services.node_tc.explaining import Explaining
from sluice.services.node_tc.programmer import Programmer
from sluice.services.node_tc.settings import NodeTcSettings
from sluice.services.node_tc.upkeep import Upkeep

RETRY_S = 1.0
"""Retry interval after the kernel refused something: it will most likely do so again until something else changes."""

DRIFT_PAUSE_S = 0.5
"""Minimum interval between reads of interfaces that others keep changing."""


class Shell:
    def __init__(self, settings: NodeTcSettings, bus: Bus, capabilities: Capabilities) -> None:
        self._bus = bus
        self._node = NodeName(settings.node_name or socket.gethostname().strip().lower())
        options = Options(accept_icmp=settings.accept_icmp, accept_icmpv6=settings.accept_icmpv6)
        self._programmer = Programmer(self._node, options)
        self._upkeep = Upkeep(settings, capabilities, self._programmer)
        self._heard: set[Event] = set()
        self._rounds = Rounds(settings.resync_interval_s)
        self._feed = Feed(bus, self._programmer, resync_s=settings.resync_interval_s, told=self._rounds.wake)
        self._applied: Revision = NEVER
        self._said: NodeStatus | None = None
        self._reporting = Reporting(bus, self._node, "tc", lambda: self._said)
        self._quiet = asyncio.Lock()
        """Held while the upkeep works in its thread; its state must not be read meanwhile."""

    @property
    def ready(self) -> bool:
        return self._programmer.in_sync and self._upkeep.done

    async def run(self) -> None:
        """Run until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for task in (self._feed.run, self._hear_kernel, self._apply):
                    tasks.create_task(task(), name=task.__name__.strip("_"))
                tasks.create_task(self._reporting.run(), name="reporting")
                explaining = Explaining(self._programmer, self._upkeep.keeper, self._quiet)
                tasks.create_task(Telling(self._bus, self._node, "tc", explaining).run(), name="telling")
        finally:
            self._upkeep.close()

    async def _hear_kernel(self) -> None:
        while True:
            self._heard |= await self._upkeep.events.next()
            self._rounds.wake()
            if self._upkeep.is_drifting:
                await asyncio.sleep(DRIFT_PAUSE_S)

    async def _apply(self) -> None:
        while True:
            if await self._rounds.next(self._programmer.next_deadline_s(monotonic()), self._upkeep.next_deadline_s):
                self._upkeep.look_again()
            changes = self._programmer.advance(monotonic())
            self._feed.tell_interests()
            heard, self._heard = self._heard, set()
            self._upkeep.heard(heard)
            if self._programmer.in_sync:
                upto = self._programmer.upto
                async with self._quiet:
                    await asyncio.to_thread(self._upkeep.advance, changes, monotonic())
                if self._upkeep.done:
                    self._applied = upto
                elif self._upkeep.failures:
                    self._rounds.wake_in(RETRY_S)
            self._said = self._status()
            self._reporting.changed()

    def _status(self) -> NodeStatus:
        programmer, upkeep = self._programmer, self._upkeep
        members, applied = programmer.interfaces, upkeep.keeper.devices
        healthy = programmer.in_sync and not upkeep.failures
        return NodeStatus(
            node=self._node,
            backend="tc",
            applied=self._applied,
            healthy=healthy,
            detail="; ".join(upkeep.failures) if programmer.in_sync else "not in sync with the bus yet",
            ports=tuple(sorted({member.pod for key, member in members.items() if key in applied})),
            waiting_ports=tuple(sorted({member.pod for key, member in members.items() if key not in applied})),
            port_errors=upkeep.errors,
            problems=programmer.problems,
            repairs=upkeep.repairs,
        )
