"""What to change in the switch so that it holds the desired flows, and no others of ours."""

from typing import NamedTuple

from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.flow import FlowKey, Flows


class Plan(NamedTuple):
    """One atomic change. A flow that is put replaces the one with its key."""

    put: Flows
    delete: tuple[FlowKey, ...]

    @property
    def empty(self) -> bool:
        return not self.put and not self.delete


def plan(desired: Flows, actual: Flows, *, alone: bool = False) -> Plan:
    """The change that makes the switch hold exactly the desired flows; empty if it does.

    Flows without our owner mark are foreign and stay, unless one has the key of a desired flow, or the bridge is ours
    alone.
    """
    put = {key: body for key, body in desired.items() if actual.get(key) != body}
    delete = (key for key, body in actual.items() if key not in desired and (alone or cookies.is_ours(body.cookie)))
    return Plan(put, tuple(delete))


def applied(flows: Flows, change: Plan) -> Flows:
    """The flows of a switch after the change, if it held these before."""
    gone = frozenset(change.delete)
    return {key: body for key, body in flows.items() if key not in gone} | change.put
