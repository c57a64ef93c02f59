"""What the switch must hold, folded from what the bus says of policy and what OVSDB says of ports. No I/O.

A Pod's port is opened in the same bundle that brings the programs of its groups, so there is no moment at which it is
open without them. Until the first step nothing is said at all: a switch that already enforces stays as it is.
"""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from sluice.contracts.groups import Member
from sluice.contracts.ids import NEVER, GroupId, NodeName, Revision, Uid, Unit
from sluice.contracts.status import Problem
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.flow import FlowBody, FlowKey, Flows
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.pipeline import check
from sluice.dataplane.ovs.ports import LocalPort
from sluice.dataplane.ovs.routes import Routing, Uplinks
from sluice.dataplane.view import Interests, PageKey, ProgramKey, Step, View
from sluice.services.node_ovs.opening import openable


class Change(Struct, frozen=True, kw_only=True):
    """One atomic change of the switch, and the Pods whose conntrack entries must go with it."""

    put: Flows
    delete: frozenset[FlowKey]
    opened: tuple[LocalPort, ...]
    """Before the flows: flush what the tracker knows of these addresses, for somebody else had them."""

    closed: tuple[LocalPort, ...]
    """After the flows: flush, so that nothing established outlives the Pod."""


class Programmer:
    """The fold. Feed it what arrives, then ask `advance` what to send."""

    def __init__(self, node: NodeName, ids: RuleIds) -> None:
        self._node = node
        self._view = View(node, "ovs")
        self._engine = Engine(node, ids)
        self._routing = Routing(node)
        self._ways: Flows = {}
        """What the routing says. No flow of it is the engine's as well."""

        self._ways_before: dict[FlowKey, FlowBody | None] = {}
        self._routes: set[NodeName] = set()
        self._programs: set[ProgramKey] = set()
        self._pages: set[PageKey] = set()
        self._pods: tuple[Member, ...] = ()
        self._ports: Mapping[Uid, LocalPort] = {}
        self._open: dict[Uid, LocalPort] = {}
        self._incomplete: tuple[Unit, ...] = ()
        self._resolve_ports = False
        self.upto: Revision = NEVER
        """Everything up to here is in `flows`."""

    @property
    def flows(self) -> Flows:
        """All that the switch must hold."""
        return self._engine.flows | self._ways

    @property
    def in_sync(self) -> bool:
        """`flows` is what the bus says; before, it says nothing about the switch."""
        return self.upto != NEVER

    @property
    def open_ports(self) -> tuple[LocalPort, ...]:
        return tuple(sorted(self._open.values()))

    @property
    def waiting_ports(self) -> tuple[str, ...]:
        return tuple(sorted(port.pod for uid, port in self._ports.items() if uid not in self._open))

    @property
    def problems(self) -> tuple[Problem, ...]:
        waiting = (
            Problem(unit=unit, state="waiting", reason=f"{unit}: pages of its peers are not read yet; check NATS")
            for unit in self._incomplete
        )
        return tuple(sorted((*self._engine.problems(), *self._routing.problems(), *waiting)))

    def take(self, subject: str, body: bytes, cause: Revision, now_s: float) -> None:
        """Take a stored value in.

        Raises:
            codec.Undecodable, subjects.BadSubject: nothing was changed.
        """
        self._view.take(subject, body, cause, now_s)

    def answered(self, patterns: Iterable[str]) -> None:
        self._view.answered(patterns)

    def restarted(self) -> None:
        """A stream was made anew: read everything again. What the switch holds stays until that is in sync."""
        self._view = View(self._node, "ovs")

    def interests(self) -> Interests:
        return self._view.interests()

    def next_deadline_s(self, now_s: float) -> float | None:
        return self._view.next_deadline_s(now_s)

    def ports_are(self, ports: Mapping[Uid, LocalPort]) -> None:
        """OVSDB has exactly these ports of Pods."""
        self._ports = ports
        self._resolve_ports = True

    def uplinks_are(self, uplinks: Uplinks) -> None:
        """OVSDB has exactly these uplinks."""
        self._reroute(self._routing.use(uplinks))

    def advance(self, now_s: float) -> Change | None:
        """The next change of the switch, or None. What it says counts as done: on failure, send all of `flows`."""
        step = self._view.step(now_s)
        if step is not None:
            self._apply(step)
        opened, closed = self._resolve() if self._resolve_ports and self.in_sync else ((), ())
        put, delete = self._drain() if self.in_sync else ({}, frozenset())
        if not (put or delete or opened or closed):
            return None
        return Change(put=put, delete=delete, opened=opened, closed=closed)

    def _apply(self, step: Step) -> None:
        for program_key in self._programs - step.programs.keys() if step.whole else ():
            self._drop_program(program_key)
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
        for node in self._routes - step.routes.keys() if step.whole else ():
            self._routes.discard(node)
            self._reroute(self._routing.drop(node))
        for node, route in step.routes.items():
            (self._routes.add if route else self._routes.discard)(node)
            self._reroute(self._routing.put(route) if route else self._routing.drop(node))
        if step.whole:
            self._engine.release_unused_ids()
        if step.local is not None or step.whole:
            self._pods = step.local.pods if step.local else ()
            self._resolve_ports = True
        self._incomplete = step.incomplete
        self.upto = step.upto

    def _reroute(self, changes: Iterator[tuple[FlowKey, FlowBody | None]]) -> None:
        for key, body in changes:
            self._ways_before.setdefault(key, self._ways.get(key))
            if body is None:
                self._ways.pop(key, None)
            else:
                check(key, body)
                self._ways[key] = body

    def _drain(self) -> tuple[Flows, frozenset[FlowKey]]:
        put, delete = self._engine.drain()
        before, self._ways_before = self._ways_before, {}
        changed = {key: self._ways.get(key) for key, old in before.items() if self._ways.get(key) != old}
        put |= {key: body for key, body in changed.items() if body is not None}
        return put, delete | {key for key, body in changed.items() if body is None}

    def _drop_program(self, key: tuple[GroupId, Unit]) -> None:
        if key in self._programs:
            self._programs.discard(key)
            self._engine.drop_program(*key)

    def _drop_page(self, key: PageKey) -> None:
        if key in self._pages:
            self._pages.discard(key)
            self._engine.drop_page(*key)

    def _resolve(self) -> tuple[tuple[LocalPort, ...], tuple[LocalPort, ...]]:
        self._resolve_ports = False
        wanted = openable(self._pods, self._ports)
        closed = [port for uid, port in self._open.items() if wanted.get(uid) != port]
        opened = [port for uid, port in wanted.items() if self._open.get(uid) != port]
        for port in closed:
            self._engine.close_port(port.uid)
        for port in opened:
            self._engine.open_port(port)
        self._open = wanted
        return tuple(sorted(opened)), tuple(sorted(closed))
