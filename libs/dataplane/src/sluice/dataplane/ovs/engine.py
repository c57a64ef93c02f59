"""A node's flows, kept up to date: the work of a change is proportional to what it changes.

The law: after any steps, `flows` is what `lower` makes of the same inputs from scratch.
"""

from collections.abc import Iterable, Iterator, Mapping

from sluice.contracts import subjects
from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import Address, GroupId, NodeName, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Program
from sluice.contracts.status import Problem
from sluice.dataplane.ovs.addresses import NotAnAddress, address
from sluice.dataplane.ovs.base import BASE
from sluice.dataplane.ovs.flow import Conjunction, FlowBody, FlowKey, Flows
from sluice.dataplane.ovs.ids import CapacityExceeded, RuleIds, RuleKey
from sluice.dataplane.ovs.index import Index, Ref
from sluice.dataplane.ovs.layers import Layer, layer
from sluice.dataplane.ovs.pipeline import check
from sluice.dataplane.ovs.ports import LocalPort, port_flows, rightful
from sluice.dataplane.ovs.rules import Form, closed_form, forms, problems
from sluice.dataplane.ovs.sources import Own, Source, Value, member_values, standing_values

ProgramKey = tuple[GroupId, Unit]
PageKey = tuple[GroupId, NodeName]


class Engine:
    """What the switch of this node must hold. Nothing is said of the switch before the first `drain`.

    Values are whole: putting one replaces what had its key. Nothing raises: what cannot be lowered is closed (see
    `rules`) and is told by `problems`.
    """

    def __init__(self, node: NodeName, ids: RuleIds) -> None:
        self._node, self._ids = node, ids
        self._programs: dict[ProgramKey, Program] = {}
        self._forms: dict[ProgramKey, dict[RuleKey, Form]] = {}
        self._program_problems: dict[ProgramKey, tuple[Problem, ...]] = {}
        self._pages: dict[GroupId, dict[NodeName, Page]] = {}
        self._page_problems: dict[PageKey, tuple[Problem, ...]] = {}
        self._memberships: dict[Uid, set[tuple[GroupId, Member]]] = {}
        """What the pages of this node say of its Pods."""

        self._ports: dict[Uid, LocalPort] = {}
        self._plugged: dict[int, Uid] = {}
        self._claims: dict[Address, set[Uid]] = {}
        self._port_flows: dict[Uid, Flows] = {}
        self._index = Index(self._values)
        self._flows: Flows = dict(BASE)
        self._before: dict[FlowKey, FlowBody | None] = dict.fromkeys(BASE)
        """What the flows that changed since the last drain were then."""

    @property
    def programs(self) -> Mapping[ProgramKey, Program]:
        """What is in force: the closed form of every program that was put."""
        return self._programs

    @property
    def flows(self) -> Flows:
        """All that the switch must hold now."""
        self._settle()
        return dict(self._flows)

    def drain(self) -> tuple[Flows, frozenset[FlowKey]]:
        """The flows to put and those to delete, since the last call; the first call puts all there are."""
        self._settle()
        put: Flows = {}
        delete = set()
        for key, before in self._before.items():
            body = self._flows.get(key)
            if body is None and before is not None:
                delete.add(key)
            elif body is not None and body != before:
                put[key] = body
        self._before.clear()
        return put, frozenset(delete)

    def problems(self) -> tuple[Problem, ...]:
        """What is not in force as written, sorted."""
        kinds = self._program_problems, self._page_problems
        return tuple(sorted({problem for kind in kinds for found in kind.values() for problem in found}))

    def put_program(self, program: Program) -> None:
        """The program is in force from now on."""
        key = program.applied_to, program.unit
        closed = closed_form(program, self._programs.get(key))
        self._programs[key] = closed
        self._change_rules(key, {form.key: form for form in forms(closed)}, problems(program))

    def drop_program(self, group: GroupId, unit: Unit) -> None:
        """The program is not in force any more."""
        if self._programs.pop((group, unit), None) is not None:
            self._change_rules((group, unit), {}, ())

    def put_page(self, page: Page) -> None:
        """The group has exactly these members on the page's node."""
        self._change_members(page.group, page.node, page.members)
        self._pages.setdefault(page.group, {})[page.node] = page

    def drop_page(self, group: GroupId, node: NodeName) -> None:
        """The group has no members on the node."""
        self._change_members(group, node, ())
        pages = self._pages.get(group, {})
        pages.pop(node, None)
        if not pages:
            self._pages.pop(group, None)

    def open_port(self, port: LocalPort) -> None:
        """The Pod may send and receive, as far as programs let it. Whoever had its ofport is closed."""
        if self._ports.get(port.uid) == port:
            return
        self.close_port(port.uid)
        self.close_port(self._plugged.get(port.ofport, port.uid))
        self._ports[port.uid] = port
        self._plugged[port.ofport] = port.uid
        for claimed in port.addresses:
            self._claims.setdefault(claimed, set()).add(port.uid)
        self._replug(port)
        self._count_own(port, 1)

    def close_port(self, uid: Uid) -> None:
        """Nothing comes from the Pod any more, and nothing reaches it, established connections included."""
        port = self._ports.get(uid)
        if port is None:
            return
        self._count_own(port, -1)
        del self._ports[uid], self._plugged[port.ofport]
        for claimed in set(port.addresses):
            self._claims[claimed].discard(uid)
        self._replug(port)
        for claimed in set(port.addresses):
            if not self._claims[claimed]:
                del self._claims[claimed]

    def release_unused_ids(self) -> None:
        """Release the ids of rules that are not in force: those of before a restart that went while we were away."""
        used = {key for rules in self._forms.values() for key in rules}
        for key in [key for key in self._ids if key not in used]:
            self._ids.release(key)

    # ------------------------------------------------------------------------------------------------------- programs

    def _change_rules(self, key: ProgramKey, new: dict[RuleKey, Form], found: tuple[Problem, ...]) -> None:
        old = self._forms.pop(key, {})
        for rule in old.keys() - new.keys():
            self._change_rule(old[rule], None, self._ids.allocate(rule))
            self._ids.release(rule)
        for rule, form in list(new.items()):
            if old.get(rule) != form:
                try:
                    self._change_rule(old.get(rule), form, self._ids.allocate(rule))
                except CapacityExceeded as error:
                    found = (*found, Problem(unit=rule.unit, state="failed", reason=str(error)))
                    del new[rule]
        if new:
            self._forms[key] = new
        self._program_problems.pop(key, None)
        if found:
            self._program_problems[key] = found

    def _change_rule(self, old: Form | None, new: Form | None, id: int) -> None:
        before = {} if old is None else dict(_refs(old, id, self._ids.lane(id)))
        after = {} if new is None else dict(_refs(new, id, self._ids.lane(id)))
        for where, ref in after.items():
            if before.get(where) != ref:
                self._index.refer(*where, ref)
        for where in before.keys() - after.keys():
            self._index.withdraw(*where, id)
        for form in (old, new):
            if form is not None and len(form.clauses) > 1:
                where_from = layer(form, self._ids.lane(id))
                self._set(where_from.conj_key(id), where_from.fate(id) if form is new else None)

    # -------------------------------------------------------------------------------------------------------- members

    def _change_members(self, group: GroupId, node: NodeName, members: tuple[Member, ...]) -> None:
        known = self._pages.get(group, {}).get(node)
        old, new = set(known.members if known else ()), set(members)
        for change, by in ((old - new, -1), (new - old, 1)):
            for member in change:
                if node == self._node:
                    self._join(member, group, by)
                for source in self._index.of_group(group):
                    self._index.count(source, self._member_values(source, node, member), by)
        strange = tuple(problem for member in members for problem in _problems(group, member))
        self._page_problems.pop((group, node), None)
        if strange:
            self._page_problems[group, node] = strange

    def _join(self, member: Member, group: GroupId, by: int) -> None:
        said = self._memberships.setdefault(member.uid, set())
        if by > 0:
            said.add((group, member))
        else:
            said.discard((group, member))
            if not said:
                del self._memberships[member.uid]

    def _values(self, source: Source) -> Iterator[Value]:
        """All values of a source, as often as they are brought."""
        yield from standing_values(source)
        if source.group is not None:
            for node, page in self._pages.get(source.group, {}).items():
                for member in set(page.members):
                    yield from self._member_values(source, node, member)

    def _member_values(self, source: Source, node: NodeName, member: Member) -> Iterable[Value]:
        port = self._ports.get(member.uid) if node == self._node else None
        try:
            return tuple(member_values(source, member, None if port is None else port.ofport))
        except NotAnAddress:
            return ()  # told by `problems`

    # ---------------------------------------------------------------------------------------------------------- ports

    def _count_own(self, port: LocalPort, by: int) -> None:
        for group, member in self._memberships.get(port.uid, ()):
            for source in self._index.of_group(group):
                if isinstance(source.place, Own):
                    self._index.count(source, self._member_values(source, self._node, member), by)

    def _replug(self, changed: LocalPort) -> None:
        """Bring the flows of the port up to date, and of those that claim an address with it."""
        affected = {changed.uid}.union(*(self._claims[address] for address in changed.addresses))
        for uid in affected:
            for key in self._port_flows.pop(uid, {}):
                self._set(key, None)
        for uid in sorted(affected):
            port = self._ports.get(uid)
            if port is not None:
                flows = port_flows(port, (address for address in port.addresses if self._has(port, address)))
                self._port_flows[uid] = flows
                for key, body in flows.items():
                    self._set(key, body)

    def _has(self, port: LocalPort, address: Address) -> bool:
        return rightful(self._ports[uid] for uid in self._claims[address]) == port

    # ---------------------------------------------------------------------------------------------------------- flows

    def _settle(self) -> None:
        for key, body in self._index.refresh():
            self._set(key, body)

    def _set(self, key: FlowKey, body: FlowBody | None) -> None:
        old = self._flows.get(key)
        if old == body:
            return
        self._before.setdefault(key, old)
        if body is None:
            del self._flows[key]
        else:
            check(key, body)
            self._flows[key] = body


def _refs(form: Form, id: int, lane: int) -> Iterator[tuple[tuple[Layer, Source], Ref]]:
    where, count = layer(form, lane), len(form.clauses)
    for place, sources in enumerate(form.clauses, start=1):
        ref = Ref(form.key, id, Conjunction(id, place, count) if count > 1 else None)
        for source in sources:
            yield (where, source), ref


def _problems(group: GroupId, member: Member) -> Iterator[Problem]:
    for text in member.addresses:
        try:
            address(text)
        except NotAnAddress as error:
            namespace, _, name = member.pod.partition("/")
            unit = subjects.unit(Kind.POD, namespace, name)
            reason = f"{unit} in group {group}: {error}, so nothing is allowed for it; correct status.podIPs"
            yield Problem(unit=unit, state="failed", reason=reason)
