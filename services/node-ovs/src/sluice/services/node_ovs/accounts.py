"""What nobody heard of the packets that came to a meter, over restarts of the programmer as well."""

from pathlib import Path

from msgspec import Struct

from sluice.drivers.openflow.meters import Metered
from sluice.services.node_ovs.statefile import StateFile


class Lost:
    """What nobody heard of the packets that came to a meter.

    The switch keeps a hundred packets for whom it hands them over to, and drops without a word what comes on top.
    Source: Open vSwitch ofproto/connmgr.c, do_send_packet_ins.
    """

    def __init__(self) -> None:
        self.before = Metered(0, 0)
        self.unheard = 0
        """Handed over, and neither heard of nor told as lost; some of them may be on their way."""

    def since_last(self, now: Metered, heard: int) -> tuple[int, int]:
        """How many the meter dropped, and how many more got lost; both, as `heard`, since the last look."""
        before = self.before if now.packets >= self.before.packets else Metered(0, 0)  # it was set anew
        over_rate = now.dropped - before.dropped
        unheard = self.unheard + now.packets - before.packets - over_rate - heard
        lost = max(0, min(unheard, self.unheard))  # what was on its way at the last look has come
        self.before, self.unheard = now, unheard - lost
        return over_rate, lost


class Accounted(Struct, frozen=True, kw_only=True):
    packets: int
    """Of those that the meter counted since it was set, how many are in the log."""


class AccountFile:
    def __init__(self, path: Path) -> None:
        self._file = StateFile(path, Accounted)

    def load(self) -> int:
        kept = self._file.load()
        return 0 if kept is None else kept.packets

    def save(self, packets: int) -> None:
        self._file.save(Accounted(packets=packets))


class Account:
    """Of one meter after the other: that of a switch counts from when it was set.

    Look often, settle now and then. The switch counts the packets of a batch before it says which it drops, so a look
    may find some that were neither dropped nor handed over yet; only what all looks find for a while is lost.
    """

    def __init__(self, file: AccountFile) -> None:
        self._file = file
        self.heard = 0
        """Since the last look."""

        self.is_new = True
        """No meter was set by us yet: who ran before us may have set one."""

        self._before = Metered(0, 0)
        self._over_rate = 0
        self._unheard = 0
        """Handed over, and neither heard of nor told as lost."""

        self._least = 0
        """Of those, how many there were at every look since the last settling."""

    def look(self, counted: Metered | None) -> bool:
        """Take in what the meter counted, None if there is none; True if that is more than at the last look."""
        now = counted or Metered(0, 0)
        before = self._before if now.packets >= self._before.packets else Metered(0, 0)  # it was set anew
        dropped = now.dropped - before.dropped
        self._over_rate += dropped
        self._unheard += now.packets - before.packets - dropped - self.heard
        self._least = min(self._least, self._unheard)
        self._before, self.heard = now, 0
        return now.packets > before.packets

    def settle(self) -> tuple[int, int]:
        """How many the meter dropped, and how many more got lost, since the last time."""
        over_rate, lost = self._over_rate, max(0, self._least)
        self._unheard -= lost
        self._over_rate, self._least = 0, self._unheard
        return over_rate, lost

    def since_last(self, counted: Metered | None) -> tuple[int, int]:
        """Look, and settle."""
        self.look(counted)
        return self.settle()

    def close(self, counted: Metered | None) -> int:
        """The meter is set anew: how many it counted that are accounted for nowhere."""
        missing = 0
        if counted is not None:
            known = self._file.load() if self.is_new else self._accounted
            missing = counted.packets - known if counted.packets >= known else 0
        self.is_new, self.heard = False, 0
        self._before, self._over_rate, self._unheard, self._least = Metered(0, 0), 0, 0, 0
        return missing

    def save(self, waiting: int) -> None:
        """Write down how many are accounted for, but for those that wait to be written."""
        if not self.is_new:
            self._file.save(max(0, self._accounted - waiting))

    @property
    def _accounted(self) -> int:
        return self._before.packets - self._unheard - self._over_rate + self.heard
