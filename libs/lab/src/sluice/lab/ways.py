"""The ways out of a node's switch, for those who have no switch and no bus: what node-ovs makes of all Nodes."""

from sluice.contracts.groups import NodeRoute
from sluice.contracts.ids import NEVER, NodeName
from sluice.dataplane.ovs.flow import Flows
from sluice.dataplane.ovs.route_flows import Gateway, Uplinks
from sluice.dataplane.ovs.routes import lower_routes
from sluice.lab.world import World

UPLINKS = 2
"""Ports that are no Pod's."""

GATEWAY_MAC = "0a:58:00:00:00:01"
"""Locally administered; each node has its own network behind its own gateway, so it may be the same everywhere."""


def uplinks(world: World, node: NodeName, pods: int) -> Uplinks:
    """The ports that are no Pod's: numbered after those of the node's Pods, the tunnel first."""
    return Uplinks(pods + 1, Gateway(pods + 2, GATEWAY_MAC, world.gateways(node)))


def way_flows(world: World, node: NodeName, ports: Uplinks) -> Flows:
    """The flows of these ports, and of the ways to every node."""
    return lower_routes(node, [_route(world, name) for name in world.nodes], ports)


def _route(world: World, name: NodeName) -> NodeRoute:
    return NodeRoute(
        node=name,
        cause=NEVER,
        addresses=tuple(sorted(world.node_addresses(name))),
        pod_cidrs=tuple(sorted(world.behind(name))),
    )
