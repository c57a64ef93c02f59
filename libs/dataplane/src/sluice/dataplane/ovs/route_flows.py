"""The flows for routes and for the ports they use; `routes` says which node has what.

The source address of what enters by these ports must fit the port: through the tunnel, a node may send only from what
it has; through the gateway, nothing in the cluster may send except the node itself. Only packets of the node itself
are exempt from ingress policy, as Kubernetes requires: a node may always probe its own Pods.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct

from sluice.contracts.ids import Address
from sluice.dataplane.addresses import WIDTH, Block, address, readable
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
"""The node's own addresses: above what any Pod or other node claims."""

PRIORITY_NOT_BY_GATEWAY = 150
"""SPOOF_GUARD: below the node's own addresses, above those of the world."""

PRIORITY_LONGEST = PRIORITY - 1
"""FORWARD: one address of another node; one lower for each bit that a prefix is shorter. Below this node's Pods."""

PRIORITY_SHORTEST = 2
"""FORWARD: the lowest of prefixes. IPv6 prefixes of 31 bits or fewer share it: no node has so many Pods."""

PRIORITY_BEYOND = 1
"""FORWARD: addresses that belong to no Pod and no node."""

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
"""Destinations that no router forwards: a Pod's neighbour discovery is dropped here, and so are its broadcasts.

IPv4 multicast never gets this far, see `multicast`.
"""


class Gateway(Struct, frozen=True):
    """The port to the node's network stack.

    Raises:
        BadPort: the message says where, what, why, and what to do.
    """

    ofport: int
    mac: str
    addresses: tuple[Address, ...]
    """The stack's addresses on this port; it also has the node's."""

    def __post_init__(self) -> None:
        if not is_mac(self.mac):
            raise BadPort(
                f"the gateway's port {self.ofport}: {self.mac!r} is not a MAC address; correct external_ids sluice.mac"
            )

    @property
    def blocks(self) -> frozenset[Block]:
        return frozenset(readable(self.addresses, address))


class Uplinks(Struct, frozen=True):
    """Ports that belong to no Pod. Unset: the port does not exist."""

    tunnel: int | None = None
    """OpenFlow port of the Geneve tunnel; its remote end is set per packet."""

    gateway: Gateway | None = None


class Ways(NamedTuple):
    """What a node claims to have: its own addresses, and everything else."""

    addresses: frozenset[Block]
    others: frozenset[Block]

    @property
    def blocks(self) -> frozenset[Block]:
        return self.addresses | self.others


_Line = tuple[Table, int, Match, Actions]


def uplink_flows(uplinks: Uplinks) -> Flows:
    """The flows of the ports, whatever the routes."""
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
    """Mask the source of what the world sends to an endpoint on another node, so that replies return this way."""
    for block in gateway.blocks:
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


def node_flows(ways: Ways, has: Iterable[Block], uplinks: Uplinks, *, local: bool) -> Flows:
    if not local:
        return _flows(_peer_lines(ways, has, uplinks), CookieKind.ROUTE, 0)
    flows = _flows(_own_range_lines(ways, has, uplinks.gateway), CookieKind.ROUTE, 0)
    if uplinks.gateway is not None:
        own = (block for block in has if block in ways.addresses)
        flows |= _flows(_own_address_lines(own, uplinks.gateway), CookieKind.UPLINK, uplinks.gateway.ofport)
    return flows


def _own_range_lines(ways: Ways, has: Iterable[Block], gateway: Gateway | None) -> Iterator[_Line]:
    """Drop what is sent to addresses of this node that nobody has now: the Pod is gone, or does not run yet."""
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


def _peer_lines(ways: Ways, has: Iterable[Block], uplinks: Uplinks) -> Iterator[_Line]:
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
    """Packets to this address may be for a NodePort."""
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
