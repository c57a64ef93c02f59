"""Maintains the connection to the switch: reconnects when it is lost, and watches for changes made by others."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from sluice.drivers.openflow.errors import RequestRefused, SwitchGone
from sluice.drivers.openflow.switch import Switch
from sluice.drivers.unixctl import control_socket
from sluice.services.node_ovs.audit import Audit
from sluice.services.node_ovs.counting import Counting
from sluice.services.node_ovs.errands import Errands
from sluice.services.node_ovs.programmer import Programmer
from sluice.services.node_ovs.settings import NodeOvsSettings
from sluice.services.node_ovs.tagging import tags_read
from sluice.services.node_ovs.upkeep import Upkeep

log = structlog.get_logger()

RETRY_S = 0.2
"""Interval between attempts to reach a daemon that is away: a restart of ovs-vswitchd takes 0.2 to 0.3 s."""

DRIFT_PAUSE_S = 0.5
"""Minimum interval between reads of a switch that others keep changing: reading it costs more than changing it."""


class Connection:
    """Hands each new switch connection to the upkeep and to the other parts that use it.

    Args:
        wake: called when the switch has to be read.
        told: called when there is something else to report.
    """

    def __init__(
        self,
        settings: NodeOvsSettings,
        programmer: Programmer,
        upkeep: Upkeep,
        *,
        audit: Audit,
        errands: Errands,
        counting: Counting,
        wake: Callable[[], None],
        told: Callable[[], None],
    ) -> None:
        self._run_dir, self._bridge = Path(settings.run_dir), settings.bridge
        self._socket = settings.management_socket
        self._resync_s = settings.resync_interval_s
        self._programmer, self._upkeep = programmer, upkeep
        self._audit, self._errands, self._counting = audit, errands, counting
        self._wake, self._told = wake, told

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                switch = await self._connect()
            except (OSError, SwitchGone) as error:
                self._upkeep.detail = f"switch: {error}"
                await asyncio.sleep(RETRY_S)
                continue
            self._upkeep.use(switch)
            self._wake()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._errands.run(switch), name="errands")
                tasks.create_task(self._counting.run(switch), name="counting")
                reason = await self.watch(switch)
            self._upkeep.use(None, f"switch lost: {reason}")
            self._told()
            log.warning("switch_lost", reason=reason)

    async def _connect(self) -> Switch:
        """Connect, and subscribe to changes made by others before the switch is read."""
        switch = await Switch.connect(self._socket)
        self._programmer.switch_reads_two_tags(so=await tags_read(control_socket(self._run_dir), self._bridge) >= 2)
        try:
            await self._audit.before_meter_is_set(switch)
            await self._errands.prepare(switch)
        except RequestRefused as error:
            log.error("packets_not_heard", error=str(error), instead="rejected senders get no answer")
        try:
            await switch.hear_changes()
        except RequestRefused as error:
            log.error("changes_not_heard", error=str(error), instead=f"flows are read back every {self._resync_s:g} s")
        return switch

    async def watch(self, switch: Switch) -> str:
        """Trigger a read-back whenever somebody else changes the switch; returns why the connection ended."""
        while not switch.closed.done():
            changed = asyncio.ensure_future(switch.changed_by_others.wait())
            await asyncio.wait((changed, switch.closed), return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if switch.changed_by_others.is_set():
                switch.changed_by_others.clear()
                self._upkeep.doubt()
                log.warning("drift_found", bridge=self._bridge)
                self._wake()
                await asyncio.wait((switch.closed,), timeout=DRIFT_PAUSE_S)
        return switch.closed.result()
