"""Assigns each interface a conntrack zone, which separates its connections from all others.

A zone belongs to a Pod interface on one host device. Zones are assigned in rotation, so none is reused before some
65,000 interfaces came and went; the kernel has forgotten its earlier connections by then.
"""

from collections.abc import Mapping
from pathlib import Path

import structlog
from msgspec import Struct

from sluice.contracts import codec
from sluice.dataplane.tc.engine import InterfaceKey

log = structlog.get_logger()

LAST_ZONE = 65_535
"""Zone 0 is the default, shared zone. Source: Linux include/uapi/linux/netfilter/nf_conntrack_common.h, 16 bits."""


class NoZoneLeft(Exception):
    """All 65,535 zones are assigned."""


class Lease(Struct, frozen=True, kw_only=True):
    """The interface that has the device, and the zone of its connections."""

    key: InterfaceKey
    zone: int


class ZonesState(Struct, frozen=True, kw_only=True):
    """The state on disk."""

    leases: dict[str, Lease]
    """By device name."""

    last: int
    """The zone assigned last."""


class Zones:
    def __init__(self, state: ZonesState | None = None) -> None:
        self._leases = dict(state.leases) if state else {}
        self._last = state.last if state else 0
        self.changes = 0

    @property
    def state(self) -> ZonesState:
        return ZonesState(leases=dict(sorted(self._leases.items())), last=self._last)

    @property
    def leases(self) -> Mapping[str, Lease]:
        return self._leases

    def give(self, device: str, key: InterfaceKey) -> tuple[int, bool]:
        """Return the zone of this Pod interface on this device, and whether it is newly assigned.

        Raises:
            NoZoneLeft
        """
        lease = self._leases.get(device)
        if lease is not None and lease.key == key:
            return lease.zone, False
        self._leases.pop(device, None)
        taken = {other.zone for other in self._leases.values()}
        for step in range(1, LAST_ZONE + 1):
            zone = (self._last + step - 1) % LAST_ZONE + 1
            if zone not in taken:
                self._leases[device] = Lease(key=key, zone=zone)
                self._last = zone
                self.changes += 1
                return zone, True
        raise NoZoneLeft(
            f"{device}: all {LAST_ZONE} zones for connections are in use, so this interface cannot be policed"
        )

    def take_back(self, device: str) -> None:
        """Free the zone of a device that no interface has any more."""
        if self._leases.pop(device, None) is not None:
            self.changes += 1


class ZonesFile:
    """The zones on disk, so that a restart does not disturb connections."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = -1

    def load(self) -> Zones:
        """Load the saved zones. An undecodable file is set aside and logged; all zones are then assigned anew."""
        try:
            return Zones(codec.decode(self._path.read_bytes(), ZonesState))
        except FileNotFoundError:
            return Zones()
        except codec.Undecodable as error:
            aside = self._path.with_suffix(".bad")
            self._path.replace(aside)
            log.error("zones_refused", file=str(self._path), error=str(error), set_aside=str(aside))
            return Zones()

    def save(self, zones: Zones) -> None:
        """Replace the file atomically, if the zones changed."""
        if zones.changes == self._saved:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_bytes(codec.encode(zones.state))
        new.replace(self._path)
        self._saved = zones.changes
