"""Pods that were let talk while nobody could say which policies are about them, on disk: a restart forgets none.

Once the bus tells of such a Pod, the connections it has by then are forgotten, and so judged by what is in force.
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
        """The switch is about to open ports of some: those of before may still have connections."""
        self._keep(self.kept | now)

    def after_change(self, now: AbstractSet[Uid]) -> None:
        """The switch holds what it should, and connections of those who are none any more are forgotten."""
        self._keep(frozenset(now))

    def _keep(self, them: frozenset[Uid]) -> None:
        if them != self.kept:
            self._file.save(tuple(sorted(them)))
            self.kept = them
