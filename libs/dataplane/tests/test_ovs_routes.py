"""Ways to other nodes and to this one's network stack: what each flow says, who has what, and step by step."""

from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.groups import NodeRoute
from sluice.contracts.ids import Address, NodeName, Revision, Uid
from sluice.dataplane.ovs.base import BASE
from sluice.dataplane.ovs.checking import check
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Flows
from sluice.dataplane.ovs.parse import read_all
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.dataplane.ovs.ports import BadPort, LocalPort, mac, port_flows
from sluice.dataplane.ovs.route_flows import Gateway, Uplinks
from sluice.dataplane.ovs.routes import Routing, lower_routes
from sluice.dataplane.ovs.text import write_all
from sluice.dataplane.protocols import EthType, IpProto
from sluice.testkit import golden
from sluice.testkit.walker import Walker

ONE, TWO, THREE = (NodeName(f"node-{number}") for number in (1, 2, 3))
TUNNEL, GATEWAY, POD = 100, 101, 1
GATEWAY_MAC = "0a:58:00:00:00:01"


def route(node: NodeName, addresses: str = "", cidrs: str = "", strays: str = "") -> NodeRoute:
    return NodeRoute(
        node=node,
        cause=Revision(1, 1),
        addresses=tuple(map(Address, addresses.split())),
        pod_cidrs=tuple(cidrs.split()),
        strays=tuple(map(Address, strays.split())),
    )


ROUTES = (
    route(ONE, "192.0.2.1", "10.1.0.0/24 fd00:1::/64"),
    route(TWO, "192.0.2.2 2001:db8::2", "10.2.0.0/24 fd00:2::/64", "10.9.9.9"),
    route(THREE, "2001:db8::3", "10.3.0.0/24", "10.2.0.7"),
)
UPLINKS = Uplinks(TUNNEL, Gateway(GATEWAY, GATEWAY_MAC, (Address("10.1.0.1"), Address("fd00:1::1"))))
LOCAL = LocalPort("x/a", Uid("a"), POD, "02:00:00:00:00:01", (Address("10.1.0.5"), Address("fd00:1::5")))


def switch(uplinks: Uplinks = UPLINKS, routes: tuple[NodeRoute, ...] = ROUTES) -> Walker:
    return Walker(BASE | port_flows(LOCAL, LOCAL.addresses) | lower_routes(ONE, routes, uplinks))


def packet(in_port: int, source: str, target: str, **more: int) -> dict[Field, int]:
    old = ip_address(target).version == 4
    senders = {POD: mac(LOCAL.mac), GATEWAY: mac(GATEWAY_MAC), TUNNEL: VIRTUAL_MAC}
    return {
        Field.IN_PORT: in_port,
        Field.ETH_SRC: senders[in_port],
        Field.ETH_TYPE: EthType.IPV4 if old else EthType.IPV6,
        (Field.IPV4_SRC if old else Field.IPV6_SRC): int(ip_address(source)),
        (Field.IPV4_DST if old else Field.IPV6_DST): int(ip_address(target)),
        Field.IP_PROTO: IpProto.UDP,
        Field.UDP_DST: 53,
        **{Field[name]: value for name, value in more.items()},
    }


def from_node(end: str) -> dict[str, int]:
    address = ip_address(end)
    return {"TUN_SRC" if address.version == 4 else "TUN_IPV6_SRC": int(address)}


class Way(NamedTuple):
    name: str
    sent: dict[Field, int]
    port: int | None
    end: str = ""
    """Of the tunnel."""


WAYS = [
    Way("a Pod's own node", packet(POD, "10.1.0.5", "192.0.2.1"), GATEWAY),
    Way("the gateway's address", packet(POD, "10.1.0.5", "10.1.0.1"), GATEWAY),
    Way("the gateway's IPv6 address", packet(POD, "fd00:1::5", "fd00:1::1"), GATEWAY),
    Way("beyond the cluster", packet(POD, "10.1.0.5", "198.51.100.1"), GATEWAY),
    Way("beyond the cluster, IPv6", packet(POD, "fd00:1::5", "2001:db8:9::1"), GATEWAY),
    Way("another node's Pod", packet(POD, "10.1.0.5", "10.2.0.9"), TUNNEL, "192.0.2.2"),
    Way("another node's Pod, IPv6", packet(POD, "fd00:1::5", "fd00:2::9"), TUNNEL, "192.0.2.2"),
    Way("a stray", packet(POD, "10.1.0.5", "10.9.9.9"), TUNNEL, "192.0.2.2"),
    Way("a stray in another's range", packet(POD, "10.1.0.5", "10.2.0.7"), TUNNEL, "2001:db8::3"),
    Way("another node", packet(POD, "10.1.0.5", "192.0.2.2"), TUNNEL, "192.0.2.2"),
    Way("a Pod of ours that is not here", packet(POD, "10.1.0.5", "10.1.0.6"), None),
    Way("multicast", packet(POD, "10.1.0.5", "224.0.0.1"), None),
    Way("IPv6 multicast", packet(POD, "fd00:1::5", "ff02::1"), None),
    Way("link-local", packet(POD, "fd00:1::5", "fe80::1"), None),
    Way("broadcast", packet(POD, "10.1.0.5", "255.255.255.255"), None),
    Way("the host to its Pod", packet(GATEWAY, "10.1.0.1", "10.1.0.5"), POD),
    Way("the host by its other address", packet(GATEWAY, "192.0.2.1", "10.1.0.5"), POD),
    Way("the host to another's Pod", packet(GATEWAY, "10.1.0.1", "10.2.0.9"), TUNNEL, "192.0.2.2"),
    Way("the world to a Pod", packet(GATEWAY, "198.51.100.1", "10.1.0.5"), POD),
    Way("the world as a Pod of ours", packet(GATEWAY, "10.1.0.6", "10.1.0.5"), None),
    Way("the world as another node's Pod", packet(GATEWAY, "10.2.0.9", "10.1.0.5"), None),
    Way("the world as another node", packet(GATEWAY, "192.0.2.2", "10.1.0.5"), None),
    Way("the gateway with another MAC", packet(GATEWAY, "10.1.0.1", "10.1.0.5", ETH_SRC=5), None),
    Way("a node's Pod", packet(TUNNEL, "10.2.0.9", "10.1.0.5", **from_node("192.0.2.2")), POD),
    Way("the same over IPv6", packet(TUNNEL, "fd00:2::9", "fd00:1::5", **from_node("2001:db8::2")), POD),
    Way("a node itself", packet(TUNNEL, "192.0.2.2", "10.1.0.5", **from_node("192.0.2.2")), POD),
    Way("a node's Pod to our host", packet(TUNNEL, "10.2.0.9", "192.0.2.1", **from_node("192.0.2.2")), GATEWAY),
    Way("a node as another's Pod", packet(TUNNEL, "10.3.0.9", "10.1.0.5", **from_node("192.0.2.2")), None),
    Way("a node as our Pod", packet(TUNNEL, "10.1.0.6", "10.1.0.5", **from_node("192.0.2.2")), None),
    Way("a node as the world", packet(TUNNEL, "198.51.100.1", "10.1.0.5", **from_node("192.0.2.2")), None),
    Way("a stranger's tunnel", packet(TUNNEL, "10.2.0.9", "10.1.0.5", **from_node("192.0.2.66")), None),
    Way("a node by way of us", packet(TUNNEL, "10.2.0.9", "198.51.100.1", **from_node("192.0.2.2")), None),
    Way("from node to node", packet(TUNNEL, "10.2.0.9", "10.3.0.9", **from_node("192.0.2.2")), None),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_the_way_of_a_packet(way: Way) -> None:
    sent = switch().walk(way.sent).sent

    assert [one.port for one in sent] == ([way.port] if way.port else [])
    if way.end:
        old = ip_address(way.end).version == 4
        assert sent[0].packet[Field.TUN_DST if old else Field.TUN_IPV6_DST] == int(ip_address(way.end))


def test_without_uplinks_nothing_leaves_and_nothing_comes():
    walker = switch(Uplinks())

    assert [way.name for way in WAYS if walker.walk(way.sent).sent] == []


def test_a_node_without_an_address_is_not_reached_nor_is_the_world_in_its_place():
    walker = switch(routes=(ROUTES[0], route(TWO, "", "10.2.0.0/24")))

    assert walker.walk(packet(POD, "10.1.0.5", "10.2.0.9")).sent == ()


def test_a_local_pod_has_its_address_whatever_others_say():
    walker = switch(routes=(ROUTES[0], route(TWO, "192.0.2.2", "10.1.0.0/25", "10.1.0.5")))

    assert walker.walk(packet(GATEWAY, "10.1.0.1", "10.1.0.5")).ports == (POD,)


def test_a_gateway_has_a_mac():
    with pytest.raises(BadPort, match="not a MAC address; correct external_ids"):
        Gateway(GATEWAY, "01:00:00:00:00:01", ())


def test_what_two_nodes_say_they_have_is_of_one_and_told():
    routing = Routing(ONE)
    for one in (route(TWO, "192.0.2.2", "10.2.0.0/24"), route(THREE, "192.0.2.3", "10.2.0.0/24"), route(ONE)):
        list(routing.put(one))

    (problem,) = routing.problems()
    assert problem.reason == (
        "node node-3: its 10.2.0.0/24 is claimed by node node-2 as well, which keeps it; give each node its own"
    )
    list(routing.drop(TWO))
    assert list(routing.problems()) == []
    list(routing.put(route(TWO, "", "10.8.0.0/24")))
    assert [one.reason for one in routing.problems()] == [
        "node node-2: it has no InternalIP, so its Pods cannot be reached; set status.addresses"
    ]


def test_routes_are_written_as_the_page_shows_them():
    golden.check(Path(__file__).parent / "golden/routes.flows", write_all(lower_routes(ONE, ROUTES, UPLINKS)))


def test_flows_read_back_as_they_are_written():
    flows = lower_routes(ONE, ROUTES, UPLINKS)

    assert read_all(write_all(flows)) == flows


NODES = (ONE, TWO, THREE)
TEXTS = {
    "addresses": ["192.0.2.1", "192.0.2.2", "2001:db8::1", "10.1.0.1"],
    "cidrs": ["10.1.0.0/24", "10.1.0.0/25", "10.2.0.0/24", "fd00::/64", "192.0.2.1/32"],
    "strays": ["10.1.0.9", "10.2.0.9", "192.0.2.2", "fd00::9", "no address"],
}
CHANGES = st.one_of(
    st.builds(
        lambda node, said: route(node, **{name: " ".join(sorted(texts)) for name, texts in said.items()}),
        st.sampled_from(NODES),
        st.fixed_dictionaries({name: st.sets(st.sampled_from(texts), max_size=2) for name, texts in TEXTS.items()}),
    ),
    st.sampled_from(NODES),
    st.builds(
        Uplinks,
        st.sampled_from([None, TUNNEL]),
        st.sampled_from([None, UPLINKS.gateway, Gateway(7, GATEWAY_MAC, (Address("10.2.0.9"),))]),
    ),
)


@given(st.lists(CHANGES, max_size=12))
def test_step_by_step_is_as_from_scratch(changes: list[NodeRoute | NodeName | Uplinks]) -> None:
    routing, held = Routing(ONE), Flows()
    routes: dict[NodeName, NodeRoute] = {}
    uplinks = Uplinks()
    for change in changes:
        match change:
            case NodeRoute():
                routes[change.node] = change
                steps = routing.put(change)
            case Uplinks():
                uplinks = change
                steps = routing.use(change)
            case _:
                routes.pop(change, None)
                steps = routing.drop(change)
        for key, body in steps:
            if body is None:
                del held[key]
            else:
                check(key, body)
                held[key] = body

        assert held == lower_routes(ONE, routes.values(), uplinks)
