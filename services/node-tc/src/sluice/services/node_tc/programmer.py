"""From what the bus says to what each interface must hold: a fold without a clock, a socket or a kernel.

What `advance` returns counts as said: if it cannot be made, `contents` has all of it.
"""

from collections.abc import Mapping

from sluice.contracts.groups import Member
from sluice.contracts.ids import GroupId, NodeName, Unit
from sluice.contracts.status import Problem
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.reading import Reading, waiting
from sluice.dataplane.tc.content import Content, Options
from sluice.dataplane.tc.engine import Change, Engine, InterfaceKey
from sluice.dataplane.tc.filter import FilterKey, Hook
from sluice.dataplane.view import PageKey, ProgramKey, Step


class Programmer(Reading):
    """Feed it what arrives, then ask `advance` what differs."""

    def __init__(self, node: NodeName, options: Options) -> None:
        super().__init__(node, "tc")
        self._engine = Engine(node, options)
        self._programs: set[ProgramKey] = set()
        self._pages: set[PageKey] = set()
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
        for gone in self._programs - step.programs.keys() if step.whole else ():
            self._drop_program(gone)
        for page_key in self._pages - step.pages.keys() if step.whole else ():
            self._drop_page(page_key)
        for page_key, page in step.pages.items():
            if page is None:
                self._drop_page(page_key)
            else:
                self._pages.add(page_key)
                self._engine.put_page(page)
        for program_key, program in step.programs.items():
            if program is None:
                self._drop_program(program_key)
            else:
                self._programs.add(program_key)
                self._engine.put_program(program)
        if step.local is not None:
            self._claims = step.local.interfaces
        elif step.whole:  # a node that is known, and not listed, has no Pods
            self._claims = () if self._node in step.routes else None
        self._incomplete = step.incomplete
        self.upto = step.upto

    def _drop_program(self, key: tuple[GroupId, Unit]) -> None:
        if key in self._programs:
            self._programs.discard(key)
            self._engine.drop_program(*key)

    def _drop_page(self, key: PageKey) -> None:
        if key in self._pages:
            self._pages.discard(key)
            self._engine.drop_page(*key)
