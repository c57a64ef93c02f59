"""The flows that a node's switch would have for TrafficControls, given that all their ports exist."""

from collections.abc import Iterable
from typing import Any


def steered(controls: Any, grouping: Any, node: Any, ids: Any, ports: Iterable[Any], *, first: int) -> tuple[Any, Any]:
    """The flows, and what could not be compiled as written; required ports are numbered from `first`."""
    from sluice.dataplane.ovs.traffic import Traffic
    from sluice.dataplane.ovs.traffic_ports import Found

    traffic = Traffic(ids)
    here = set(grouping.groups_on(node))
    for (group, _), program in sorted(controls.programs.items()):
        if group in here:
            traffic.put(program)
            traffic.members_are(group, grouping.members(group, node))
    for port in ports:
        traffic.open_port(port)
    wishes = sorted(traffic.wishes().values())
    traffic.switch_has(
        {one.name: Found(one.name, one.type, "ours", number) for number, one in enumerate(wishes, start=first)}, {}
    )
    return traffic.flows, (*controls.problems, *traffic.problems())
