"""Feeds a backend's engine from a cluster's objects, without a bus: all at once, or event by event."""

from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from sluice.contracts.groups import Page
from sluice.contracts.ids import NEVER, GroupId, NodeName, Unit
from sluice.contracts.programs import Program
from sluice.grouping.events import ObjectEvent
from sluice.grouping.index import Grouping
from sluice.policy.compiler import Compiler, Groups
from sluice.policy.state import ClusterState


class Fed(Protocol):
    def put_page(self, page: Page) -> None: ...
    def drop_page(self, group: GroupId, node: NodeName) -> None: ...
    def put_program(self, program: Program) -> None: ...
    def drop_program(self, group: GroupId, unit: Unit) -> None: ...


E = TypeVar("E", bound=Fed)
Wants = Callable[[Program], bool]


def every(_: Program) -> bool:
    return True


def fill(engine: Fed, events: Iterable[ObjectEvent], wants: Wants = every) -> tuple[ClusterState, Grouping]:
    """Give the engine the final state of the cluster; returns what is known about the cluster."""
    state, grouping = ClusterState(), Grouping()
    for event in events:
        state.evolve(event)
        grouping.evolve(event)
    for group, selector in state.selectors.items():
        grouping.select(group, selector)
        for node in grouping.nodes(group):
            members = grouping.members(group, node)
            engine.put_page(Page(group=group, node=node, cause=NEVER, members=members))
    for program in filter(wants, state.compiler.programs.values()):
        engine.put_program(program)
    return state, grouping


class Told(Generic[E]):
    """Processes each event, and gives the engine only what changed."""

    def __init__(self, engine: E, wants: Wants = every) -> None:
        self.engine, self._wants = engine, wants
        self._compiler, self._groups, self._grouping = Compiler(), Groups(), Grouping()

    def hear(self, event: ObjectEvent) -> None:
        for fold in (self._compiler, self._groups, self._grouping):
            fold.evolve(event)
        asked = self._groups.drain()
        for group, selector in asked.select.items():
            self._grouping.select(group, selector)
        for group in asked.release:
            self._grouping.release(group)
        for group, nodes in self._grouping.drain().pages.items():
            for node, members in self._grouping.pages(group, nodes):
                if members:
                    self.engine.put_page(Page(group=group, node=node, cause=NEVER, members=members))
                else:
                    self.engine.drop_page(group, node)
        programs = self._compiler.drain()
        for program in filter(self._wants, programs.put.values()):
            self.engine.put_program(program)
        for group, unit in programs.drop:
            self.engine.drop_program(group, unit)
