"""A node's flows, kept up to date: the work of a change is proportional to what it changes.

The law: after any steps, `flows` is what `lower` makes of the same inputs from scratch.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from sluice.contracts import subjects
from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import Address, GroupId, NodeName, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import GroupPeer, Program, ServiceRef
from sluice.contracts.status import Problem
from sluice.dataplane.addresses import NotAnAddress, address
from sluice.dataplane.audit.attribution import What
from sluice.dataplane.ovs.attributions import Attributions
from sluice.dataplane.ovs.base import BASE
from sluice.dataplane.ovs.checking import check, check_all
from sluice.dataplane.ovs.counting import count_flows, is_counted
from sluice.dataplane.ovs.flow import Conjunction, FlowBody, FlowKey, Flows
from sluice.dataplane.ovs.fqdn import Fact
from sluice.dataplane.ovs.fqdn_values import Facts, Opens, WantedNames, fact_values, held_for
from sluice.dataplane.ovs.ids import CapacityExceeded, RuleIds, RuleKey
from sluice.dataplane.ovs.index import Index, Ref
from sluice.dataplane.ovs.inspection import Inspection
from sluice.dataplane.ovs.layers import Layer, fate, layer, spot
from sluice.dataplane.ovs.order import BandFull
from sluice.dataplane.ovs.ports import LocalPort, port_flows, rightful
from sluice.dataplane.ovs.priorities import Spot
from sluice.dataplane.ovs.rules import Form, closed_form, forms, placeless, problems
from sluice.dataplane.ovs.sources import (
    Client,
    Named,
    Own,
    Source,
    Value,
    member_addresses,
    member_values,
    service_values,
    standing_values,
)

ProgramKey = tuple[GroupId, Unit]
PageKey = tuple[GroupId, NodeName]


class Engine:
    """What the switch of this node must hold. Nothing is said of the switch before the first `drain`.

    Values are whole: putting one replaces what had its key. Nothing raises: what cannot be lowered is closed (see
    `rules`) and is told by `problems`.
    """

    def __init__(self, node: NodeName, ids: RuleIds, opens: Opens = Opens.RESOLVER) -> None:
        self._node, self._ids, self._opens = node, ids, opens
        self._facts, self.names = Facts(), WantedNames()
        self._programs: dict[ProgramKey, Program] = {}
        self._by_group: dict[GroupId, dict[Unit, Program]] = {}
        self._forms: dict[ProgramKey, dict[RuleKey, Form]] = {}
        self._laid: dict[RuleKey, tuple[Form, Layer]] = {}
        """What the index has of each rule."""

        self._unfit: dict[ProgramKey, Program] = {}
        """As they were put; there are no numbers for all of their rules."""

        self._program_problems: dict[ProgramKey, tuple[Problem, ...]] = {}
        self._pages: dict[GroupId, dict[NodeName, tuple[Member, ...]]] = {}
        """Who is a member on which node; each once."""

        self._inspection = Inspection()
        self._page_problems: dict[PageKey, tuple[Problem, ...]] = {}
        self._memberships: dict[Uid, set[tuple[GroupId, Member]]] = {}
        """What the pages of this node say of its Pods."""

        self._services: dict[ServiceRef, frozenset[int]] = {}
        self._ports: dict[Uid, LocalPort] = {}
        self._plugged: dict[int, Uid] = {}
        self._claims: dict[Address, set[Uid]] = {}
        self._port_flows: dict[Uid, Flows] = {}
        self._index = Index(self._values)
        self._attributions = Attributions()
        self._flows: Flows = dict(BASE)
        self._new: Flows = dict(BASE)
        """Those of them that were not there at the last drain."""

        self._before: Flows = {}
        """What the others that changed since the last drain were then."""

    @property
    def programs(self) -> Mapping[ProgramKey, Program]:
        """What is in force: the closed form of every program that was put."""
        return self._programs

    def about(self, uid: Uid) -> Iterator[Program]:
        """Those that apply to a Pod of this node."""
        for group in {group for group, _ in self._memberships.get(uid, ())}:
            yield from self._by_group.get(group, {}).values()

    def judged_by(self, vlan: int) -> tuple[RuleKey, ...]:
        """The rules whose packets the inspection engine gets by the VLAN; sorted."""
        return self._inspection.judged_by(vlan)

    @property
    def flows(self) -> Flows:
        """All that the switch must hold now."""
        self._settle()
        return dict(self._flows)

    def drain(self) -> tuple[Flows, frozenset[FlowKey]]:
        """The flows to put and those to delete, since the last call; the first call puts all there are."""
        self._settle()
        put, self._new = self._new, {}
        delete = set()
        for key, before in self._before.items():
            body = self._flows.get(key)
            if body is None:
                delete.add(key)
            elif body != before:
                put[key] = body
        self._before = {}
        return put, frozenset(delete)

    def attributions(self) -> tuple[What, ...]:
        """What is to be known of the rules that log before the flows are there; since the last call."""
        self._settle()
        here = self._node
        return self._attributions.drain(
            lambda group: self._pages.get(group, {}).get(here, ()),
            lambda uid: (group for group, _ in self._memberships.get(uid, ())),
        )

    def problems(self) -> tuple[Problem, ...]:
        """What is not in force as written, sorted."""
        kinds = self._program_problems, self._page_problems
        found = {problem for kind in kinds for found in kind.values() for problem in found}
        return tuple(sorted(found.union(self._inspection.problems())))

    def put_program(self, program: Program) -> None:
        """The program is in force from now on."""
        before = self._numbers()
        self._put_program(program)
        self._make_fit(before)

    def drop_program(self, group: GroupId, unit: Unit) -> None:
        """The program is not in force any more."""
        key = group, unit
        before = self._numbers()
        self._unfit.pop(key, None)
        if self._programs.pop(key, None) is not None:
            del self._by_group[group][unit]
            if not self._by_group[group]:
                del self._by_group[group]
            self._change_rules(key, {})
            self._attributions.put(key, None)
            self._tell(key, ())
            self._make_fit(before)

    def put_page(self, page: Page) -> None:
        """The group has exactly these members on the page's node."""
        members = tuple(dict.fromkeys(page.members))
        self._change_members(page.group, page.node, members)
        self._pages.setdefault(page.group, {})[page.node] = members

    def drop_page(self, group: GroupId, node: NodeName) -> None:
        """The group has no members on the node."""
        self._change_members(group, node, ())
        pages = self._pages.get(group, {})
        pages.pop(node, None)
        if not pages:
            self._pages.pop(group, None)

    def serve(self, service: ServiceRef, numbers: frozenset[int]) -> None:
        """The ports of the Service have these numbers; a Service without is none."""
        known = self._services.get(service, frozenset())
        for change, by in ((known - numbers, -1), (numbers - known, 1)):
            for source in self._index.of_group(service):
                values = (value for number in sorted(change) for value in service_values(source, number))
                self._index.count(source, values, by)
        self._services.pop(service, None)
        if numbers:
            self._services[service] = numbers

    def tell(self, fact: Fact, *, true: bool) -> None:
        """DNS says so, or does not say so any more."""
        if self._facts.put(fact, true=true):
            self._count_fact(fact, 1 if true else -1)

    def inspect(self, vlans: Mapping[str, int]) -> None:
        """The inspection engine judges by these VLANs, by the digest of the rule set of each, and by no others."""
        changed = self._inspection.changed(vlans)
        for rule in changed:
            number = self._ids.allocate(rule)
            for place in self._refs(*laid, number) if (laid := self._laid.pop(rule, None)) else ():
                self._index.withdraw(*place, number)
        self._inspection.use(vlans)
        for rule in changed:
            self._lay(rule, self._ids.allocate(rule), self._forms[rule.applied_to, rule.unit][rule])

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
        """Release the numbers of rules that are not in force: those that went while we were away."""
        used = {key for rules in self._forms.values() for key in rules}
        for key in [key for key in self._ids if key not in used]:
            self._ids.release(key)
        self._ids.priorities.forget_unused()

    # ------------------------------------------------------------------------------------------------------- programs

    def _put_program(self, program: Program) -> None:
        key = program.applied_to, program.unit
        before = self._programs.get(key)
        closed = closed_form(program, before)
        found = problems(program)
        new = {form.key: form for form in forms(closed)}
        self._unfit.pop(key, None)
        try:
            self._change_rules(key, new)
        except (CapacityExceeded, BandFull) as error:
            self._unfit[key] = program
            found = (*found, Problem(unit=program.unit, state="failed", reason=f"{program.unit}: {error}"))
            if before is None:
                self._change_rules_that_fit(key, closed, new)
        if before is None or key not in self._unfit:
            self._programs[key] = closed
            self._by_group.setdefault(program.applied_to, {})[program.unit] = closed
        self._attributions.put(key, self._programs.get(key))
        self._tell(key, found)

    def _change_rules(self, key: ProgramKey, new: dict[RuleKey, Form]) -> None:
        """The program has exactly these rules.

        Raises:
            CapacityExceeded, BandFull: nothing was changed.
        """
        old = self._forms.get(key, {})
        try:
            taken = [(rule, form, self._ids.allocate(rule)) for rule, form in new.items()]
            self._ids.priorities.exchange(self._spots(old), self._spots(new))
        except (CapacityExceeded, BandFull):
            for rule in new.keys() - old.keys():
                self._ids.release(rule)
            raise
        self._forms[key] = new
        self.names.change(old.values(), new.values())
        for rule, form, number in taken:
            if old.get(rule) != form:
                self._lay(rule, number, form)
            self._count(number, was=old.get(rule), now=form)
        for rule in old.keys() - new.keys():
            self._count(self._ids.allocate(rule), was=old[rule], now=None)
            self._lay(rule, self._ids.allocate(rule), None)
            self._ids.release(rule)
        if not new:
            del self._forms[key]

    def _change_rules_that_fit(self, key: ProgramKey, closed: Program, new: dict[RuleKey, Form]) -> None:
        """The program has those of the rules for which there are numbers, and what stands in for the others."""
        for rule, form in new.items():
            for stand_in in (form, None if form.precedence is None else placeless(closed, rule)):
                try:
                    if stand_in is not None:
                        self._change_rules(key, {**self._forms.get(key, {}), rule: stand_in})
                except (CapacityExceeded, BandFull):
                    continue
                break

    def _numbers(self) -> tuple[int, int]:
        """How many are given away."""
        return len(self._ids), len(self._ids.priorities)

    def _make_fit(self, before: tuple[int, int]) -> None:
        """Try programs again that there were no numbers for, if there are more than before."""
        if self._unfit and any(now < then for now, then in zip(self._numbers(), before, strict=True)):
            for program in list(self._unfit.values()):
                self._put_program(program)

    def _tell(self, key: ProgramKey, found: tuple[Problem, ...]) -> None:
        self._program_problems.pop(key, None)
        if found:
            self._program_problems[key] = found

    def _spots(self, rules: Mapping[RuleKey, Form]) -> Iterator[tuple[Spot, RuleKey]]:
        for rule, form in rules.items():
            where = spot(form, self._ids.lane(self._ids.allocate(rule)))
            if where is not None:
                yield where, rule

    def _lay(self, rule: RuleKey, id: int, form: Form | None) -> None:
        """The index has the rule in this form, where it stands now; or not at all, while that is not known."""
        where = None if form is None else self._layer(form, id)
        old = self._laid.pop(rule, None)
        before = {} if old is None else self._refs(*old, id)
        self._inspection.put(rule, form)
        judged = form is None or not form.inspected_by or self._inspection.vlan(form) is not None
        self._attributions.lay(rule, id, form, where, judged=judged)
        after = {}
        if form is not None and where is not None:
            after = self._refs(form, where, id)
            self._laid[rule] = form, where
        for place, ref in after.items():
            if before.get(place) != ref:
                self._index.refer(*place, ref)
        for place in before.keys() - after.keys():
            self._index.withdraw(*place, id)
        if old is not None and len(old[0].clauses) > 1:
            self._set(old[1].conj_key(id), None)
        if form is not None and where is not None and len(form.clauses) > 1:
            self._set(where.conj_key(id), fate(form, id, self._inspection.vlan(form)))

    def _refs(self, form: Form, where: Layer, id: int) -> dict[tuple[Layer, Source], Ref]:
        count = len(form.clauses)
        found: dict[tuple[Layer, Source], Ref] = {}
        for place, sources in enumerate(form.clauses, start=1):
            does = Conjunction(id, place, count) if count > 1 else fate(form, id, self._inspection.vlan(form))
            found |= dict.fromkeys(((where, source) for source in sources), Ref(form.key, id, does))
        return found | {(at, source): Ref(form.key, id, holds) for at, source, holds in held_for(form)}

    def _count(self, id: int, *, was: Form | None, now: Form | None) -> None:
        """The rule is counted, if it is one that decides."""
        counts = now is not None and is_counted(now.action)
        if counts != (was is not None and is_counted(was.action)):
            for key, body in count_flows(id).items():
                self._set(key, body if counts else None)

    def _layer(self, form: Form, id: int) -> Layer | None:
        lane = self._ids.lane(id)
        stands = spot(form, lane)
        priority = None if stands is None else self._ids.priorities[stands]
        return None if stands is not None and priority is None else layer(form, lane, priority)

    def _weigh(self, stands: Spot) -> int:
        """The flows of the rules that stand there, but for those that others stand in as well."""
        rules = [self._laid[rule][0] for rule in self._ids.priorities.holders(stands) if rule in self._laid]
        return sum(self._index.size(source) for form in rules for sources in form.clauses for source in sources)

    # -------------------------------------------------------------------------------------------------------- members

    def _change_members(self, group: GroupId, node: NodeName, members: tuple[Member, ...]) -> None:
        old, new = set(self._pages.get(group, {}).get(node, ())), set(members)
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
        self._attributions.join(member)
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
        if isinstance(source.place, Named):
            for fact in self._facts.of_pattern(source.place.pattern):
                yield from self._fact_values(source, fact)
        elif isinstance(source.group, ServiceRef):
            for number in self._services.get(source.group, ()):
                yield from service_values(source, number)
        elif source.group is not None and not isinstance(source.group, Named):
            for node, members in self._pages.get(source.group, {}).items():
                yield from self._members_values(source, node, members)

    def _members_values(self, source: Source, node: NodeName, members: tuple[Member, ...]) -> Iterator[Value]:
        if isinstance(source.place, GroupPeer) and source.traffic is None:
            with suppress(NotAnAddress):  # then it is asked of each what it brings
                yield from member_addresses(members)
                return
        for member in members:
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
                if isinstance(source.place, Own | Client):
                    self._index.count(source, self._member_values(source, self._node, member), by)
        if self._opens is not Opens.NODE:
            for fact in self._facts.of_pod(port.uid):
                self._count_fact(fact, by, opens=(True,))

    def _count_fact(self, fact: Fact, by: int, opens: tuple[bool, ...] = (True, False)) -> None:
        for place in (Named(fact.pattern, each) for each in opens):
            for source in self._index.of_group(place):
                self._index.count(source, self._fact_values(source, fact), by)

    def _fact_values(self, source: Source, fact: Fact) -> Iterator[Value]:
        port = self._ports.get(fact.holder)
        return fact_values(source, fact, None if port is None else port.ofport, self._opens)

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
        self._ids.priorities.settle(self._weigh)
        for _, rule in self._ids.priorities.moved():
            form = self._forms.get((rule.applied_to, rule.unit), {}).get(rule)
            if form is not None:
                self._lay(rule, self._ids.allocate(rule), form)
        for flows, gone in self._index.refresh():
            for key in gone:
                self._set(key, None)
            # Sets of dicts hash nothing anew, and where nothing was before there is nothing to compare.
            if len(set(flows).difference(self._flows).difference(self._before)) == len(flows):
                check_all(flows)
                self._flows.update(flows)
                self._new.update(flows)
            else:
                for key, body in flows.items():
                    self._set(key, body)

    def _set(self, key: FlowKey, body: FlowBody | None) -> None:
        old = self._flows.get(key)
        if old == body:
            return
        if body is not None:
            check(key, body)
            self._flows[key] = body
        else:
            del self._flows[key]
        if key in self._new or (old is None and key not in self._before):
            if body is not None:
                self._new[key] = body
            else:
                del self._new[key]
        elif old is not None:
            self._before.setdefault(key, old)


def _problems(group: GroupId, member: Member) -> Iterator[Problem]:
    for text in member.addresses:
        try:
            address(text)
        except NotAnAddress as error:
            namespace, _, name = member.pod.partition("/")
            unit = subjects.unit(Kind.POD, namespace, name)
            reason = f"{unit} in group {group}: {error}, so nothing is allowed for it; correct status.podIPs"
            yield Problem(unit=unit, state="failed", reason=reason)
