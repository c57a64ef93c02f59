"""Keeps every policed interface of the node as desired, whatever happens to it meanwhile.

`advance` does the work and blocks on the kernel: call it off the event loop. What the kernel refuses is retried next
time, and does not hold up the rest.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import structlog

from sluice.contracts.groups import Member
from sluice.dataplane.tc.content import EVERYTHING_CLOSED, Content
from sluice.dataplane.tc.engine import Change, InterfaceKey
from sluice.dataplane.tc.filter import Hook
from sluice.drivers.tc.capabilities import Capabilities
from sluice.drivers.tc.errors import NetlinkLost, Refused
from sluice.drivers.tc.events import Event, Events, FiltersChanged, LinksChanged, Missed
from sluice.drivers.tc.hooks import Hooks, Placement
from sluice.runtime.metrics import METRICS
from sluice.services.node_tc.devices import Found, find
from sluice.services.node_tc.keeper import Device, Keeper, Made
from sluice.services.node_tc.podrules import PodRules, Rules
from sluice.services.node_tc.settings import NodeTcSettings
from sluice.services.node_tc.zones import NoZoneLeft, ZonesFile

log = structlog.get_logger()

_repairs = METRICS.counter("sluice_node_tc_repairs_total", "Changes by others that were reverted")


class Wanted(Protocol):
    """The desired state of the interfaces."""

    @property
    def interfaces(self) -> Mapping[InterfaceKey, Member]: ...

    @property
    def claims(self) -> tuple[Member, ...] | None: ...

    def contents(self, key: InterfaceKey) -> Mapping[Hook, Content]: ...


class Upkeep:
    def __init__(self, settings: NodeTcSettings, capabilities: Capabilities, wanted: Wanted) -> None:
        self._settings, self._zoned, self._wanted = settings, capabilities.zones, wanted
        self._plugins = frozenset(filter(None, (one.strip() for one in settings.network_plugins.split(","))))
        self._hooks = Hooks()
        self.events = Events(self._hooks.port)
        """Changes made by others in the kernel; pass them to `heard`."""

        self.keeper = Keeper(self._hooks, hardware=settings.hardware)
        self._zones_file = ZonesFile(Path(settings.state_dir) / "zones.json")
        self._zones = self._zones_file.load()
        self._pod_rules = PodRules(Path(settings.pod_rules_path)) if settings.pod_rules_path else None
        self._found = Found({}, {}, {}, frozenset())
        self._claims: tuple[Member, ...] | None = None
        self._look_for_devices = self._read_again = self._sweep = True
        self._behind: dict[InterfaceKey, None] = {}
        """Interfaces to be planned as a whole."""

        self._drifted: set[InterfaceKey] = set()
        self._retire_at_s: dict[InterfaceKey, float] = {}
        self._failures: dict[InterfaceKey, str] = {}
        self._software: dict[InterfaceKey, str] = {}
        self.repairs = 0
        """How many times changes made by others were repaired."""

    def close(self) -> None:
        """Close the netlink sockets; the kernel keeps its state."""
        self.events.close()
        self.keeper.close()
        self._hooks.close()

    @property
    def done(self) -> bool:
        """The kernel is as desired, except for interfaces that cannot be found."""
        return not (self._behind or self._sweep or self._look_for_devices or self._read_again)

    @property
    def failures(self) -> tuple[str, ...]:
        """What the kernel refused, and where; sorted."""
        return tuple(sorted(self._failures.values()))

    @property
    def errors(self) -> tuple[str, ...]:
        """Interfaces that cannot be policed, or not in hardware as requested, each with the reason; sorted."""
        return tuple(sorted((*self._found.errors.values(), *self._software.values())))

    @property
    def next_deadline_s(self) -> float | None:
        """When there will be work without any event."""
        return min(self._retire_at_s.values(), default=None)

    @property
    def is_drifting(self) -> bool:
        """Somebody else changed our filters, and that is not repaired yet."""
        return bool(self._drifted)

    def heard(self, events: Iterable[Event]) -> None:
        """Take in events from the kernel."""
        for event in events:
            match event:
                case LinksChanged():
                    self._look_for_devices = True
                case FiltersChanged(ifindex):
                    self._doubt(ifindex)
                case Missed():
                    self.look_again()

    def look_again(self) -> None:
        """Read everything again next time."""
        self._look_for_devices = self._read_again = self._sweep = True

    def _doubt(self, ifindex: int) -> None:
        for key, device in self.keeper.devices.items():
            if device.ifindex == ifindex:
                self._drifted.add(key)
                self._behind[key] = None

    def advance(self, changes: Mapping[InterfaceKey, Change], now_s: float) -> None:
        """Bring every interface to the desired state.

        Args:
            changes: how the desired state has changed since the last call.
            now_s: seconds on a monotonic clock.
        """
        wanted = self._wanted.interfaces
        claims = self._wanted.claims if self._settings.close_idle else None
        if self._look_for_devices or claims != self._claims or any(change.whole for change in changes.values()):
            self._look_for_devices, self._claims = False, claims
            sysfs, direct = Path(self._settings.sysfs), self._settings.direct
            self._place(find(wanted, self._plugins, sysfs, direct=direct, claims=claims))
        if self._read_again:
            self._read_again = False
            self._behind.update(dict.fromkeys(self.keeper.devices))
            self.keeper.doubt()
        targets = {**self._found.devices, **self._found.closed}
        for key, change in changes.items():
            if change.whole or key not in self.keeper.devices or key not in targets:
                self._behind[key] = None
            elif key not in self._behind:
                self._make(key, targets[key], change, now_s)
        for key in sorted(self._behind, key=targets.__contains__):  # interfaces that give up their device go first
            if key in self._drifted:
                self.keeper.doubt(key)
            if key in targets and (key in wanted or key in self._found.closed):
                self._make(key, targets[key], None, now_s)
            else:
                self._leave(key, targets)
        self._retire(now_s)
        if self._sweep and not self._behind:
            self._clean()
        self._zones_file.save(self._zones)
        if self._pod_rules is not None:
            devices = {key: one for key, one in self.keeper.devices.items() if key not in self._found.closed}
            self._pod_rules.write(Rules(key, one.name, self.keeper.standings(key)) for key, one in devices.items())

    def _place(self, found: Found) -> None:
        """Take in where the interfaces are now."""
        targets = {**found.devices, **found.closed}
        for key, device in targets.items():
            if self.keeper.devices.get(key) != device:
                self._behind[key] = None
        for key in self.keeper.devices.keys() - targets.keys():
            self._behind[key] = None
        if found.errors != self._found.errors and found.errors:
            log.warning("interfaces_not_policed", errors=sorted(found.errors.values()))
        self._found = found

    def _make(self, key: InterfaceKey, device: Device, change: Change | None, now_s: float) -> None:
        try:
            if key in self._found.closed:
                made = self.keeper.make(key, device, EVERYTHING_CLOSED, None)
            else:
                zone, new = self._zones.give(device.name, key) if self._zoned else (None, False)
                patched = change.addresses if change is not None else None
                made = self.keeper.make(key, device, self._wanted.contents(key), zone, revoke=new, addresses=patched)
        except (Refused, NetlinkLost, NoZoneLeft) as error:
            self._failures[key] = f"{device.name}: {error}"
            self._behind[key] = None
            log.error("interface_refused", device=device.name, error=str(error))
            return
        self._behind.pop(key, None)
        self._failures.pop(key, None)
        if made.whole:
            self._retire_at_s[key] = now_s + self._settings.retire_after_s
        self._tell(key, device, made)

    def _tell(self, key: InterfaceKey, device: Device, made: Made) -> None:
        if made.not_in_hardware:
            self._software[key] = f"{device.name}: in software: {made.not_in_hardware}"
        elif made.placement is Placement.HARDWARE:
            self._software.pop(key, None)
        drifted = key in self._drifted and made.steps
        self._drifted.discard(key)
        if drifted:
            self.repairs += 1
            _repairs.add(1)
        if made.steps:
            what = "drift_repaired" if drifted else "interface_programmed"
            log.info(what, device=device.name, network=key.network, steps=made.steps, messages=made.messages)

    def _leave(self, key: InterfaceKey, targets: Mapping[InterfaceKey, Device]) -> None:
        """Release an interface that is no longer policed, or cannot be found any more.

        If another interface has its device now, the filters stay for the successor, because a released device is open.
        """
        device = self.keeper.devices.get(key)
        try:
            if any(one == device for other, one in targets.items() if other != key):
                self.keeper.doubt(key)
            else:
                self.keeper.release(key)
        except (Refused, NetlinkLost) as error:
            log.info("interface_left", network=key.network, error=str(error))
        if device is None or key in self._failures:
            self._sweep = True  # it may have filters that were not read
        if device is not None:
            self._zones.take_back(device.name)
        for kept in (self._behind, self._retire_at_s, self._failures, self._software):
            kept.pop(key, None)
        self._drifted.discard(key)

    def _retire(self, now_s: float) -> None:
        for key in [key for key, at_s in self._retire_at_s.items() if at_s <= now_s]:
            del self._retire_at_s[key]
            try:
                self.keeper.retire(key)
            except (Refused, NetlinkLost) as error:
                self._behind[key] = None
                log.warning("retirement_refused", network=key.network, error=str(error))

    def _clean(self) -> None:
        """Remove our filters from interfaces that are not policed; filters of others stay."""
        try:
            swept = self.keeper.sweep(device.ifindex for device in self.keeper.devices.values())
        except (Refused, NetlinkLost) as error:
            log.warning("sweep_refused", error=str(error))
            return
        self._sweep = False
        names = {device.name for device in self.keeper.devices.values()}
        for name in [name for name in self._zones.leases if name not in names]:
            self._zones.take_back(name)
        if swept:
            log.info("leftovers_swept", interfaces=swept)
