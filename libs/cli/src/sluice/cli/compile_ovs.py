"""The flows and groups that a node's switch would have."""

from typing import NamedTuple

from sluice.cli.compile_traffic import steered
from sluice.cli.derived import Derived
from sluice.contracts.groups import NodeRoute
from sluice.contracts.ids import NodeName
from sluice.contracts.status import Problem
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.flow import Flows, Groups
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.ports import LocalPort
from sluice.dataplane.ovs.serving import Serving
from sluice.drivers.veth import mac_of
from sluice.lab.ways import UPLINKS, routes, uplinks, way_flows
from sluice.lab.world import Placed, World


class Switch(NamedTuple):
    flows: Flows
    groups: Groups
    problems: list[Problem]
    """What could not be compiled as written; sorted."""


class Switches:
    """What is the same for all nodes is done once."""

    def __init__(self, world: World, derived: Derived) -> None:
        self._world, self._derived = world, derived
        self._routes: list[NodeRoute] = routes(world)
        self._pods: dict[NodeName, list[Placed]] = {}
        for pod in world.pods().values():
            if not pod.host_network:
                self._pods.setdefault(pod.node, []).append(pod)

    def of(self, node: NodeName) -> Switch:
        """The flows and groups of the node."""
        derived, ids = self._derived, RuleIds()
        engine, serving = Engine(node, ids), Serving(node, ids)
        for _, served in sorted(derived.services.programs.items()):
            serving.put(served)
        changes = serving.drain()
        for service in sorted(changes.services):
            engine.serve(service, serving.numbers(service))
        programs = derived.programs_of("ovs", node)
        for page in derived.pages(programs):  # before the programs, so that each source gets its values at once
            engine.put_page(page)
        pods = sorted(self._pods.get(node, ()))
        ports = [
            LocalPort(pod.pod, pod.uid, number, mac_of(pod.addresses[0]), pod.addresses)
            for number, pod in enumerate(pods, start=1)
        ]
        for port in ports:
            engine.open_port(port)
        for program in programs:
            engine.put_program(program)
        ways = way_flows(node, self._routes, uplinks(self._world, node, len(pods)))
        steering, troubles = steered(derived, node, ids, ports, first=len(pods) + UPLINKS + 1)
        flows, _ = engine.drain()
        flows |= ways
        flows |= {key: body for key, body in changes.flows.items() if body is not None}
        flows |= steering
        chosen = {number: buckets for number, buckets in changes.groups.items() if buckets is not None}
        problems = {*derived.compiler.problems, *engine.problems(), *serving.problems(), *troubles}
        return Switch(flows, chosen, sorted(problems))
