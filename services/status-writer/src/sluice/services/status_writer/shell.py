"""From the bus to the statuses of objects: passes what the fold says to the writer. Decides nothing."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing

import structlog

from sluice.contracts import subjects
from sluice.contracts.ids import Unit
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.grouping.events import ObjectKey
from sluice.policy.realisation.fold import Realisation
from sluice.policy.realisation.membership import group_status
from sluice.policy.realisation.report import WARNINGS, Warned, policy_status
from sluice.runtime import linting
from sluice.runtime.bus import Bus
from sluice.runtime.realising import realisations
from sluice.services.status_writer.writer import Writer

log = structlog.get_logger()

KINDS = tuple(kind for kind in Kind if RESOURCES[kind].status)
"""Kinds whose objects have a status."""


class Shell:
    """The loop. `in_sync` is set once all statuses were passed to the writer."""

    def __init__(self, bus: Bus, writer: Writer) -> None:
        self._bus, self._writer = bus, writer
        self.in_sync = asyncio.Event()
        self._fold: Realisation | None = None
        self._warnings: Mapping[Unit, Warned] | None = None

    async def run(self) -> None:
        """Never returns."""
        await self._writer.learn(KINDS)
        async with aclosing(realisations(self._bus)) as tellings:
            async for fold in tellings:
                self.take(fold)
                self.in_sync.set()

    async def lint(self, interval_s: float, most_rules: int) -> None:
        """Run lint periodically and pass on the warnings; with interval 0, pass on that there are none and return."""
        if interval_s == 0:
            self.warn({})
            return
        async with aclosing(linting.warned(self._bus, interval_s, most_rules)) as tellings:
            async for warnings in tellings:
                self.warn(warnings)

    def warn(self, warnings: Mapping[Unit, Warned]) -> None:
        """Set all warnings."""
        self._warnings = warnings
        if self._fold is not None:
            self._fold.warned(warnings)
            self.take(self._fold)

    def take(self, fold: Realisation) -> None:
        """Pass on all statuses that may have changed."""
        if fold is not self._fold:  # a new fold does not know the warnings
            self._fold = fold
            if self._warnings is not None:
                fold.warned(self._warnings)
        for unit in fold.drain():
            self._policy(fold, unit)
        for name, condition in fold.drain_groups().items():
            key = ObjectKey(Kind.GROUP if name[0] else Kind.CLUSTER_GROUP, *name)
            if condition is None:
                self._writer.forget(key)
            else:
                self._writer.want(key, fold.uid(key), group_status(condition))

    def _policy(self, fold: Realisation, unit: Unit) -> None:
        key = ObjectKey(*subjects.unit_parts(unit))
        if not RESOURCES[key.kind].status:
            return
        realised = fold.realised(unit)
        if realised is None:
            self._writer.forget(key)
        else:
            kept = frozenset() if fold.is_warned else frozenset((WARNINGS,))
            self._writer.want(key, fold.uid(key), policy_status(realised), kept)
