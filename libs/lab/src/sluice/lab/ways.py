"""The uplinks of a node's switch and their flows as node-ovs derives them from all Nodes, without a switch or bus."""

from sluice.contracts.groups import NodeRoute
from sluice.contracts.ids import NEVER, NodeName
from sluice.dataplane.ovs.flow import Flows
from sluice.dataplane.ovs.route_flows import Gateway, Uplinks
from sluice.dataplane.ovs.routes import lower_routes
from sluice.lab.world import World

UPLINKS = 2
"""Number of ports that belong to no Pod."""

GATEWAY_MAC = "0a:58:00:00:00:01"
"""Locally administered; each node's gateway is on a network of its own, so all can have the same one."""


def uplinks(world: World, node: NodeName, pods: int) -> Uplinks:
    """The ports that belong to no Pod, numbered after those of the node's Pods; the tunnel comes first."""
    return Uplinks(pods + 1, Gateway(pods + 2, GATEWAY_MAC, world.gateways(node)))


def way_flows(world: World, node: NodeName, ports: Uplinks) -> Flows:
    """The flows of these ports, and of the routes to all nodes."""
    return lower_routes(node, [_route(world, name) for name in world.nodes], ports)


def _route(world: World, name: NodeName) -> NodeRoute:
    return NodeRoute(
        node=name,
        cause=NEVER,
        addresses=tuple(sorted(world.node_addresses(name))),
        pod_cidrs=tuple(sorted(world.behind(name))),
    )
