"""Accounts for the packets that hit a meter but never reached us, across restarts of the programmer."""

from pathlib import Path

from msgspec import Struct

from sluice.drivers.openflow.meters import Metered
from sluice.services.node_ovs.statefile import StateFile


class Lost:
    """Counts the packets that hit a meter but never reached us.

    The switch queues a hundred packets per controller connection and silently drops the excess. Source: Open vSwitch
    ofproto/connmgr.c, do_send_packet_ins.
    """

    def __init__(self) -> None:
        self.before = Metered(0, 0)
        self.unheard = 0
        """Packets handed over but neither received nor reported as lost yet; some may still be in flight."""

    def since_last(self, now: Metered, heard: int) -> tuple[int, int]:
        """Return how many packets the meter dropped and how many more were lost; as `heard`, since the last look."""
        before = self.before if now.packets >= self.before.packets else Metered(0, 0)  # the meter was reset
        over_rate = now.dropped - before.dropped
        unheard = self.unheard + now.packets - before.packets - over_rate - heard
        lost = max(0, min(unheard, self.unheard))  # what was in flight at the last look has arrived by now
        self.before, self.unheard = now, unheard - lost
        return over_rate, lost


class Accounted(Struct, frozen=True, kw_only=True):
    packets: int
    """How many of the packets that the meter counted since it was set are in the log."""


class AccountFile:
    def __init__(self, path: Path) -> None:
        self._file = StateFile(path, Accounted)

    def load(self) -> int:
        kept = self._file.load()
        return 0 if kept is None else kept.packets

    def save(self, packets: int) -> None:
        self._file.save(Accounted(packets=packets))


class Account:
    """Accounts for one meter across switches; the meter of a switch counts from when it was set.

    Call `look` often and `settle` occasionally. The switch counts the packets of a batch before it decides which to
    drop, so a look may see packets that were neither dropped nor handed over yet. Only packets that every look of a
    period finds missing count as lost.
    """

    def __init__(self, file: AccountFile) -> None:
        self._file = file
        self.heard = 0
        """Packets received since the last look."""

        self.is_new = True
        """We have not set a meter yet; a previous process may have set one."""

        self._before = Metered(0, 0)
        self._over_rate = 0
        self._unheard = 0
        """Packets handed over but neither received nor reported as lost."""

        self._least = 0
        """The minimum of `_unheard` over all looks since the last settlement."""

    def look(self, counted: Metered | None) -> bool:
        """Take in the meter's counters (None if there is no meter); True if the packet count grew."""
        now = counted or Metered(0, 0)
        before = self._before if now.packets >= self._before.packets else Metered(0, 0)  # the meter was reset
        dropped = now.dropped - before.dropped
        self._over_rate += dropped
        self._unheard += now.packets - before.packets - dropped - self.heard
        self._least = min(self._least, self._unheard)
        self._before, self.heard = now, 0
        return now.packets > before.packets

    def settle(self) -> tuple[int, int]:
        """Return how many packets the meter dropped and how many more were lost, since the last settlement."""
        over_rate, lost = self._over_rate, max(0, self._least)
        self._unheard -= lost
        self._over_rate, self._least = 0, self._unheard
        return over_rate, lost

    def since_last(self, counted: Metered | None) -> tuple[int, int]:
        """Look, then settle."""
        self.look(counted)
        return self.settle()

    def close(self, counted: Metered | None) -> int:
        """Account for the meter being reset; returns how many of its packets are not accounted for anywhere."""
        missing = 0
        if counted is not None:
            known = self._file.load() if self.is_new else self._accounted
            missing = counted.packets - known if counted.packets >= known else 0
        self.is_new, self.heard = False, 0
        self._before, self._over_rate, self._unheard, self._least = Metered(0, 0), 0, 0, 0
        return missing

    def save(self, waiting: int) -> None:
        """Save the number of packets accounted for, excluding those still waiting to be written."""
        if not self.is_new:
            self._file.save(max(0, self._accounted - waiting))

    @property
    def _accounted(self) -> int:
        return self._before.packets - self._unheard - self._over_rate + self.heard
