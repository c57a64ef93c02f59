"""Keeps on disk the Pods that could talk before their policies were known, so that a restart does not forget them.

Once the bus knows such a Pod, the conntrack entries of its connections so far are flushed, so that current policy
judges them.
"""

from collections.abc import Set as AbstractSet
from pathlib import Path

from sluice.contracts.ids import Uid
from sluice.services.node_ovs.statefile import StateFile


class Strangers:
    def __init__(self, state_dir: Path) -> None:
        self._file = StateFile(state_dir / "strangers.json", tuple[Uid, ...])
        self.kept = frozenset(self._file.load() or ())

    def before_change(self, now: AbstractSet[Uid]) -> None:
        """Add those whose ports the switch is about to open; the earlier ones may still have connections."""
        self._keep(self.kept | now)

    def after_change(self, now: AbstractSet[Uid]) -> None:
        """Save after the switch is up to date and the connections of former strangers were flushed."""
        self._keep(frozenset(now))

    def _keep(self, them: frozenset[Uid]) -> None:
        if them != self.kept:
            self._file.save(tuple(sorted(them)))
            self.kept = them
