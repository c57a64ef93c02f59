"""From what the bus says to what the table must hold: a fold without a clock, a socket or a kernel."""

from collections.abc import Iterable, Mapping

from sluice.contracts.groups import NodeRoute, Page
from sluice.contracts.ids import NodeName, Unit
from sluice.contracts.programs import Program
from sluice.contracts.status import Problem
from sluice.dataplane.host.engine import Engine, Placed
from sluice.dataplane.host.guard import Lifeline
from sluice.dataplane.host.table import Table
from sluice.dataplane.reading import Given, Reading, waiting
from sluice.dataplane.view import PageKey, ProgramKey, Step


class Programmer(Reading):
    """Feed it what arrives, then `advance`; `table` is what the kernel must hold, once it is in sync."""

    def __init__(self, node: NodeName, log_rate: int) -> None:
        super().__init__(node, "host")
        self._engine = Engine(node, log_rate=log_rate)
        self._programs = Given[ProgramKey, Program]()
        self._pages = Given[PageKey, Page]()
        self._incomplete: tuple[Unit, ...] = ()
        self._unknown: frozenset[Unit] = frozenset()

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(sorted((*self._engine.problems(), *waiting(self._incomplete), *self.unread)))

    @property
    def rules(self) -> Mapping[str, Placed]:
        """Those in force, by their ids."""
        return self._engine.rules

    @property
    def lifelines(self) -> tuple[Lifeline, ...]:
        return self._engine.lifelines

    def table(self) -> Table:
        return self._engine.table()

    def guard_is(self, lifelines: Iterable[Lifeline]) -> None:
        """These pass whatever policies say."""
        self._engine.guard_is(lifelines)

    def advance(self, now_s: float) -> bool:
        """Take what may be applied by now; True if that was anything."""
        step = self._view.step(now_s)
        if step is not None:
            self._apply(step)
        return step is not None

    def _apply(self, step: Step) -> None:
        for (group, node), page in self._pages.changes(step.pages, whole=step.whole):
            if page is None:
                self._engine.drop_page(group, node)
            else:
                self._engine.put_page(page)
        for (group, unit), program in self._programs.changes(step.programs, whole=step.whole):
            if program is None:
                self._engine.drop_program(group, unit)
            else:
                self._engine.put_program(program)
        if self._node in step.routes or step.whole:
            self._engine.route_is(self._own_route(step))
        self._incomplete = step.incomplete
        let_through = {unit for _, unit in step.programs}
        self._unknown = frozenset(unit for unit in step.incomplete if unit in self._unknown or unit in let_through)
        self._engine.unknown_are(self._unknown)
        self.upto = step.upto

    def _own_route(self, step: Step) -> NodeRoute | None:
        return step.routes.get(self._node)
