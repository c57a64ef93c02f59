"""Follows the interfaces in OVSDB for the programmer, and has the ports created that TrafficControls need."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from sluice.dataplane.ovs.traffic_ports import Found
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.rows import Interface
from sluice.services.node_ovs.checksums import Checksums, watched
from sluice.services.node_ovs.podports import pod_ports
from sluice.services.node_ovs.programmer import Programmer
from sluice.services.node_ovs.traffic_ports import TrafficPorts, found_ports
from sluice.services.node_ovs.uplinks import engine_ports, uplinks

log = structlog.get_logger()

RETRY_S = 0.2
"""Interval between attempts to reach the database while it is away."""

REFUSED_RETRY_S = 1.0
"""Retry interval after a port could not be created: its device may appear."""


class Interfaces:
    """The shell's connection to OVSDB, for reading and writing.

    Args:
        settled: whether no old flow leads to a port any more, so that unneeded ports may be removed.
        wake: called when the programmer was given something new.
    """

    def __init__(
        self,
        run_dir: Path,
        bridge: str,
        programmer: Programmer,
        checksums: Checksums,
        *,
        settled: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._run_dir, self._bridge, self._programmer, self._checksums = run_dir, bridge, programmer, checksums
        self._settled, self._wake = settled, wake
        self._traffic_ports = TrafficPorts(run_dir, bridge)
        self._found: dict[str, Found] = {}
        self._due = asyncio.Event()
        """Set when ports for TrafficControls may have to be created or removed."""

        self.errors: tuple[str, ...] = ()
        """Interfaces whose external_ids are invalid, in words."""

    async def watch(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                ovsdb = await Ovsdb.connect(self._run_dir / "db.sock")
                try:
                    monitor = await ovsdb.monitor()
                    async for _ in monitor:
                        self._found = found_ports(monitor.view, self._bridge)
                        self._are(tuple(monitor.view.interfaces(self._bridge)))
                finally:
                    ovsdb.close()
            except (OSError, RpcGone) as error:
                log.warning("ovsdb_lost", error=str(error), kept="ports stay as they were")
            await asyncio.sleep(RETRY_S)

    def _are(self, interfaces: Sequence[Interface]) -> None:
        ports, port_errors = pod_ports(interfaces)
        ways, way_errors = uplinks(interfaces)
        errors = (*port_errors, *way_errors)
        if errors != self.errors:
            self.errors = errors
            log.warning("ports_refused", errors=errors)
        self._checksums.ports_are(watched(interfaces))
        self._programmer.ports_are(ports)
        self._programmer.uplinks_are(ways)
        self._programmer.traffic_ports_are(self._found, self._traffic_ports.refused)
        self._due.set()
        self._programmer.engine_ports_are(engine_ports(interfaces))
        self._wake()

    def look(self) -> None:
        """Check whether the ports that TrafficControls need have changed."""
        if self._traffic_ports.differs(self._programmer.traffic.wishes(), self._found):
            self._due.set()

    async def keep_traffic_ports(self) -> None:
        """Create ports before flows lead to them, and remove them once no flow does. Runs until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            if not self._programmer.in_sync:
                continue
            try:
                await self._traffic_ports.bring(self._programmer.traffic.wishes(), self._found, remove=self._settled())
            except (OSError, RpcGone) as error:
                log.warning("traffic_ports_wait", error=str(error))
                asyncio.get_running_loop().call_later(REFUSED_RETRY_S, self._due.set)
                continue
            if self._traffic_ports.refused:  # its device may appear
                asyncio.get_running_loop().call_later(REFUSED_RETRY_S, self._due.set)
            self._programmer.traffic_ports_are(self._found, self._traffic_ports.refused)
            self._wake()
