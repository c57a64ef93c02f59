"""From what the bus says to what each interface must hold: a fold without a clock, a socket or a kernel.

What `advance` returns counts as said: if it cannot be made, `contents` has all of it.
"""

from collections.abc import Mapping

from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import NodeName, Unit
from sluice.contracts.programs import Program
from sluice.contracts.status import Problem
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.reading import Given, Reading, waiting
from sluice.dataplane.tc.content import Content, Options
from sluice.dataplane.tc.engine import Change, Engine, InterfaceKey
from sluice.dataplane.tc.filter import FilterKey, Hook
from sluice.dataplane.view import PageKey, ProgramKey, Step


class Programmer(Reading):
    """Feed it what arrives, then ask `advance` what differs."""

    def __init__(self, node: NodeName, options: Options) -> None:
        super().__init__(node, "tc")
        self._engine = Engine(node, options)
        self._programs = Given[ProgramKey, Program]()
        self._pages = Given[PageKey, Page]()
        self._incomplete: tuple[Unit, ...] = ()
        self._claims: tuple[Member, ...] | None = None

    @property
    def interfaces(self) -> Mapping[InterfaceKey, Member]:
        """Those that policies are about."""
        return self._engine.interfaces

    @property
    def claims(self) -> tuple[Member, ...] | None:
        """All interfaces of the node's Pods, policed or not; None: it is not told which there are."""
        return self._claims

    def contents(self, key: InterfaceKey) -> Mapping[Hook, Content]:
        """What the hooks of the interface must hold."""
        return self._engine.contents(key)

    def owners(self, key: InterfaceKey, hook: Hook, where: FilterKey, cookie: bytes) -> tuple[DecidingRule, ...]:
        """The rules that a filter belongs to, and the policies that close the interface, if it is by them."""
        return self._engine.owners(key, hook, where, cookie)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(sorted((*self._engine.problems(), *waiting(self._incomplete), *self.unread)))

    def advance(self, now_s: float) -> dict[InterfaceKey, Change]:
        """What differs since the last time; nothing before it is in sync."""
        step = self._view.step(now_s)
        if step is not None:
            self._apply(step)
        return self._engine.drain() if self.in_sync else {}

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
        if step.local is not None:
            self._claims = step.local.interfaces
        elif step.whole:  # a node that is known, and not listed, has no Pods
            self._claims = () if self._node in step.routes else None
        self._incomplete = step.incomplete
        self.upto = step.upto
