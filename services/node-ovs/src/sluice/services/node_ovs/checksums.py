"""Detects ports whose packets lack checksums, because transmit checksum offload was left on at the other end.

A userspace datapath forwards packets as it reads them, and the receiver drops those without a checksum: ICMP works, TCP
and UDP time out. The interface is in the Pod's network namespace, which is not ours to change; so it is reported. A
port is watched until a TCP or UDP packet arrives, and again every so often if that packet had no checksum.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from errno import ESRCH
from pathlib import Path

import structlog

from sluice.drivers import links
from sluice.drivers.checksums import Watch
from sluice.drivers.namespaces import inside
from sluice.drivers.ovsdb.pods import POD
from sluice.drivers.ovsdb.roles import GATEWAY, ROLE
from sluice.drivers.ovsdb.rows import Interface
from sluice.runtime.metrics import METRICS

log = structlog.get_logger()

AGAIN_S = 10.0
"""Seconds until a port is checked again that had packets without checksums, or could not be watched."""

_without = METRICS.gauge(
    "sluice_node_ovs_ports_without_checksums",
    "Ports whose last inspected TCP or UDP packet came without a checksum: disable transmit checksum offload at the "
    "other end",
)
_unknown = METRICS.gauge(
    "sluice_node_ovs_ports_of_unknown_checksums", "Ports from which no TCP or UDP packet was inspected yet"
)


_WHY = "its TCP and UDP packets come without checksums, so their receivers drop them"
_DO = "switch transmit checksum offload off at its other end, as `ethtool -K eth0 tx off` does there"


def watched(interfaces: Iterable[Interface]) -> dict[str, str]:
    """The devices by which packets of Pods and of the node's network stack arrive, with their owners.

    Internal ports are not included: the kernel fills in checksums before they see a packet.
    """
    return {
        one.name: f"Pod {one.external_ids[POD]}" if POD in one.external_ids else "the node's gateway"
        for one in interfaces
        if one.ofport is not None
        and one.type in ("", "system")
        and (POD in one.external_ids or one.external_ids.get(ROLE) == GATEWAY)
    }


class Checksums:
    def __init__(self, run_dir: Path, told: Callable[[], None]) -> None:
        self._run_dir, self._told = run_dir, told
        self._ports: Mapping[str, str] = {}
        self._watched: dict[str, Watch] = {}
        self._known: dict[str, bool] = {}
        """Whether packets of a device have complete checksums."""

        self._refused: dict[str, str] = {}
        _without.follow(lambda: len(self.errors))
        _unknown.follow(lambda: len(self._ports.keys() - self._known.keys()))

    @property
    def errors(self) -> tuple[str, ...]:
        """Ports whose packets lack checksums, in words."""
        bad = sorted(name for name, complete in self._known.items() if not complete)
        return tuple(f"interface {name}: {self._ports[name]}: {_WHY}; {_DO}" for name in bad)

    def ports_are(self, ports: Mapping[str, str]) -> None:
        """Set the devices to watch, with their owners; replaces all earlier ones."""
        for gone in self._ports.keys() - ports.keys():
            self._unwatch(gone)
            self._known.pop(gone, None)
            self._refused.pop(gone, None)
        new, self._ports = sorted(ports.keys() - self._ports.keys()), ports
        for name in new:
            self._watch(name)

    async def run(self) -> None:
        """Check the ports again that had no checksums or could not be watched. Never returns."""
        try:
            while True:
                await asyncio.sleep(AGAIN_S)
                for name in self._ports:
                    if not self._known.get(name, False) and name not in self._watched:
                        self._watch(name)
        finally:
            for name in tuple(self._watched):
                self._unwatch(name)

    def _watch(self, name: str) -> None:
        try:
            where = links.namespace_of(self._run_dir / "ovs-vswitchd.pid")
            if where is None:
                raise OSError(ESRCH, "ovs-vswitchd and its devices are not visible to this process")
            watch = inside(where, lambda: Watch(name))
        except OSError as error:
            if self._refused.get(name) != str(error):
                self._refused[name] = str(error)
                log.warning("checksums_unknown", port=name, of=self._ports[name], error=str(error))
            return
        self._watched[name] = watch
        asyncio.get_running_loop().add_reader(watch, self._look, name)

    def _unwatch(self, name: str) -> None:
        if (watch := self._watched.pop(name, None)) is not None:
            asyncio.get_running_loop().remove_reader(watch)
            watch.close()

    def _look(self, name: str) -> None:
        try:
            complete = self._watched[name].complete()
        except OSError:
            self._unwatch(name)  # the device is gone; OVSDB will report it
            return
        if complete is None:
            return
        self._unwatch(name)
        if self._known.get(name) == complete:
            return
        known = name in self._known
        self._known[name] = complete
        if not complete:
            log.warning("checksums_missing", port=name, of=self._ports[name], why=_WHY, do=_DO)
        elif known:
            log.info("checksums_complete", port=name, of=self._ports[name])
        self._told()
