"""Routes out of the node's switch: tunnels to other nodes, and the node's own network stack behind the gateway port.

A destination is looked up by longest prefix alone: a Pod of this node at its port, what another node has through the
tunnel, the node itself and everything outside the cluster through the gateway. What a node has is its `NodeRoute`: its
Pod CIDRs, its Pods outside of them, and its own addresses.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from sluice.contracts import subjects
from sluice.contracts.groups import NodeRoute
from sluice.contracts.ids import Address, NodeName
from sluice.contracts.kinds import Kind
from sluice.contracts.status import Problem
from sluice.dataplane.addresses import Block, address, network, readable
from sluice.dataplane.ovs.flow import FlowBody, FlowKey, Flows
from sluice.dataplane.ovs.route_flows import Uplinks, Ways, node_flows, uplink_flows


def lower_routes(here: NodeName, routes: Iterable[NodeRoute], uplinks: Uplinks) -> Flows:
    """All flows of routes and uplinks, from scratch."""
    said = {route.node: _said(route) for route in routes}
    said[here] = _said_here(said.get(here, _NOTHING), uplinks)
    flows = uplink_flows(uplinks)
    claims: dict[Block, list[NodeName]] = {}
    for node, ways in said.items():
        for block in ways.blocks:
            claims.setdefault(block, []).append(node)
    for node, ways in said.items():
        has = {block for block in ways.blocks if _holder(here, claims[block]) == node}
        flows |= node_flows(ways, has, uplinks, local=node == here)
    return flows


class Routing:
    """The same, maintained incrementally: the cost of a change is that of the node that changes."""

    def __init__(self, here: NodeName) -> None:
        self._here = here
        self._routes: dict[NodeName, NodeRoute] = {}
        self._said: dict[NodeName, Ways] = {here: _NOTHING}
        self._claims: dict[Block, set[NodeName]] = {}
        self._flows: dict[NodeName, Flows] = {}
        self._uplinks = Uplinks()
        self._uplink_flows: Flows = {}

    def put(self, route: NodeRoute) -> Iterator[tuple[FlowKey, FlowBody | None]]:
        """The node has this now; yields the flows that change, removed ones first."""
        self._routes[route.node] = route
        return self._change(route.node, _said(route))

    def drop(self, node: NodeName) -> Iterator[tuple[FlowKey, FlowBody | None]]:
        """The node is gone."""
        self._routes.pop(node, None)
        return self._change(node, _NOTHING)

    def use(self, uplinks: Uplinks) -> Iterator[tuple[FlowKey, FlowBody | None]]:
        """The node has these ports now. Rebuilds all routes."""
        if uplinks == self._uplinks:
            return
        self._uplinks = uplinks
        for key in self._uplink_flows:
            yield key, None
        self._uplink_flows = uplink_flows(uplinks)
        yield from self._uplink_flows.items()
        here = self._routes.get(self._here)
        self._claim(self._here, _said(here) if here else _NOTHING)
        yield from self._renew(set(self._said))

    @property
    def uplinks(self) -> Uplinks:
        return self._uplinks

    def ends(self) -> dict[NodeName, Block]:
        """The tunnel endpoints of the other nodes."""
        found = {node: sorted(_said(route).addresses) for node, route in self._routes.items() if node != self._here}
        return {node: ends[0] for node, ends in sorted(found.items()) if ends}

    def end_of(self, node: NodeName) -> Address | None:
        """The tunnel endpoint of the other node."""
        end = self.ends().get(node)
        return None if end is None else _address(end)

    def node_at(self, end: Address) -> NodeName | None:
        """The node with this tunnel endpoint."""
        return next((node for node, one in self.ends().items() if _address(one) == end), None)

    def owner(self, key: FlowKey) -> NodeName | None:
        """The node that the flow is a route to. Searches all nodes."""
        return next((node for node, flows in self._flows.items() if key in flows), None)

    def problems(self) -> Iterator[Problem]:
        """What several nodes claim, and nodes that cannot be reached."""
        for block, claimants in sorted(self._claims.items()):
            holder = _holder(self._here, claimants)
            for node in sorted(claimants - {holder}):
                yield _problem(
                    node,
                    f"its {_text(block)} is claimed by node {holder} as well, which keeps it; give each node its own",
                )
        for node, route in sorted(self._routes.items()):
            if node != self._here and not route.addresses:
                yield _problem(node, "it has no InternalIP, so its Pods cannot be reached; set status.addresses")

    def _change(self, node: NodeName, ways: Ways) -> Iterator[tuple[FlowKey, FlowBody | None]]:
        affected = self._claim(node, ways)
        yield from self._renew(affected)

    def _claim(self, node: NodeName, ways: Ways) -> set[NodeName]:
        """Record what the node claims; returns the nodes that may hold something else now."""
        if node == self._here:
            ways = _said_here(ways, self._uplinks)
        old, new = self._said.get(node, _NOTHING).blocks, ways.blocks
        self._said[node] = ways
        affected = {node}
        for block in old - new:
            self._claims[block].discard(node)
            affected |= self._claims[block]
            if not self._claims[block]:
                del self._claims[block]
        for block in new - old:
            affected |= self._claims.setdefault(block, set())
            self._claims[block].add(node)
        return affected

    def _renew(self, nodes: set[NodeName]) -> Iterator[tuple[FlowKey, FlowBody | None]]:
        for node in sorted(nodes):
            for key in self._flows.pop(node, {}):
                yield key, None
        for node in sorted(nodes):
            ways = self._said[node]
            has = {block for block in ways.blocks if _holder(self._here, self._claims[block]) == node}
            flows = node_flows(ways, has, self._uplinks, local=node == self._here)
            if flows:
                self._flows[node] = flows
            elif node != self._here and node not in self._routes:
                del self._said[node]
            yield from flows.items()


_NOTHING = Ways(frozenset(), frozenset())


def _said(route: NodeRoute) -> Ways:
    addresses = frozenset(readable(route.addresses, address))
    return Ways(
        addresses, frozenset((*readable(route.pod_cidrs, network), *readable(route.strays, address))) - addresses
    )


def _said_here(ways: Ways, uplinks: Uplinks) -> Ways:
    """This node also has the addresses of its gateway."""
    own = uplinks.gateway.blocks if uplinks.gateway else frozenset()
    return Ways(ways.addresses | own, ways.others - own)


def _holder(here: NodeName, claimants: Iterable[NodeName]) -> NodeName:
    """Of the nodes that claim something, the one that holds it: this one, or else the first by name."""
    return min(claimants, key=lambda node: (node != here, node))


def _problem(node: NodeName, reason: str) -> Problem:
    return Problem(unit=subjects.unit(Kind.NODE, "", node), state="failed", reason=f"node {node}: {reason}")


def _text(block: Block) -> str:
    return f"{_address(block)}/{block.prefix}"


def _address(block: Block) -> Address:
    return Address(str((IPv4Address if block.version == 4 else IPv6Address)(block.value)))
