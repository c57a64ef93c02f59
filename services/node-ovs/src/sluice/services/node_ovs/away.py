"""What a node does while the bus is away: the switch keeps its flows, and the waiting Pods are reported with a reason.

The switch sees a Pod that appears meanwhile, but its policies are unknown. So its port stays closed, unless the
operator configured otherwise.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic

import structlog

from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.pipeline import Table
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.openflow.errors import RequestRefused, SwitchGone
from sluice.drivers.openflow.switch import Switch, UnreadableFlows
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.rows import Interface
from sluice.runtime.bus import Bus
from sluice.runtime.feed import Feed
from sluice.runtime.metrics import METRICS
from sluice.runtime.service import Tell
from sluice.services.node_ovs.podports import pod_ports
from sluice.services.node_ovs.programmer import Programmer
from sluice.services.node_ovs.settings import NodeOvsSettings

log = structlog.get_logger()

LOOK_S = 0.5
"""Interval between checks of the bus connection; a Pod that waits for the bus waits much longer."""

_waiting = METRICS.gauge(
    "sluice_node_ovs_waiting_without_bus", "Pods whose ports stay closed because NATS is unreachable"
)


class Away:
    """Watches the bus on behalf of a programmer that has read it before."""

    def __init__(
        self, settings: NodeOvsSettings, bus: Bus, feed: Feed, programmer: Programmer, changed: Callable[[], None]
    ) -> None:
        """`changed` is called when unknown ports are to be opened, or to be closed again."""
        self._opens = settings.without_bus == "open"
        self._after_s = settings.without_bus_after_s
        self._url = settings.nats_url
        self._bus, self._feed, self._programmer, self._changed = bus, feed, programmer, changed
        self._since_s: float | None = None
        self._opened = False
        self.waiting: tuple[str, ...] = ()
        """For each waiting Pod, why it waits, in words; empty while the bus is there."""

    async def watch(self) -> None:
        """Run until cancelled."""
        said: tuple[str, ...] = ()
        _waiting.follow(lambda: len(self.waiting))
        while True:
            await asyncio.sleep(LOOK_S)
            self._look(monotonic())
            if self.waiting != said:
                said = self.waiting
                if said:
                    log.warning("pods_wait_for_bus", pods=self._programmer.waiting_ports, bus=_shown(self._url))
            if not self._bus.connected.is_set():
                continue
            said = ()

    def _look(self, now_s: float) -> None:
        connected = self._bus.connected.is_set()
        if connected and self._feed.sound:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now_s
        opened = self._opens and self._since_s is not None and now_s - self._since_s >= self._after_s
        if opened != self._opened:
            self._opened = opened
            log.warning("new_pods_opened" if opened else "new_pods_wait_again", bus=_shown(self._url))
            self._programmer.open_unknown(so=opened)
            self._changed()
        self.waiting = () if connected else _reasons(self._programmer.waiting_ports, self._url)


async def before_bus(settings: NodeOvsSettings, tell: Tell) -> None:
    """Report the waiting Pods until a freshly started programmer reaches the bus. Never returns.

    Does not touch the switch: it keeps the flows of the previous process.
    """
    run_dir = Path(settings.run_dir)
    while True:
        try:
            ovsdb = await Ovsdb.connect(run_dir / "db.sock")
            try:
                monitor = await ovsdb.monitor()
                async for _ in monitor:
                    interfaces = tuple(monitor.view.interfaces(settings.bridge))
                    closed = await _closed(settings.management_socket, interfaces)
                    tell(_reasons(closed, settings.nats_url))
                    log.warning("pods_wait_for_bus", pods=closed, bus=_shown(settings.nats_url))
            finally:
                ovsdb.close()
        except (OSError, RpcGone, SwitchGone, RequestRefused, UnreadableFlows) as error:
            log.warning("switch_not_read", error=str(error), kept="its flows stay as they are")
        await asyncio.sleep(LOOK_S)


async def _closed(socket: Path, interfaces: Iterable[Interface]) -> tuple[str, ...]:
    """Return the Pods whose ports have no spoof guard flow, hence let nothing in; sorted."""
    ports, _ = pod_ports(interfaces)
    switch = await Switch.connect(socket)
    try:
        flows = await switch.dump()
    finally:
        switch.close()
    guarded = {
        term.value
        for key in flows
        if key.table == Table.SPOOF_GUARD
        for term in key.match
        if term.field is Field.IN_PORT
    }
    return tuple(sorted(port.pod for port in ports.values() if port.ofport not in guarded))


def _reasons(pods: Iterable[str], url: str) -> tuple[str, ...]:
    return tuple(
        f"{pod} is closed, because its policies are unknown: the bus {_shown(url)} cannot be reached" for pod in pods
    )


def _shown(url: str) -> str:
    """The URLs without credentials and scheme: a URL may contain a password."""
    return ",".join(one.rpartition("@")[2].removeprefix("nats://") for one in url.split(","))
