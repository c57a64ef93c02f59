"""Folds what the bus says into the desired filters of each interface; no clock, sockets or kernel.

What `advance` returns counts as applied: if applying it fails, `contents` has all of it.
"""

from collections.abc import Mapping

from sluice.contracts.groups import Member
from sluice.contracts.ids import NodeName
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.reading import EngineReading
from sluice.dataplane.tc.content import Content, Options
from sluice.dataplane.tc.engine import Change, Engine, InterfaceKey
from sluice.dataplane.tc.filter import FilterKey, Hook
from sluice.dataplane.view import Step


class Programmer(EngineReading[Engine]):
    """The fold. Feed it what arrives, then call `advance` for what differs."""

    def __init__(self, node: NodeName, options: Options) -> None:
        super().__init__(node, "tc", Engine(node, options))
        self._claims: tuple[Member, ...] | None = None

    @property
    def interfaces(self) -> Mapping[InterfaceKey, Member]:
        """Interfaces that policies apply to."""
        return self._engine.interfaces

    @property
    def claims(self) -> tuple[Member, ...] | None:
        """All interfaces of the node's Pods, policed or not; None if they are unknown."""
        return self._claims

    def contents(self, key: InterfaceKey) -> Mapping[Hook, Content]:
        """What the hooks of the interface must hold."""
        return self._engine.contents(key)

    def owners(self, key: InterfaceKey, hook: Hook, where: FilterKey, cookie: bytes) -> tuple[DecidingRule, ...]:
        """The rules that a filter belongs to, and the policies that close the interface, if any do."""
        return self._engine.owners(key, hook, where, cookie)

    def advance(self, now_s: float) -> dict[InterfaceKey, Change]:
        """What has changed since the last call; empty before it is in sync."""
        step = self._view.step(now_s)
        if step is not None:
            self._apply(step)
        return self._engine.drain() if self.in_sync else {}

    def _apply(self, step: Step) -> None:
        self._give(step)
        if step.local is not None:
            self._claims = step.local.interfaces
        elif step.whole:  # a known node that is not listed has no Pods
            self._claims = () if self._node in step.routes else None
