"""How a rule's decisions are logged: the packet is sent to the programmer with the rule's id, and goes on as usual.

For an allowed connection, only the first packet is logged. Until somebody answers, each further packet meets the rules
like a new one, so those whose connection the tracker already knows are skipped. Dropped and rejected packets never
become known connections.
"""

from sluice.contracts.programs import Action
from sluice.dataplane.ovs.conntrack import MARK_LET_IN
from sluice.dataplane.ovs.errand import Errand, Meter
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Actions, Controller, Match, Resubmit, SetField, match
from sluice.dataplane.ovs.pipeline import PRIORITY, Table
from sluice.dataplane.ovs.registers import SCRATCH
from sluice.dataplane.ovs.rules import Form

RULE_ID = SCRATCH
"""Where the id of the rule stands in the packet that is handed over. No cookie says, for AUDIT's flow is no rule's."""

LISTENER = 2
"""The controller that hears of it, on a connection of its own: the switch keeps a hundred packets for each connection
and drops the rest, so what is logged must not push out what is to be answered or waits to go on."""

LOG = Controller(userdata=bytes((Errand.AUDIT,)), meter_id=Meter.AUDIT.value, controller_id=LISTENER)
"""The meter bounds the copy alone: the packet itself does not wait for it, and is never dropped by it."""

FLOWS: tuple[tuple[Table, int, Match, Actions], ...] = (
    (Table.AUDIT, PRIORITY, match((Field.CT_MARK, 0, MARK_LET_IN)), (LOG,)),
)


def logging(form: Form, id: int) -> Actions:
    """What goes before the rule's actions."""
    if not form.logs:
        return ()
    denies = form.action in (Action.DROP, Action.REJECT)
    return SetField(RULE_ID, id), (LOG if denies else Resubmit(Table.AUDIT))
