"""The desired state of the switch, folded from policy on the bus and ports in OVSDB. No I/O.

A Pod's port is opened in the same bundle that brings the programs of its groups, so it is never open without them.
Until the first step there is no output at all: a switch that already enforces stays as it is.
"""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from sluice.contracts.groups import Member, NodeRoute, Page
from sluice.contracts.ids import Address, GroupId, NodeName, Uid, Unit
from sluice.contracts.programs import Program
from sluice.contracts.status import Problem
from sluice.contracts.tracing import DecidingRule
from sluice.contracts.traffic_programs import TrafficProgram
from sluice.dataplane.audit.attribution import What
from sluice.dataplane.ovs.checking import check
from sluice.dataplane.ovs.detour import TAG_FLOWS, TAGS, Detour, EnginePorts
from sluice.dataplane.ovs.ending import Ending
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.flow import Buckets, FlowBody, FlowKey, Flows, Groups
from sluice.dataplane.ovs.fqdn_values import HOLDING
from sluice.dataplane.ovs.ids import ISOLATION, RuleIds, RuleKey
from sluice.dataplane.ovs.ports import LocalPort, claim
from sluice.dataplane.ovs.route_flows import Uplinks
from sluice.dataplane.ovs.routes import Routing
from sluice.dataplane.ovs.serving import Serving
from sluice.dataplane.ovs.traffic import Traffic
from sluice.dataplane.ovs.traffic_ports import Found
from sluice.dataplane.ovs.wanted import Wanted
from sluice.dataplane.reading import Given, Reading, waiting
from sluice.dataplane.view import PageKey, ProgramKey, ServingProgram, Step
from sluice.services.node_ovs.joined import Joined
from sluice.services.node_ovs.naming import Naming, NamingRules
from sluice.services.node_ovs.opening import openable


class Change(Struct, frozen=True, kw_only=True):
    """One atomic change of the switch, and the Pods whose conntrack entries must be flushed with it."""

    put: Flows
    delete: frozenset[FlowKey]
    groups: Mapping[int, Buckets]
    delete_groups: frozenset[int]
    opened: tuple[LocalPort, ...]
    """Before the flows: flush the conntrack entries of these addresses, because another Pod had them before."""

    closed: tuple[LocalPort, ...]
    """After the flows: flush, so that no established connection outlives the Pod."""

    endpoints_gone: frozenset[tuple[Address, int]] = frozenset()
    """After the flows: forget the UDP conntrack entries of these endpoints."""

    @property
    def decides(self) -> bool:
        """The change affects decisions about packets, not just the inspection tag of new connections."""
        return self.put.keys() != TAG_FLOWS or bool(self.delete)

    attributions: tuple[What, ...] = ()
    """Before the flows: what lines of the audit log refer to from now on."""

    @property
    def concerns_switch(self) -> bool:
        """The change affects the switch, not only the audit log's attributions."""
        flows = self.put or self.delete or self.groups or self.delete_groups
        return bool(flows or self.opened or self.closed or self.endpoints_gone)


class Programmer(Reading):
    """The fold. Feed it what arrives, then call `advance` for what to send."""

    def __init__(
        self,
        node: NodeName,
        ids: RuleIds,
        naming: NamingRules = NamingRules(),  # noqa: B008  # frozen
        *,
        tag: int = 1,
        end_denied: bool = False,
    ) -> None:
        """Create an empty fold.

        `end_denied`, every policy ends the established connections that it comes to deny.
        """
        super().__init__(node, "ovs")
        self._ids = ids
        self._engine = Engine(node, ids, naming.opens)
        self.naming = Naming(self._engine, naming)
        self.ending = Ending(always=end_denied)
        self._routing = Routing(node)
        self._serving = Serving(node, ids)
        self.traffic = Traffic(ids)
        self._traffic_problems: tuple[Problem, ...] = ()
        """As of the last change handed out."""

        self._detour = Detour()
        self._engine_ports: EnginePorts | None = None
        self._vlans: Mapping[str, int] = {}
        self._deserted: tuple[int, ...] = ()
        self._tag = tag
        self._reads_two_tags = False
        self._groups = Wanted[int, Buckets]()
        self._endpoints_gone: frozenset[tuple[Address, int]] = frozenset()
        self._ways = Wanted(check)
        """Flows of routing, serving, traffic and the detour. No two of these, nor one and the engine, share a flow."""

        self._pages = Given[PageKey, Page]()
        self._programs = Given[ProgramKey, Program]()
        self._routes = Given[NodeName, NodeRoute]()
        self._served = Given[Unit, ServingProgram]()
        self._controls = Given[ProgramKey, TrafficProgram]()
        self._pods: tuple[Member, ...] = ()
        self._ports: Mapping[Uid, LocalPort] = {}
        self._open: dict[Uid, LocalPort] = {}
        self._holders: dict[Address, LocalPort] = {}
        self._incomplete: tuple[Unit, ...] = ()
        self._resolve_ports = False
        self._open_unknown = False
        self.strangers: frozenset[Uid] = frozenset()
        """Pods with an open port that are not known from the bus. Initialise it with those of the previous process."""

        self.multicast = Joined(self._engine.about)

    @property
    def flows(self) -> Flows:
        """All flows that the switch must hold."""
        return self._engine.flows | self._ways.now

    @property
    def groups(self) -> Groups:
        """All groups that the switch must hold."""
        return self._groups.now

    @property
    def open_ports(self) -> tuple[LocalPort, ...]:
        return tuple(sorted(self._open.values()))

    @property
    def ports(self) -> Mapping[Uid, LocalPort]:
        """Ports of Pods, open or not."""
        return self._ports

    @property
    def routing(self) -> Routing:
        return self._routing

    def rule(self, number: int) -> DecidingRule | None:
        """The rule or isolation with this id in the switch; None if it is no longer in force."""
        key = self._ids.key(number)
        return self._deciding(key) if key else None

    def judged_by(self, vlan: int) -> tuple[DecidingRule, ...]:
        """The rules whose packets go to the inspection engine on this VLAN."""
        found = map(self._deciding, self._engine.judged_by(vlan))
        return tuple(rule for rule in found if rule is not None)

    def _deciding(self, key: RuleKey) -> DecidingRule | None:
        program = self._engine.programs.get((key.applied_to, key.unit))
        if program is None:
            return None
        told = DecidingRule(policy=program.origin, object_revision=program.cause, direction=key.direction)
        if key.rule == ISOLATION:
            return told
        rule = next((one for one in program.rules if (one.direction, one.index) == (key.direction, key.rule)), None)
        if rule is None:
            return None
        return msgspec.structs.replace(told, index=rule.index, name=rule.name, action=rule.action)

    @property
    def serving(self) -> Serving:
        return self._serving

    @property
    def waiting_ports(self) -> tuple[str, ...]:
        return tuple(sorted(port.pod for uid, port in self._ports.items() if uid not in self._open))

    @property
    def problems(self) -> tuple[Problem, ...]:
        parts = self._engine.problems(), self._routing.problems(), self._serving.problems(), waiting(self._incomplete)
        more = self._traffic_problems, self.unread
        return tuple(sorted(problem for part in (*parts, *more) for problem in part))

    def ports_are(self, ports: Mapping[Uid, LocalPort]) -> None:
        """Set the Pods' ports to exactly these, as in OVSDB."""
        self._ports = ports
        self._resolve_ports = True

    def open_unknown(self, *, so: bool) -> None:
        """Whether to open the ports of Pods that are not known from the bus."""
        self._resolve_ports |= so != self._open_unknown
        self._open_unknown = so

    def uplinks_are(self, uplinks: Uplinks) -> None:
        """Set the uplinks to exactly these, as in OVSDB."""
        self._reroute(self._routing.use(uplinks))
        self.multicast.routes_changed()

    def traffic_ports_are(self, found: Mapping[str, Found], refused: Mapping[str, str]) -> None:
        """Set the interfaces to exactly these, as in OVSDB; `refused` says why needed ones could not be created."""
        self.traffic.switch_has(found, refused)

    def rule_key(self, number: int) -> RuleKey | None:
        """The rule with this id in the switch."""
        return self._ids.key(number)

    def port_of(self, address: Address) -> int | None:
        """The open port of the Pod that has the address."""
        port = self._holders.get(address)
        return None if port is None else port.ofport

    def holder(self, address: Address) -> Uid | None:
        """The Pod whose open port has the address."""
        port = self._holders.get(address)
        return None if port is None else port.uid

    def next_deadline_s(self, now_s: float) -> float | None:
        times = (
            super().next_deadline_s(now_s),
            self.naming.next_s if self.in_sync else None,
            self.multicast.next_deadline_s() if self.in_sync else None,
        )
        return min((time for time in times if time is not None), default=None)

    def engine_ports_are(self, ports: EnginePorts | None) -> None:
        """Set the ports of the inspection engine to exactly these, as in OVSDB."""
        self._engine_ports = ports
        self._inspect()

    def verified_are(self, vlans: Mapping[str, int], deserted: tuple[int, ...] = ()) -> None:
        """The inspection engine has verified exactly these VLANs, by the digest of their rule set.

        The rules of the `deserted` VLANs are gone, and their connections are ended.
        """
        self._vlans, self._deserted = vlans, deserted
        self._inspect()

    def _inspect(self) -> None:
        vlans = self._vlans if self._engine_ports else {}
        self._engine.inspect(vlans)
        tag = self._tag if self._reads_two_tags else 0
        self._reroute(self._detour.use(self._engine_ports, vlans, tag, self._deserted))

    def switch_reads_two_tags(self, *, so: bool) -> None:
        """Whether the switch reads two VLAN tags, so that connections can be tagged in the engine."""
        self._reads_two_tags = so
        self._inspect()

    def change_tag(self) -> None:
        """Use another engine tag for connections that start from now on, if they are tagged at all."""
        self._tag = self._tag % TAGS + 1
        self._inspect()

    def advance(self, now_s: float) -> Change | None:
        """The next change of the switch, or None. It counts as sent; if sending it fails, send all of `flows`."""
        step = self._view.step(now_s)
        if step is not None:
            self._apply(step)
        opened, closed = self._resolve() if self._resolve_ports and self.in_sync else ((), ())
        if not self.in_sync:
            return None
        self._reroute(self.traffic.drain())
        self._traffic_problems = self.traffic.problems()
        self.naming.settle(now_s)
        self._change_groups(HOLDING if self.naming.holds else dict.fromkeys(HOLDING))
        self._reroute(self.multicast.advance(self._open, self._routing, now_s))
        put, delete = self._engine.drain()
        put_ways, delete_ways = self._ways.drain()
        put |= put_ways
        groups, delete_groups = self._groups.drain()
        gone, self._endpoints_gone = self._endpoints_gone, frozenset()
        change = Change(
            put=put,
            delete=delete | delete_ways,
            groups=groups,
            delete_groups=delete_groups,
            opened=opened,
            closed=closed,
            endpoints_gone=gone,
            attributions=self._engine.attributions(),
        )
        return change if change.concerns_switch or change.attributions else None

    def _apply(self, step: Step) -> None:
        for (group, node), page in self._pages.changes(step.pages, whole=step.whole):
            self._take_page(group, node, page)
        for (group, unit), program in self._programs.changes(step.programs, whole=step.whole):
            if program is None:
                self._engine.drop_program(group, unit)
                self.ending.drop((group, unit))
            else:
                self._engine.put_program(program)
                self.ending.put(program)
        for node, route in self._routes.changes(step.routes, whole=step.whole):
            self._reroute(self._routing.put(route) if route else self._routing.drop(node))
        for unit, served in self._served.changes(step.serving, whole=step.whole):
            if served is None:
                self._serving.drop(unit)
            else:
                self._serving.put(served)
        for (group, unit), control in self._controls.changes(step.traffic, whole=step.whole):
            if control is None:
                self.traffic.drop(group, unit)
            else:
                self.traffic.put(control)
        self._serve()
        if step.whole or step.routes:
            self.multicast.routes_changed()
        if step.whole or step.programs or any(node == self._node for _, node in step.pages):
            self.multicast.policies_changed()
        if step.whole:
            self._engine.release_unused_ids()
            self._serving.forget_unused()
            self.traffic.forget_unused()
        if step.local is not None or step.whole:
            self._pods = step.local.pods if step.local else ()
            self.naming.left((pod.uid for pod in self._pods), ())
            self._resolve_ports = True
        self._incomplete = step.incomplete
        self.upto = step.upto

    def _take_page(self, group: GroupId, node: NodeName, page: Page | None) -> None:
        own = node == self._node
        self.ending.page(group, page, own=own)
        if page is None:
            self._engine.drop_page(group, node)
        else:
            self._engine.put_page(page)
        if own:
            self.traffic.members_are(group, page.members if page else ())

    def _serve(self) -> None:
        changes = self._serving.drain()
        self._reroute(changes.flows.items())
        self._endpoints_gone |= changes.gone
        for service in changes.services:
            self._engine.serve(service, self._serving.numbers(service))
        self._change_groups(changes.groups)

    def _change_groups(self, groups: Mapping[int, Buckets | None]) -> None:
        for number, buckets in groups.items():
            self._groups.set(number, buckets)

    def _reroute(self, changes: Iterable[tuple[FlowKey, FlowBody | None]]) -> None:
        for key, body in changes:
            self._ways.set(key, body)

    def _resolve(self) -> tuple[tuple[LocalPort, ...], tuple[LocalPort, ...]]:
        self._resolve_ports = False
        wanted = openable(self._pods, self._ports, unknown=self._open_unknown)
        known = {pod.uid for pod in self._pods}
        met = self.strangers & known & wanted.keys()  # their connections so far were never judged
        self.strangers = (self.strangers - known) & self._ports.keys() | (wanted.keys() - known)
        closed = [port for uid, port in self._open.items() if wanted.get(uid) != port]
        closed += [wanted[uid] for uid in met - {port.uid for port in closed}]
        opened = [port for uid, port in wanted.items() if self._open.get(uid) != port or uid in met]
        for port in closed:
            self._engine.close_port(port.uid)
            self.traffic.close_port(port.uid)
        for port in opened:
            self._engine.open_port(port)
            self.traffic.open_port(port)
        self._open = wanted
        self._holders = {address: port for port in sorted(wanted.values(), key=claim) for address in port.addresses}
        self.naming.left((pod.uid for pod in self._pods), (address for port in closed for address in port.addresses))
        return tuple(sorted(opened)), tuple(sorted(closed))
