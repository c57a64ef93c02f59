"""The flows that a node's switch would have for TrafficControls, given that all their ports exist."""

from collections.abc import Iterable

from sluice.cli.derived import Derived
from sluice.contracts.ids import NodeName
from sluice.contracts.status import Problem
from sluice.dataplane.ovs.flow import Flows
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.ports import LocalPort
from sluice.dataplane.ovs.traffic import Traffic
from sluice.dataplane.ovs.traffic_ports import Found


def steered(
    derived: Derived, node: NodeName, ids: RuleIds, ports: Iterable[LocalPort], *, first: int
) -> tuple[Flows, tuple[Problem, ...]]:
    """The flows, and what could not be compiled as written; required ports are numbered from `first`."""
    traffic = Traffic(ids)
    for program in derived.steering(node):
        traffic.put(program)
        traffic.members_are(program.applied_to, derived.members(program.applied_to, node))
    for port in ports:
        traffic.open_port(port)
    wishes = sorted(traffic.wishes().values())
    traffic.switch_has(
        {one.name: Found(one.name, one.type, "ours", number) for number, one in enumerate(wishes, start=first)}, {}
    )
    return traffic.flows, (*derived.controls.problems, *traffic.problems())
