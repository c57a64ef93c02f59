"""A node's flows, maintained incrementally: the cost of a change is proportional to what it changes.

Invariant: after any steps, `flows` equals what `lower` computes from the same inputs.
"""

from collections.abc import Iterator, Mapping
from itertools import chain

from sluice.contracts.groups import Page
from sluice.contracts.ids import GroupId, NodeName, Uid, Unit
from sluice.contracts.programs import Program, ServiceRef
from sluice.contracts.status import Problem
from sluice.dataplane.audit.attribution import What
from sluice.dataplane.ovs.attributions import Attributions
from sluice.dataplane.ovs.base import BASE
from sluice.dataplane.ovs.bringing import Bringers
from sluice.dataplane.ovs.checking import check, check_all
from sluice.dataplane.ovs.counting import count_flows, is_counted
from sluice.dataplane.ovs.flow import Conjunction, FlowKey, Flows
from sluice.dataplane.ovs.fqdn import Fact
from sluice.dataplane.ovs.fqdn_values import Opens, WantedNames, held_for
from sluice.dataplane.ovs.ids import CapacityExceeded, RuleIds, RuleKey
from sluice.dataplane.ovs.index import Ref
from sluice.dataplane.ovs.inspection import Inspection
from sluice.dataplane.ovs.layers import Layer, fate, layer, spot
from sluice.dataplane.ovs.mid_stream import unbegun_of
from sluice.dataplane.ovs.order import BandFull
from sluice.dataplane.ovs.plugged import Plugged
from sluice.dataplane.ovs.ports import LocalPort
from sluice.dataplane.ovs.priorities import Spot
from sluice.dataplane.ovs.rules import Form, closed_form, forms, placeless, problems
from sluice.dataplane.ovs.sources import (
    Source,
)
from sluice.dataplane.ovs.wanted import Wanted

ProgramKey = tuple[GroupId, Unit]
PageKey = tuple[GroupId, NodeName]


class Engine:
    """The flows that the switch of this node must hold. The first `drain` assumes nothing about the switch.

    A put replaces the previous value of its key as a whole. Nothing raises: what cannot be lowered is closed (see
    `rules`) and reported by `problems`.
    """

    def __init__(self, node: NodeName, ids: RuleIds, opens: Opens = Opens.RESOLVER) -> None:
        self._ids = ids
        self.names = WantedNames()
        self._programs: dict[ProgramKey, Program] = {}
        self._by_group: dict[GroupId, dict[Unit, Program]] = {}
        self._forms: dict[ProgramKey, dict[RuleKey, Form]] = {}
        self._laid: dict[RuleKey, tuple[Form, Layer]] = {}
        """Each rule as the index has it."""

        self._unfit: dict[ProgramKey, Program] = {}
        """Programs, as they were put, that have too few ids or priorities for all of their rules."""

        self._program_problems: dict[ProgramKey, tuple[Problem, ...]] = {}
        self._inspection = Inspection()
        self._attributions = Attributions()
        self._wanted = Wanted(check, BASE)
        self._set = self._wanted.set
        self._ports = Plugged(self._set)
        self._bringers = Bringers(node, opens, self._ports.ofport, self._attributions.join)
        self._index = self._bringers.index

    @property
    def programs(self) -> Mapping[ProgramKey, Program]:
        """What is in force: the closed form of every program that was put."""
        return self._programs

    def about(self, uid: Uid) -> Iterator[Program]:
        """The programs that apply to a Pod of this node."""
        for group in self._bringers.groups(uid):
            yield from self._by_group.get(group, {}).values()

    def judged_by(self, vlan: int) -> tuple[RuleKey, ...]:
        """The rules whose packets the inspection engine gets on this VLAN; sorted."""
        return self._inspection.judged_by(vlan)

    @property
    def flows(self) -> Flows:
        """All flows that the switch must hold now."""
        self._settle()
        return self._wanted.now

    def drain(self) -> tuple[Flows, frozenset[FlowKey]]:
        """The flows to put and to delete since the last call; the first call puts all flows."""
        self._settle()
        return self._wanted.drain()

    def attributions(self) -> tuple[What, ...]:
        """Changes in the attribution of logged packets since the last call; to be recorded before the flows are put."""
        self._settle()
        return self._attributions.drain(self._bringers.members_here, self._bringers.groups)

    def problems(self) -> tuple[Problem, ...]:
        """What is not in force as written, sorted."""
        found = {problem for found in self._program_problems.values() for problem in found}
        return tuple(sorted(found.union(self._bringers.problems(), self._inspection.problems())))

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
        self._bringers.put_page(page)

    def drop_page(self, group: GroupId, node: NodeName) -> None:
        """The group has no members on the node."""
        self._bringers.drop_page(group, node)

    def serve(self, service: ServiceRef, numbers: frozenset[int]) -> None:
        """The ports of the Service have these numbers; no numbers: there is no such Service."""
        self._bringers.serve(service, numbers)

    def tell(self, fact: Fact, *, true: bool) -> None:
        """A fact learnt from DNS became true, or is no longer."""
        self._bringers.tell(fact, true=true)

    def inspect(self, vlans: Mapping[str, int]) -> None:
        """The inspection engine has exactly these VLANs in force, by the digest of the rule set of each."""
        changed = self._inspection.changed(vlans)
        for rule in changed:
            number = self._ids.allocate(rule)
            for place in self._refs(*laid, number) if (laid := self._laid.pop(rule, None)) else ():
                self._index.withdraw(*place, number)
        self._inspection.use(vlans)
        for rule in changed:
            self._lay(rule, self._ids.allocate(rule), self._forms[rule.applied_to, rule.unit][rule])

    def open_port(self, port: LocalPort) -> None:
        """The Pod may send and receive, as far as programs allow. Another Pod's port with the same ofport is closed."""
        if self._ports.get(port.uid) == port:
            return
        self.close_port(port.uid)
        self.close_port(self._ports.holder(port.ofport) or port.uid)
        self._ports.open(port)
        self._bringers.plug(port.uid, 1)

    def close_port(self, uid: Uid) -> None:
        """Cut the Pod off in both directions, established connections included."""
        port = self._ports.get(uid)
        if port is not None:
            self._bringers.plug(uid, -1)
            self._ports.close(port)

    def release_unused_ids(self) -> None:
        """Release the numbers of rules that are not in force: those that were removed while the process was down."""
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
        """Replace the program's rules by exactly these.

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
        """Give the program those rules for which there are numbers, and substitutes for the others."""
        for rule, form in new.items():
            for stand_in in (form, None if form.precedence is None else placeless(closed, rule)):
                try:
                    if stand_in is not None:
                        self._change_rules(key, {**self._forms.get(key, {}), rule: stand_in})
                except (CapacityExceeded, BandFull):
                    continue
                break

    def _numbers(self) -> tuple[int, int]:
        """How many ids and places are in use."""
        return len(self._ids), len(self._ids.priorities)

    def _make_fit(self, before: tuple[int, int]) -> None:
        """Retry the programs that lacked numbers, if some became free."""
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
        """Put the rule into the index in this form; take it out if it has no form, or no priority yet."""
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
        beside = chain(held_for(form), unbegun_of(form))
        return found | {(at, source): Ref(form.key, id, body) for at, source, body in beside}

    def _count(self, id: int, *, was: Form | None, now: Form | None) -> None:
        """Add or remove the flows that count for the rule; only rules that decide have them."""
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
        """How many flows the rules at this spot have. Shared flows count once for each rule."""
        rules = [self._laid[rule][0] for rule in self._ids.priorities.holders(stands) if rule in self._laid]
        return sum(self._index.size(source) for form in rules for sources in form.clauses for source in sources)

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
            if self._wanted.knows_none(flows):
                check_all(flows)
                self._wanted.add(flows)
            else:
                for key, body in flows.items():
                    self._set(key, body)
