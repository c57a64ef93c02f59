"""Folds what the bus says into the desired table; no clock, sockets or kernel."""

from collections.abc import Iterable, Mapping

from sluice.contracts.ids import NodeName, Unit
from sluice.dataplane.host.engine import Engine, Placed
from sluice.dataplane.host.guard import Lifeline
from sluice.dataplane.host.table import Table
from sluice.dataplane.reading import EngineReading
from sluice.dataplane.view import Step


class Programmer(EngineReading[Engine]):
    """The fold. Feed it what arrives, then call `advance`; once in sync, `table` is what the kernel must hold."""

    def __init__(self, node: NodeName, log_rate: int) -> None:
        super().__init__(node, "host", Engine(node, log_rate=log_rate))
        self._unknown: frozenset[Unit] = frozenset()

    @property
    def rules(self) -> Mapping[str, Placed]:
        """Rules in force, by id."""
        return self._engine.rules

    @property
    def lifelines(self) -> tuple[Lifeline, ...]:
        return self._engine.lifelines

    def table(self) -> Table:
        return self._engine.table()

    def guard_is(self, lifelines: Iterable[Lifeline]) -> None:
        """Set the lifelines, which pass whatever policies say."""
        self._engine.guard_is(lifelines)

    def advance(self, now_s: float) -> bool:
        """Apply what may be applied by now; True if there was anything."""
        step = self._view.step(now_s)
        if step is not None:
            self._apply(step)
        return step is not None

    def _apply(self, step: Step) -> None:
        self._give(step)
        if self._node in step.routes or step.whole:
            self._engine.route_is(step.routes.get(self._node))
        let_through = {unit for _, unit in step.programs}
        self._unknown = frozenset(unit for unit in step.incomplete if unit in self._unknown or unit in let_through)
        self._engine.unknown_are(self._unknown)
