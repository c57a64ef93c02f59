"""The flows that count what each rule of the node decided.

Each rule except pass rules has two flows of its own in COUNT. They stay as long as the rule has its id, whatever
becomes of its other flows, so a rule that is rewritten, moved, or applied to other Pods goes on counting. An allowed
packet is counted by each rule that lets it through; a denied one only by the rule that denies it.
"""

from sluice.contracts.programs import Action
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.conntrack import LABEL_EGRESS, LABEL_INGRESS, LABEL_NODE_PORT, MARK_LET_IN
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.fields import CtState, Field
from sluice.dataplane.ovs.flow import Actions, FlowBody, FlowKey, Flows, Goto, MoveField, Resubmit, SetField, match
from sluice.dataplane.ovs.pipeline import PRIORITY, PRIORITY_FIRST, Table
from sluice.dataplane.ovs.registers import COUNTED, EGRESS_RULE, INGRESS_RULE, NODE_PORT_RULE

_RULES = ((INGRESS_RULE, LABEL_INGRESS), (EGRESS_RULE, LABEL_EGRESS), (NODE_PORT_RULE, LABEL_NODE_PORT))
"""Registers of the rules that allowed a connection, and where ct_label stores each."""

REMEMBER_RULES = tuple(MoveField(rule, Field.CT_LABEL, 32, target_offset=at) for rule, at in _RULES)
RECALL_RULES = tuple(MoveField(Field.CT_LABEL, rule, 32, at) for rule, at in _RULES)

COUNT_EACH: Actions = tuple(
    step for rule, _ in _RULES for step in (MoveField(rule, COUNTED, 32), Resubmit(Table.COUNT))
)
"""Counts the packet for each rule that allowed it."""

_BEGINS = (Field.CT_STATE, CtState.TRK | CtState.NEW, CtState.TRK | CtState.NEW), (Field.CT_MARK, 0, MARK_LET_IN)
"""Packets of a connection not allowed before. Until somebody answers, the tracker calls later ones new as well."""


def is_counted(action: Action) -> bool:
    """Whether rules with this action decide: those that pass leave that to others."""
    return action is not Action.PASS


def count(id: int) -> Actions:
    """Count a packet that the rule denies, and drop it."""
    return SetField(COUNTED, id), Goto(Table.COUNT)


def count_flows(id: int) -> Flows:
    """The flows that count for a rule: packets that begin a connection, and all others."""
    body = FlowBody((), cookies.pack(CookieKind.COUNT, id))
    return {
        FlowKey(Table.COUNT, PRIORITY_FIRST, match((COUNTED, id), *_BEGINS)): body,
        FlowKey(Table.COUNT, PRIORITY, match((COUNTED, id))): body,
    }


def counter(key: FlowKey) -> int | None:
    """The id of the rule that the flow counts for, if it is one that counts."""
    if key.table != Table.COUNT:
        return None
    return next((term.value for term in key.match if term.field is COUNTED), None)
