"""The flows and groups that a node's switch would have."""

from typing import Any


def compiled(world: Any, node: Any) -> tuple[Any, Any, list[Any]]:
    """The flows and groups of the node, and what could not be compiled as written."""
    from sluice.cli.compile_traffic import steered
    from sluice.cli.derived import derive
    from sluice.contracts.groups import Page
    from sluice.contracts.ids import ALL_NODES, Revision
    from sluice.dataplane.ovs.engine import Engine
    from sluice.dataplane.ovs.ids import RuleIds
    from sluice.dataplane.ovs.ports import LocalPort
    from sluice.dataplane.ovs.serving import Serving
    from sluice.drivers.veth import mac_of
    from sluice.lab.ways import UPLINKS, uplinks, way_flows
    from sluice.policy.backends import backend_of

    compiler, groups, grouping, services, controls = derive(world.objects)
    ids = RuleIds()
    engine, serving = Engine(node, ids), Serving(node, ids)
    for _, served in sorted(services.programs.items()):
        serving.put(served)
    changes = serving.drain()
    for service in sorted(changes.services):
        engine.serve(service, serving.numbers(service))
    here = set(grouping.groups_on(node))
    for (group, _), program in sorted(compiler.programs.items()):
        if (group in here or group == ALL_NODES) and backend_of(program) == "ovs":
            engine.put_program(program)
    for group in sorted(groups.selectors):
        for place in grouping.nodes(group):
            members = grouping.members(group, place)
            engine.put_page(Page(group=group, node=place, cause=Revision(1, 0), members=members))
    pods = sorted(pod for pod in world.pods().values() if pod.node == node and not pod.host_network)
    ports = [
        LocalPort(pod.pod, pod.uid, number, mac_of(pod.addresses[0]), pod.addresses)
        for number, pod in enumerate(pods, start=1)
    ]
    for port in ports:
        engine.open_port(port)
    ways = way_flows(world, node, uplinks(world, node, len(pods)))
    steering, troubles = steered(controls, grouping, node, ids, ports, first=len(pods) + UPLINKS + 1)
    served_flows = {key: body for key, body in changes.flows.items() if body is not None}
    chosen = {number: buckets for number, buckets in changes.groups.items() if buckets is not None}
    problems = {*compiler.problems, *engine.problems(), *serving.problems(), *troubles}
    return {**engine.flows, **ways, **served_flows, **steering}, chosen, sorted(problems)
