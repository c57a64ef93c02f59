"""The filters at the hooks of the node's interfaces: read once, changed by plans, read again when in doubt.

All methods block on the kernel. Not thread-safe.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sluice.dataplane.addresses import Block
from sluice.dataplane.tc.content import EVERYTHING_OPEN, Content
from sluice.dataplane.tc.engine import InterfaceKey
from sluice.dataplane.tc.filter import Hook, Standings
from sluice.dataplane.tc.mirror import Mirror
from sluice.dataplane.tc.openings import Openings
from sluice.dataplane.tc.plan import Step, narrowed, patch, plan, retire
from sluice.drivers.conntrack.kernel import KernelTracker
from sluice.drivers.tc import messages
from sluice.drivers.tc.actions import Count
from sluice.drivers.tc.hooks import Done, Hooks, Placed, Placement

Addresses = Mapping[Hook, Mapping[Block, Openings | None]]


class Device(NamedTuple):
    """A host interface. The name alone is not enough: it may be reused after a driver is reloaded."""

    name: str
    ifindex: int


class Made(NamedTuple):
    """The outcome of a change."""

    steps: int
    messages: int
    whole: bool
    """It was a new generation of filters, not a patch: `retire` is still due for older connections."""

    placement: Placement
    not_in_hardware: str
    """Why it is not in hardware, although requested; empty otherwise."""


class _Kept:
    def __init__(self, device: Device, mirrors: Mapping[Hook, Mirror]) -> None:
        self.device, self.mirrors = device, mirrors


class Keeper:
    def __init__(self, hooks: Hooks, *, hardware: bool = False) -> None:
        self._hooks, self._tracker, self._hardware = hooks, KernelTracker(), hardware
        self._kept: dict[InterfaceKey, _Kept] = {}

    @property
    def devices(self) -> dict[InterfaceKey, Device]:
        """The devices whose hooks hold filters of ours, by interface."""
        return {key: kept.device for key, kept in self._kept.items()}

    def standings(self, key: InterfaceKey) -> Mapping[Hook, Standings]:
        """The filters at the hooks of a kept interface."""
        return {hook: dict(mirror.filters) for hook, mirror in self._kept[key].mirrors.items()}

    def make(
        self,
        key: InterfaceKey,
        device: Device,
        contents: Mapping[Hook, Content],
        zone: int | None,
        *,
        revoke: bool = False,
        addresses: Addresses | None = None,
    ) -> Made:
        """Bring the device's hooks to these contents.

        Args:
            revoke: end all existing connections of the interface.
            addresses: the whole difference from the previous contents, if only addresses differ.

        Raises:
            Refused, NoSuchDevice, NetlinkLost: the state is unknown; it is read again next time.
        """
        kept = self._kept.get(key)
        if kept is None or kept.device != device:
            kept = _Kept(device, self._read(device))
        generations = [mirror.generation for mirror in kept.mirrors.values()]
        steps = None if addresses is None or revoke else _patches(contents, addresses, kept.mirrors)
        gone: frozenset[Block] = frozenset()
        if steps is None:
            steps = plan(contents, kept.mirrors, zone, revoke=revoke)
        else:
            for hook, mirror in kept.mirrors.items():
                gone |= narrowed([step.operation for step in steps if step.hook is hook], mirror)
        self._kept.pop(key, None)
        if zone is not None and steps and (revoke or generations == [None, None]):
            self._tracker.forget(zone)  # entries of the zone's previous owner
        done = self._apply(kept, steps)
        if zone is not None and gone:
            self._tracker.unmark(zone, gone)
        self._kept[key] = kept
        whole = generations != [mirror.generation for mirror in kept.mirrors.values()]
        return Made(len(steps), done.messages, whole, done.placement, done.not_in_hardware)

    def retire(self, key: InterfaceKey) -> int:
        """Block replies of connections from before the last change; returns how many filters that took."""
        kept = self._kept.pop(key, None)
        if kept is None:
            return 0
        steps = [Step(hook, one) for hook, mirror in kept.mirrors.items() for one in retire(mirror)]
        self._apply(kept, steps)
        self._kept[key] = kept
        return len(steps)

    def release(self, key: InterfaceKey) -> None:
        """Remove our filters from the interface, which may be gone already."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._apply(kept, plan(EVERYTHING_OPEN, kept.mirrors, None))

    def close(self) -> None:
        """Close the connection to conntrack."""
        self._tracker.close()

    def doubt(self, key: InterfaceKey | None = None) -> None:
        """Forget what was read of this interface, or of all, so that it is read again."""
        for one in [*self._kept]:
            if key in (None, one):
                del self._kept[one]

    def sweep(self, keep: Iterable[int]) -> tuple[int, ...]:
        """Remove our filters from all interfaces but these; returns the interfaces that had any."""
        found = []
        for ifindex in sorted(self._hooks.opened() - frozenset(keep)):
            mirrors = self._read(Device("", ifindex))
            steps = plan(EVERYTHING_OPEN, mirrors, None)
            if steps:
                self._apply(_Kept(Device("", ifindex), mirrors), steps)
                found.append(ifindex)
        return tuple(found)

    def count(self, key: InterfaceKey) -> Mapping[Hook, Mapping[int, Count]]:
        """Counters of the filters of a kept interface, by the reference in their cookies."""
        index = self._kept[key].device.ifindex
        return {hook: self._hooks.count(messages.hook(index, hook)) for hook in Hook}

    def _read(self, device: Device) -> dict[Hook, Mirror]:
        mirrors = {}
        for hook in Hook:
            where = messages.hook(device.ifindex, hook)
            reading = self._hooks.read(where)
            self._hooks.remove(where, reading.strangers)
            mirrors[hook] = Mirror(reading.standings)
        return mirrors

    def _apply(self, kept: _Kept, steps: Sequence[Step]) -> Done:
        ifindex = kept.device.ifindex
        placed = [Placed(messages.hook(ifindex, step.hook), step.operation) for step in steps]
        if placed:
            self._hooks.open(ifindex)
        done = self._hooks.apply(placed, hardware=self._hardware)
        for hook, operation in steps:
            kept.mirrors[hook].apply((operation,))
        return done


def _patches(
    contents: Mapping[Hook, Content], addresses: Addresses, mirrors: Mapping[Hook, Mirror]
) -> list[Step] | None:
    """The steps for a change of addresses only; None if it cannot be made in place."""
    steps: list[Step] = []
    for hook in Hook:
        changed = addresses.get(hook, {})
        made = patch(contents[hook], changed, mirrors[hook], hook) if changed else []
        if made is None:
            return None
        steps += [Step(hook, operation) for operation in made]
    return steps
