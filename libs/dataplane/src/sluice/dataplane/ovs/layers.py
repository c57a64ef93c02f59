"""Layers: the flows of one stage and direction that share a priority.

A rule in one dimension is *plain*: its values are its flows. A rule in more is a conjunctive match: each value of each
dimension is a flow with `conjunction(id, dimension/dimensions)`, and one more flow, on `conj_id`, says what happens.

Kubernetes allow rules have no order, so all of them share one priority (but for lanes, see `ids`), and flows of equal
match are one flow. Where a packet is in several rules, Open vSwitch picks any of them, which is as good: all of a
stage do the same. Plain rules stand above clauses, else a plain flow and a clause of equal match would be one flow, and
a flow with conjunction() can do nothing else (ovs-fields(7), "Conjunctive Match Fields").
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple, assert_never

from sluice.contracts.programs import Direction
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Conjunction, FlowBody, FlowKey, Goto, SetField, Term
from sluice.dataplane.ovs.pipeline import EGRESS_RULE, INGRESS_RULE, PRIORITY_CLAUSES, PRIORITY_PLAIN, Table
from sluice.dataplane.ovs.rules import Form, Stage
from sluice.dataplane.ovs.sources import Value

_TABLES = {
    (Stage.TIER, Direction.EGRESS): Table.EGRESS_TIER,
    (Stage.K8S, Direction.EGRESS): Table.EGRESS_K8S,
    (Stage.DEFAULT, Direction.EGRESS): Table.EGRESS_DEFAULT,
    (Stage.TIER, Direction.INGRESS): Table.INGRESS_TIER,
    (Stage.K8S, Direction.INGRESS): Table.INGRESS_K8S,
    (Stage.DEFAULT, Direction.INGRESS): Table.INGRESS_DEFAULT,
}
_RECORD = {Direction.EGRESS: EGRESS_RULE, Direction.INGRESS: INGRESS_RULE}
_ONWARD = {Direction.EGRESS: Table.FORWARD, Direction.INGRESS: Table.COMMIT}


class Layer(NamedTuple):
    stage: Stage
    direction: Direction
    lane: int | None
    """Unset for plain rules."""

    @property
    def table(self) -> Table:
        return _TABLES[self.stage, self.direction]

    @property
    def priority(self) -> int:
        return PRIORITY_PLAIN if self.lane is None else PRIORITY_CLAUSES - self.lane

    def key(self, value: Value) -> FlowKey:
        """The flow of a value."""
        return FlowKey(self.table, self.priority, value.match(self.direction))

    def conj_key(self, id: int) -> FlowKey:
        """The flow that says what happens to a packet in all clauses of the rule."""
        return FlowKey(self.table, self.priority, (Term(Field.CONJ_ID, id),))

    def fate(self, id: int) -> FlowBody:
        """What happens to a packet that is in the rule."""
        match self.stage:
            case Stage.TIER:
                return FlowBody((), cookies.pack(CookieKind.RULE, id))
            case Stage.K8S:
                record = SetField(_RECORD[self.direction], id)
                return FlowBody((record, Goto(_ONWARD[self.direction])), cookies.pack(CookieKind.RULE, id))
            case Stage.DEFAULT:
                return FlowBody((), cookies.pack(CookieKind.ISOLATION, id))
            case _:
                assert_never(self.stage)


def layer(form: Form, lane: int) -> Layer:
    """Where the rule's flows are."""
    return Layer(form.stage, form.key.direction, None if len(form.clauses) == 1 else lane)


def clause(conjunctions: Iterable[Conjunction]) -> FlowBody:
    """What a value's flow does for the rules that it is a clause of; at most one conjunction an id."""
    ordered: list[Conjunction] = sorted(conjunctions, key=attrgetter("id"))
    return FlowBody(tuple(ordered), cookies.pack(CookieKind.CLAUSE))
