"""Layers: the flows of one table that share a priority.

A rule with one dimension is *plain*: its values are its flows. A rule with more is a conjunctive match: each value of
each dimension is a flow with `conjunction(id, dimension/dimensions)`, and one more flow, on `conj_id`, has the actions.

Kubernetes allow rules have no order, so all of them share one priority (except for lanes, see `ids`), and flows with
equal matches are merged. If a packet matches several rules, Open vSwitch picks any of them, which is fine because all
rules of a stage do the same. Rules of tiers are ordered, and each place in the order has its own priority, see
`priorities`.

Plain rules and clauses never share a priority. Otherwise a plain flow and a clause with equal matches would be one
flow, and a flow with conjunction() cannot do anything else (ovs-fields(7), "Conjunctive Match Fields").
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple, assert_never

from sluice.contracts.programs import Action, Direction
from sluice.dataplane.ovs import audit, cookies
from sluice.dataplane.ovs.conntrack import VLAN_BITS
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.counting import count
from sluice.dataplane.ovs.errand import Errand, Meter
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Actions, Conjunction, Controller, FlowBody, FlowKey, Goto, SetField, Term
from sluice.dataplane.ovs.pipeline import PRIORITY_CLAUSES, PRIORITY_PLAIN, Table
from sluice.dataplane.ovs.priorities import PLAIN, Place, Spot
from sluice.dataplane.ovs.registers import EGRESS_RULE, FLAGS, INGRESS_RULE, INSPECTED, L7_VLANS, NODE_PORT_RULE
from sluice.dataplane.ovs.rules import Form, Stage
from sluice.dataplane.ovs.sources import Value, matches

PRIORITY_CLOSED = 65_001
"""For drops in place of a rule that cannot be installed as it is: above everything that might allow the traffic."""

_IN, _OUT = Direction.INGRESS, Direction.EGRESS
_TABLES = {
    _OUT: {
        Stage.TIER: Table.EGRESS_TIER,
        Stage.K8S: Table.EGRESS_K8S,
        Stage.ISOLATION: Table.EGRESS_DEFAULT,
        Stage.BASELINE: Table.EGRESS_DEFAULT,
    },
    _IN: {
        Stage.TIER: Table.INGRESS_TIER,
        Stage.K8S: Table.INGRESS_K8S,
        Stage.ISOLATION: Table.INGRESS_DEFAULT,
        Stage.BASELINE: Table.INGRESS_DEFAULT,
        Stage.NODE_PORT: Table.NODE_PORT,
        Stage.NODE_PORT_BASELINE: Table.NODE_PORT_DEFAULT,
    },
}
_AT_NODE_PORTS = (Stage.NODE_PORT, Stage.NODE_PORT_BASELINE)
_DIRECTIONS: dict[int, Direction] = {
    table.value: direction for direction, tables in _TABLES.items() for table in tables.values()
} | {table.value: _OUT for table in (Table.DNS_CLIENT, Table.DNS_ANSWER, Table.DNS_HOLD, Table.MID_STREAM)}
_RECORD = {_OUT: EGRESS_RULE, _IN: INGRESS_RULE}
REJECT = Controller(userdata=bytes((Errand.REJECT,)), meter_id=Meter.REJECT.value)
_ONWARD = {_OUT: Table.FORWARD, _IN: Table.TALLY}


class Layer(NamedTuple):
    table: int
    priority: int

    def key(self, value: Value) -> FlowKey:
        """The key of a value's flow."""
        return FlowKey(self.table, self.priority, value.match(_DIRECTIONS[self.table]))

    def keys(self, values: Iterable[Value]) -> list[FlowKey]:
        """The key of each value's flow. Calling `FlowKey` for many values would take most of the time."""
        table, priority = self
        new = tuple.__new__
        return [new(FlowKey, (table, priority, a_match)) for a_match in matches(values, _DIRECTIONS[table])]

    def conj_key(self, id: int) -> FlowKey:
        """The key of the flow with the actions for packets that match all clauses of the rule."""
        return FlowKey(self.table, self.priority, (Term(Field.CONJ_ID, id),))


def layer(form: Form, lane: int, priority: int | None) -> Layer:
    """The layer of the rule's flows.

    Args:
        priority: that of the rule's spot, if it has one.
    """
    table = _TABLES[form.key.direction][form.stage]
    if priority is not None:
        return Layer(table.value, priority)
    if form.action is Action.DROP and form.stage is not Stage.ISOLATION:
        return Layer(table.value, PRIORITY_CLOSED)
    return Layer(table.value, PRIORITY_PLAIN if len(form.clauses) == 1 else PRIORITY_CLAUSES - lane)


def spot(form: Form, lane: int) -> Spot | None:
    """The rule's position in the order of its table; None if it has none."""
    if form.precedence is None:
        return None
    place = Place(form.precedence, form.action, PLAIN if len(form.clauses) == 1 else lane)
    return Spot(_TABLES[form.key.direction][form.stage], place)


def fate(form: Form, id: int, vlan: int | None = None) -> FlowBody:
    """What happens to a packet that matches the rule.

    Args:
        vlan: the one on which the inspection engine judges what the rule allows; unset: it does not yet, so that is
            dropped.
    """
    kind = CookieKind.ISOLATION if form.stage is Stage.ISOLATION else CookieKind.RULE
    return FlowBody((*audit.logging(form, id), *_fate(form, id, vlan)), cookies.pack(kind, id))


def _fate(form: Form, id: int, vlan: int | None) -> Actions:
    direction = form.key.direction
    match form.action:
        case Action.ALLOW if form.inspected_by:
            return () if vlan is None else _inspected(direction, id, vlan)
        case Action.ALLOW | Action.PASS if form.stage in _AT_NODE_PORTS:
            if form.action is Action.ALLOW:
                return SetField(NODE_PORT_RULE, id), Goto(Table.EGRESS_TIER)
            return (Goto(Table.NODE_PORT_DEFAULT if form.stage is Stage.NODE_PORT else Table.EGRESS_TIER),)
        case Action.ALLOW:
            return SetField(_RECORD[direction], id), Goto(_ONWARD[direction])
        case Action.PASS if form.stage is Stage.TIER:
            return (Goto(_TABLES[direction][Stage.K8S]),)
        case Action.PASS:
            return (Goto(_ONWARD[direction]),)
        case Action.DROP:
            return count(id)
        case Action.REJECT:
            return REJECT, *count(id)
        case _:
            assert_never(form.action)


def _inspected(direction: Direction, id: int, vlan: int) -> Actions:
    """Note the VLAN on which the engine judges, for the connection tracker to store. Only TCP gets any further."""
    shift = 0 if direction is _OUT else VLAN_BITS
    return (
        SetField(_RECORD[direction], id),
        SetField(L7_VLANS, vlan << shift, (1 << VLAN_BITS) - 1 << shift),
        SetField(FLAGS, INSPECTED, INSPECTED),
        Goto(Table.EGRESS_L7 if direction is _OUT else _ONWARD[_IN]),
    )


def clause(conjunctions: Iterable[Conjunction]) -> FlowBody:
    """The body of a value's flow, for the rules that have the value in a clause; at most one conjunction per id."""
    ordered: list[Conjunction] = sorted(conjunctions, key=attrgetter("id"))
    return FlowBody(tuple(ordered), cookies.pack(CookieKind.CLAUSE))
