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
"""Holds the rule's id in the packet that is handed over. The cookie cannot, because no rule owns AUDIT's flow."""

LISTENER = 2
"""Id of the controller that gets the copies, on a connection of its own: the switch queues a hundred packets for each
connection and drops the rest, so copies for the log must not displace packets that are to be answered or released."""

LOG = Controller(userdata=bytes((Errand.AUDIT,)), meter_id=Meter.AUDIT.value, controller_id=LISTENER)
"""The meter limits only the copies: the packet itself does not wait for it, and is never dropped by it."""

FLOWS: tuple[tuple[Table, int, Match, Actions], ...] = (
    (Table.AUDIT, PRIORITY, match((Field.CT_MARK, 0, MARK_LET_IN)), (LOG,)),
)


def logging(form: Form, id: int) -> Actions:
    """The actions that precede the rule's own; none if it does not log."""
    if not form.logs:
        return ()
    denies = form.action in (Action.DROP, Action.REJECT)
    return SetField(RULE_ID, id), (LOG if denies else Resubmit(Table.AUDIT))
