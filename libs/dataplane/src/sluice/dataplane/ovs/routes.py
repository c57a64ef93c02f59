"""Ways out of the node's switch: tunnels to the other nodes, and the node's own network stack behind its gateway port.

A destination is looked up by longest prefix, and nothing else decides: a Pod of this node at its port, what another
node has through the tunnel, the node itself and everybody beyond the cluster through the gateway. What a node has is
its `NodeRoute`: its ranges of Pods' addresses, its Pods outside of them, its own addresses.

What comes in by these ports is believed as far as its address goes: through the tunnel a node speaks for what it has,
and for nobody else; through the gateway nobody speaks for what is in the cluster, but the node for itself. Only that
last one is exempt from ingress policy, as Kubernetes asks: a node may always probe its own Pods.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from msgspec import Struct

from sluice.contracts import subjects
from sluice.contracts.groups import NodeRoute
from sluice.contracts.ids import Address, NodeName
from sluice.contracts.kinds import Kind
from sluice.contracts.status import Problem
from sluice.dataplane.addresses import WIDTH, Block, NotAnAddress, address, network
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.base import mask
from sluice.dataplane.ovs.conntrack import MASK_ZONE
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import (
    Actions,
    Ct,
    DecTtl,
    FlowBody,
    FlowKey,
    Flows,
    Goto,
    Match,
    Nat,
    SetField,
    Term,
    match,
)
from sluice.dataplane.ovs.pipeline import PRIORITY, PRIORITY_FIRST, PRIORITY_TOP, VIRTUAL_MAC, Table
from sluice.dataplane.ovs.ports import BadPort, destination, is_mac, mac, source
from sluice.dataplane.ovs.registers import (
    ACCEPTED,
    ANSWER,
    FLAGS,
    FROM_HOST,
    FROM_TUNNEL,
    FROM_WORLD,
    OUT_PORT,
    SERVED,
    TO_NODE,
)
from sluice.dataplane.protocols import EthType

PRIORITY_HOST = PRIORITY_FIRST
"""The node's own addresses: before what any Pod or other node says it has."""

PRIORITY_NOT_BY_GATEWAY = 150
"""SPOOF_GUARD: between the node's own addresses and those of the world."""

PRIORITY_LONGEST = PRIORITY - 1
"""FORWARD: one address of another node. Each bit less of the prefix is one less; below the Pods of this node."""

PRIORITY_SHORTEST = 2
"""FORWARD: the least of prefixes. IPv6 prefixes of 31 bits and less share it: no node has so many Pods."""

PRIORITY_BEYOND = 1
"""FORWARD: what is no Pod's and no node's."""

NOWHERE = tuple(
    Block(version, value, prefix)
    for version, value, prefix in (
        (4, 0, 8),  # this network, RFC 1122 section 3.2.1.3
        (4, 127 << 24, 8),  # loopback, the same
        (4, 0xA9FE << 16, 16),  # link-local, RFC 3927
        (4, 0xF << 28, 4),  # reserved, and broadcast, RFC 1112 section 4, RFC 919
        (6, 0, 127),  # unspecified and loopback, RFC 4291 sections 2.5.2 and 2.5.3
        (6, 0xFE80 << 112, 10),  # link-local, RFC 4291 section 2.5.6
        (6, 0xFF << 120, 8),  # multicast, RFC 4291 section 2.7
    )
)
"""Destinations that no router forwards: a Pod's neighbour discovery ends here, and so does whatever it broadcasts.

Multicast of IPv4 never gets so far, see `multicast`.
"""


class Gateway(Struct, frozen=True):
    """The port behind which the node's network stack is.

    Raises:
        BadPort: where, what, why, what to do.
    """

    ofport: int
    mac: str
    addresses: tuple[Address, ...]
    """The stack's own at this port; it has the node's as well."""

    def __post_init__(self) -> None:
        if not is_mac(self.mac):
            raise BadPort(f"the gateway's port {self.ofport}: {self.mac!r} is no MAC; correct external_ids sluice.mac")


class Uplinks(Struct, frozen=True):
    """Ports that are no Pod's. Those that are unset do not exist."""

    tunnel: int | None = None
    """OpenFlow port of the Geneve tunnel, whose other end each packet says."""

    gateway: Gateway | None = None


class _Ways(NamedTuple):
    """What a node has, of what it says it has."""

    addresses: frozenset[Block]
    others: frozenset[Block]


def lower_routes(here: NodeName, routes: Iterable[NodeRoute], uplinks: Uplinks) -> Flows:
    """All flows of routes and uplinks, from scratch."""
    said = {route.node: _said(route) for route in routes}
    said[here] = _said_here(said.get(here, _NOTHING), uplinks)
    flows = uplink_flows(uplinks)
    for node, ways in said.items():
        has = {
            block
            for block in ways.addresses | ways.others
            if _holder(here, (name for name, one in said.items() if block in one.addresses | one.others)) == node
        }
        flows |= _node_flows(ways, has, uplinks, local=node == here)
    return flows


class Routing:
    """The same step by step, at the cost of the node that changes."""

    def __init__(self, here: NodeName) -> None:
        self._here = here
        self._routes: dict[NodeName, NodeRoute] = {}
        self._said: dict[NodeName, _Ways] = {here: _NOTHING}
        self._claims: dict[Block, set[NodeName]] = {}
        self._flows: dict[NodeName, Flows] = {}
        self._uplinks = Uplinks()
        self._uplink_flows: Flows = {}

    def put(self, route: NodeRoute) -> Iterator[tuple[FlowKey, FlowBody | None]]:
        """The node has this now; the flows that change, those that go first."""
        self._routes[route.node] = route
        return self._change(route.node, _said(route))

    def drop(self, node: NodeName) -> Iterator[tuple[FlowKey, FlowBody | None]]:
        """There is no such node."""
        self._routes.pop(node, None)
        return self._change(node, _NOTHING)

    def use(self, uplinks: Uplinks) -> Iterator[tuple[FlowKey, FlowBody | None]]:
        """These are the ports there are. Costs all routes."""
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
        """Where the tunnels of the other nodes begin and end."""
        found = {node: sorted(_said(route).addresses) for node, route in self._routes.items() if node != self._here}
        return {node: ends[0] for node, ends in sorted(found.items()) if ends}

    def end_of(self, node: NodeName) -> Address | None:
        """Where the other node's tunnel begins and ends."""
        end = self.ends().get(node)
        return None if end is None else _address(end)

    def node_at(self, end: Address) -> NodeName | None:
        """The node whose tunnel ends there."""
        return next((node for node, one in self.ends().items() if _address(one) == end), None)

    def owner(self, key: FlowKey) -> NodeName | None:
        """To which node the flow is the way. Looks through all nodes."""
        return next((node for node, flows in self._flows.items() if key in flows), None)

    def problems(self) -> Iterator[Problem]:
        """What several nodes say they have, and nodes that no packet gets to."""
        for block, claimants in sorted(self._claims.items()):
            holder = _holder(self._here, claimants)
            for node in sorted(claimants - {holder}):
                yield _problem(node, f"its {_text(block)} is of node {holder} as well, which has it; give each its own")
        for node, route in sorted(self._routes.items()):
            if node != self._here and not route.addresses:
                yield _problem(node, "it has no InternalIP, so its Pods are not reached; set status.addresses")

    def _change(self, node: NodeName, ways: _Ways) -> Iterator[tuple[FlowKey, FlowBody | None]]:
        affected = self._claim(node, ways)
        yield from self._renew(affected)

    def _claim(self, node: NodeName, ways: _Ways) -> set[NodeName]:
        """Note what the node says it has; the nodes that may have something else now."""
        if node == self._here:
            ways = _said_here(ways, self._uplinks)
        old, new = _blocks(self._said.get(node, _NOTHING)), _blocks(ways)
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
            has = {block for block in _blocks(ways) if _holder(self._here, self._claims[block]) == node}
            flows = _node_flows(ways, has, self._uplinks, local=node == self._here)
            if flows:
                self._flows[node] = flows
            elif node != self._here and node not in self._routes:
                del self._said[node]
            yield from flows.items()


_NOTHING = _Ways(frozenset(), frozenset())


def _said(route: NodeRoute) -> _Ways:
    addresses = frozenset(_read(route.addresses, address))
    return _Ways(addresses, frozenset((*_read(route.pod_cidrs, network), *_read(route.strays, address))) - addresses)


def _said_here(ways: _Ways, uplinks: Uplinks) -> _Ways:
    """This node has the addresses of its gateway as well."""
    own = frozenset(_read(uplinks.gateway.addresses if uplinks.gateway else (), address))
    return _Ways(ways.addresses | own, ways.others - own)


def _blocks(ways: _Ways) -> frozenset[Block]:
    return ways.addresses | ways.others


def _read(texts: Iterable[str], reader: Callable[[str], Block]) -> Iterator[Block]:
    for text in texts:
        with contextlib.suppress(NotAnAddress):  # nobody is reached by it; group-resolver writes none
            yield reader(text)


def _holder(here: NodeName, claimants: Iterable[NodeName]) -> NodeName:
    """Of several nodes that say they have something, the one that has it: this one, else the first by name."""
    return min(claimants, key=lambda node: (node != here, node))


def _problem(node: NodeName, reason: str) -> Problem:
    return Problem(unit=subjects.unit(Kind.NODE, "", node), state="failed", reason=f"node {node}: {reason}")


def _text(block: Block) -> str:
    return f"{_address(block)}/{block.prefix}"


def _address(block: Block) -> Address:
    return Address(str((IPv4Address if block.version == 4 else IPv6Address)(block.value)))


# --------------------------------------------------------------------------------------------------------------- flows

_Line = tuple[Table, int, Match, Actions]


def uplink_flows(uplinks: Uplinks) -> Flows:
    """What the ports have, whatever the routes."""
    flows: Flows = {}
    if uplinks.tunnel is not None:
        here = match((Field.IN_PORT, uplinks.tunnel))
        flows |= _flows(
            [(Table.CLASSIFIER, PRIORITY, here, (Goto(Table.SPOOF_GUARD),))], CookieKind.UPLINK, uplinks.tunnel
        )
    if uplinks.gateway is not None:
        flows |= _flows(_gateway_lines(uplinks.gateway), CookieKind.UPLINK, uplinks.gateway.ofport)
        if uplinks.tunnel is not None:
            lines = _masked_lines(uplinks.gateway, uplinks.tunnel)
            flows |= _flows(lines, CookieKind.UPLINK, uplinks.gateway.ofport)
    return flows


def _masked_lines(gateway: Gateway, tunnel: int) -> Iterator[_Line]:
    """What the world asks of an endpoint on another node is masked, so that its answer comes back to be translated."""
    for block in _read(gateway.addresses, address):
        asks = Term(FLAGS, FROM_WORLD | SERVED, FROM_WORLD | SERVED | ANSWER)
        family = Term(Field.ETH_TYPE, EthType.IPV4 if block.version == 4 else EthType.IPV6)
        yield Table.MASK, PRIORITY, match(family, asks, (OUT_PORT, tunnel)), (mask(block.version, block.value),)
        answers = match((Field.IN_PORT, tunnel), *destination(block))
        yield Table.CONNTRACK, PRIORITY_FIRST, answers, (Ct(MASK_ZONE, False, Table.UNMASKED, (), Nat()),)


def _gateway_lines(gateway: Gateway) -> Iterator[_Line]:
    here = Term(Field.IN_PORT, gateway.ofport)
    yield Table.CLASSIFIER, PRIORITY, match(here), (Goto(Table.SPOOF_GUARD),)
    for version in (EthType.IPV4, EthType.IPV6):
        family = Term(Field.ETH_TYPE, version)
        sender = match(here, Term(Field.ETH_SRC, mac(gateway.mac)), family)
        yield Table.SPOOF_GUARD, PRIORITY, sender, (SetField(FLAGS, FROM_WORLD, FROM_WORLD), Goto(Table.CONNTRACK))
        beyond = match(family, Term(FLAGS, 0, FROM_TUNNEL))
        yield Table.FORWARD, PRIORITY_BEYOND, beyond, _to_host(gateway)
    for block in NOWHERE:
        yield Table.FORWARD, _priority(block), destination(block), ()
    yield Table.INGRESS_TIER, PRIORITY_TOP, match((FLAGS, FROM_HOST, FROM_HOST | ACCEPTED)), (Goto(Table.TALLY),)


def _node_flows(ways: _Ways, has: Iterable[Block], uplinks: Uplinks, *, local: bool) -> Flows:
    if not local:
        return _flows(_peer_lines(ways, has, uplinks), CookieKind.ROUTE, 0)
    flows = _flows(_own_range_lines(ways, has, uplinks.gateway), CookieKind.ROUTE, 0)
    if uplinks.gateway is not None:
        own = (block for block in has if block in ways.addresses)
        flows |= _flows(_own_address_lines(own, uplinks.gateway), CookieKind.UPLINK, uplinks.gateway.ofport)
    return flows


def _own_range_lines(ways: _Ways, has: Iterable[Block], gateway: Gateway | None) -> Iterator[_Line]:
    """What this node has and nobody here has now: a Pod that went, or that does not run yet."""
    for block in has:
        if block not in ways.addresses:
            yield Table.FORWARD, _priority(block), destination(block), ()
            yield from _not_by_gateway(block, gateway)
        elif gateway is None:
            yield Table.FORWARD, PRIORITY_HOST, destination(block), ()


def _own_address_lines(own: Iterable[Block], gateway: Gateway) -> Iterator[_Line]:
    sender = (Term(Field.IN_PORT, gateway.ofport), Term(Field.ETH_SRC, mac(gateway.mac)))
    by_host = (SetField(FLAGS, FROM_HOST, FROM_HOST), Goto(Table.CONNTRACK))
    for block in own:
        yield _node_address(block)
        yield Table.FORWARD, PRIORITY_HOST, destination(block), _to_host(gateway)
        yield Table.SPOOF_GUARD, PRIORITY_HOST, match(*sender, *source(block)), by_host


def _peer_lines(ways: _Ways, has: Iterable[Block], uplinks: Uplinks) -> Iterator[_Line]:
    ends = sorted(ways.addresses)  # IPv4 first
    for block in has:
        if block in ways.addresses:
            yield _node_address(block)
        yield from _not_by_gateway(block, uplinks.gateway)
        if uplinks.tunnel is None or not ends:
            yield Table.FORWARD, _priority(block), destination(block), ()
            continue
        far, _ = _TUNNEL[ends[0].version]
        there = (
            SetField(far, ends[0].value),
            DecTtl(),
            SetField(OUT_PORT, uplinks.tunnel),
            Goto(Table.INGRESS_TIER),
        )
        yield Table.FORWARD, _priority(block), destination(block), there
        for end in ends:
            _, near = _TUNNEL[end.version]
            sender = (Term(Field.IN_PORT, uplinks.tunnel), Term(near, end.value))
            by_tunnel = SetField(FLAGS, FROM_TUNNEL, FROM_TUNNEL)
            yield Table.SPOOF_GUARD, PRIORITY, match(*sender, *source(block)), (by_tunnel, Goto(Table.CONNTRACK))


def _node_address(block: Block) -> _Line:
    """What is sent there may be for a NodePort."""
    return Table.NODE_ADDRESS, PRIORITY, destination(block), (SetField(FLAGS, TO_NODE, TO_NODE), Goto(Table.SERVICE))


def _not_by_gateway(block: Block, gateway: Gateway | None) -> Iterator[_Line]:
    if gateway is not None:
        here = Term(Field.IN_PORT, gateway.ofport)
        yield Table.SPOOF_GUARD, PRIORITY_NOT_BY_GATEWAY, match(here, *source(block)), ()


def _to_host(gateway: Gateway) -> Actions:
    return (
        SetField(Field.ETH_SRC, VIRTUAL_MAC),
        SetField(Field.ETH_DST, mac(gateway.mac)),
        DecTtl(),
        SetField(OUT_PORT, gateway.ofport),
        Goto(Table.INGRESS_TIER),
    )


_TUNNEL = {4: (Field.TUN_DST, Field.TUN_SRC), 6: (Field.TUN_IPV6_DST, Field.TUN_IPV6_SRC)}


def _priority(block: Block) -> int:
    return max(PRIORITY_SHORTEST, PRIORITY_LONGEST - (WIDTH[block.version] - block.prefix))


def _flows(lines: Iterable[_Line], kind: CookieKind, number: int) -> Flows:
    cookie = cookies.pack(kind, number)
    return {FlowKey(table, priority, a_match): FlowBody(actions, cookie) for table, priority, a_match, actions in lines}
