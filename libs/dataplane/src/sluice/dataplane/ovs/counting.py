"""Counting: what the rules of the node decided about, and the flows that count it.

Each rule but those that pass has two flows of its own in COUNT. They stand for as long as the rule has its id, whatever
becomes of its other flows, so a rule that is written anew, moves, or meets other Pods goes on counting. A packet that
is let through is counted by each rule that lets it through; one that is denied, by the rule that denies it alone.
"""

from sluice.contracts.programs import Action
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.fields import CtState, Field
from sluice.dataplane.ovs.flow import Actions, FlowBody, FlowKey, Flows, Goto, SetField, match
from sluice.dataplane.ovs.pipeline import COUNTED, MARK_LET_IN, PRIORITY, PRIORITY_FIRST, Table

_BEGINS = (Field.CT_STATE, CtState.TRK | CtState.NEW, CtState.TRK | CtState.NEW), (Field.CT_MARK, 0, MARK_LET_IN)
"""Of a connection that was not let in before: a packet that the tracker has seen already may be new to it still."""


def is_counted(action: Action) -> bool:
    """The rule decides: one that passes leaves that to others."""
    return action is not Action.PASS


def count(id: int) -> Actions:
    """A packet that the rule denies is counted, and that is the end of it."""
    return SetField(COUNTED, id), Goto(Table.COUNT)


def count_flows(id: int) -> Flows:
    """What counts for a rule: the packets that begin a connection, and all others."""
    body = FlowBody((), cookies.pack(CookieKind.COUNT, id))
    return {
        FlowKey(Table.COUNT, PRIORITY_FIRST, match((COUNTED, id), *_BEGINS)): body,
        FlowKey(Table.COUNT, PRIORITY, match((COUNTED, id))): body,
    }
