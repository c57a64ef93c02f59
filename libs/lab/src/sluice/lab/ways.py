"""The uplinks of a node's switch and their flows as node-ovs derives them from all Nodes, without a switch or bus."""

from collections.abc import Iterable

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


def routes(world: World) -> list[NodeRoute]:
    """The routes to all nodes. They are the same for each node, and cost a pass over all Pods."""
    behind = world.behind()
    return [
        NodeRoute(
            node=name,
            cause=NEVER,
            addresses=tuple(sorted(world.node_addresses(name))),
            pod_cidrs=tuple(sorted(behind[name])),
        )
        for name in world.nodes
    ]


def way_flows(node: NodeName, ways: Iterable[NodeRoute], ports: Uplinks) -> Flows:
    """The flows of these ports of the node, and of the routes to all nodes."""
    return lower_routes(node, ways, ports)
