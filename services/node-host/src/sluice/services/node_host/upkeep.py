"""Keeps the table as desired, whatever happens to it meanwhile.

`advance` blocks on the kernel: call it off the event loop.
"""

import structlog

from sluice.dataplane.host import wire
from sluice.dataplane.host.plan import plan
from sluice.dataplane.host.table import Table
from sluice.dataplane.host.wire import Held
from sluice.drivers.nftables.tables import NoNft, Refused, Tables
from sluice.runtime.metrics import METRICS

log = structlog.get_logger()

_repairs = METRICS.counter("sluice_node_host_repairs_total", "Changes by others that were reverted")


class Upkeep:
    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._actual: Held | None = None
        """What the kernel holds; None if it has to be read."""

        self._drifted = False
        self.failure = ""
        """Why the table is not as desired; empty if it is."""

        self.repairs = 0
        """How many times changes made by others were repaired."""

    @property
    def done(self) -> bool:
        """The kernel holds the latest desired table."""
        return self._actual is not None and not self.failure

    def look_again(self) -> None:
        """Read the table next time."""
        self._actual = None

    def doubt(self) -> None:
        """Note that somebody else changed the table."""
        self._actual, self._drifted = None, True

    def advance(self, table: Table) -> None:
        """Bring the kernel to this table; on failure, `failure` says why."""
        desired = wire.encoded(table)
        try:
            actual = self._actual if self._actual is not None else self._tables.read()
            commands = plan(desired, actual)
            self._tables.apply(commands)
        except (NoNft, Refused, OSError) as error:
            if str(error) != self.failure:
                log.error("table_refused", error=str(error), kept="the previous table stays in the kernel")
            self._actual, self.failure = None, str(error)
            return
        drifted, self._drifted = self._drifted, False
        self._actual, self.failure = desired, ""
        if not commands:
            return
        if drifted:
            self.repairs += 1
            _repairs.add(1)
        log.info("drift_repaired" if drifted else "table_changed", commands=len(commands), rules=len(table.counters))

    def remove(self) -> None:
        """Delete our table."""
        try:
            self._tables.remove()
        except (NoNft, Refused, OSError) as error:
            log.error("table_not_removed", error=str(error), instead="run node-host with --remove")
