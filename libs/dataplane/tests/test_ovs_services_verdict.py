"""Law 3, with Services: what `verdict` says of the endpoint that was chosen is what becomes of the packet."""

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.contracts.groups import NodeRoute
from sluice.contracts.ids import NEVER, Address
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import AnyObject, ObjectMeta
from sluice.contracts.programs import Action, ServiceRef
from sluice.contracts.services import SERVICE_LABEL, Endpoint, EndpointPort, EndpointSlice
from sluice.dataplane.ovs.counting import counter
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC, Table
from sluice.dataplane.ovs.ports import mac
from sluice.dataplane.ovs.route_flows import Gateway, Uplinks
from sluice.dataplane.ovs.routes import lower_routes
from sluice.dataplane.ovs.serving import Serving
from sluice.dataplane.protocols import EthType, IpProto
from sluice.grouping.events import ObjectEvent
from sluice.policy.packet import AddressEnd, Family, Packet, PodEnd
from sluice.policy.verdict import Outcome, verdict
from sluice.testkit import builders, strategies, tiered
from sluice.testkit.cluster_node import HERE, Node, outcome
from sluice.testkit.examples import share
from sluice.testkit.expanders import story
from sluice.testkit.tracker import Packet as Fields
from sluice.testkit.walker import Walk, Walker

GATEWAY = Gateway(99, "0a:58:00:00:00:63", (Address("10.0.0.254"), Address("fd00::fe")))
NODE_ADDRESSES = {4: Address("203.0.113.1"), 6: Address("2001:db8:1::1")}
CLIENTS = {4: ("192.0.2.1", "192.0.2.200"), 6: ("2001:db8::1", "2001:db8:0:1::1")}
VIPS = {
    "x/web": ("10.96.0.1", "fd00:96::1"),
    "x/dns": ("10.96.0.2", "fd00:96::2"),
    "y/web": ("10.96.0.3", "fd00:96::3"),
}
NODE_PORTS = {"x/web": 30080, "x/dns": 30053, "y/web": 30081}


@st.composite
def clusters(draw: st.DrawFn) -> list[ObjectEvent]:
    """Six Pods, most on one node, three Services of some of them, and policies about all of these."""
    objects: list[AnyObject] = [builders.namespace(name, **draw(strategies.labels)) for name in strategies.NAMESPACES]
    pods = list(enumerate(product(strategies.NAMESPACES, ("a", "b")), start=1))
    for number, (of, name) in pods:
        objects.append(
            builders.pod(
                f"{of}/{name}",
                ip=(f"10.0.0.{number}", f"fd00::{number}"),
                node=draw(st.sampled_from(("node-1", "node-1", "node-1", "node-2"))),
                labels=draw(strategies.labels),
            )
        )
    for key, vips in VIPS.items():
        protocol = "UDP" if "dns" in key else "TCP"
        port = {"port": 53 if "dns" in key else 80, "protocol": protocol, "nodePort": NODE_PORTS[key]}
        objects.append(builders.service(key, {"type": "NodePort", "clusterIPs": list(vips), "ports": [port]}))
        endpoints = draw(st.lists(st.sampled_from([number for number, _ in pods]), max_size=3, unique=True))
        for kind, of_version in (("IPv4", "10.0.0.{}"), ("IPv6", "fd00::{}")):
            objects.append(slice_of(key, kind, [of_version.format(number) for number in endpoints], protocol))
    return story(
        *objects,
        *draw(st.lists(strategies.netpols, max_size=1)),
        *draw(st.lists(tiered.policies, max_size=2)),
        *draw(st.lists(tiered.about_services, max_size=3, unique_by=lambda one: one.metadata.name)),
    )


def slice_of(service: str, kind: str, addresses: list[str], protocol: str) -> EndpointSlice:
    namespace, _, name = service.partition("/")
    resource = RESOURCES[Kind.ENDPOINT_SLICE]
    return EndpointSlice(
        api_version=resource.api_version,
        kind=resource.kind,
        metadata=ObjectMeta(name=f"{name}-{kind.lower()}", namespace=namespace, labels={SERVICE_LABEL: name}),
        address_type=kind,  # type: ignore[arg-type]  # one of two
        endpoints=tuple(Endpoint(addresses=(address,)) for address in addresses),
        ports=(EndpointPort(port=80 if protocol == "TCP" else 53, protocol=protocol),),  # type: ignore[arg-type]  # one of two
    )


class Served:
    """The node with its Services and a gateway."""

    def __init__(self, events: list[ObjectEvent]) -> None:
        self.node = Node(events)
        serving = Serving(HERE, self.node.ids)
        for program in self.node.state.services.programs.values():
            serving.put(program)
        changes = serving.drain()
        for service in changes.services:
            self.node.engine.serve(service, serving.numbers(service))
        flows = {key: body for key, body in changes.flows.items() if body is not None}
        self.groups = {number: buckets for number, buckets in changes.groups.items() if buckets is not None}
        route = NodeRoute(node=HERE, cause=NEVER, addresses=tuple(NODE_ADDRESSES.values()), pod_cidrs=(), strays=())
        routes = lower_routes(HERE, [route], Uplinks(None, GATEWAY))
        self.flows = self.node.engine.flows | flows | routes

    def asking(self) -> Iterator[tuple[str, Packet, Fields]]:
        """Who asks for what Service: the packet but for its destination, and as it is on the wire."""
        for service, version in product(VIPS, (4, 6)):
            proto = "UDP" if "dns" in service else "TCP"
            namespace, _, name = service.partition("/")
            ref = ServiceRef(namespace=namespace, name=name)
            vip, port = VIPS[service][0 if version == 4 else 1], 53 if "dns" in service else 80
            for pod in self.node.ports.values():
                from_ = next(text for text in pod.addresses if ip_address(text).version == version)
                asked = Packet(
                    source=PodEnd(*pod.pod.split("/")),
                    destination=AddressEnd(Address(vip)),
                    protocol=proto,  # type: ignore[arg-type]  # one of two
                    source_port=40000,
                    service=ref,
                )
                sender = pod.ofport, mac(pod.mac)
                yield service, asked, wire(sender, from_, vip, proto, port)
                by_port = wire(sender, from_, NODE_ADDRESSES[version], proto, NODE_PORTS[service])
                yield service, replace(asked, service=None), by_port
            for client in CLIENTS[version]:
                asked = Packet(
                    source=AddressEnd(Address(client)),
                    destination=AddressEnd(Address(vip)),
                    protocol=proto,  # type: ignore[arg-type]  # one of two
                    source_port=40000,
                    service=ref,
                    node_port=True,
                )
                to = NODE_ADDRESSES[version]
                yield service, asked, wire((GATEWAY.ofport, mac(GATEWAY.mac)), client, to, proto, NODE_PORTS[service])


def wire(sender: tuple[int, int], source: str, target: str, proto: str, port: int) -> Fields:
    """What comes in at a port from a MAC."""
    in_port, eth = sender
    old = ip_address(target).version == 4
    tcp = proto == "TCP"
    return {
        Field.IN_PORT: in_port,
        Field.ETH_SRC: eth,
        Field.ETH_DST: VIRTUAL_MAC,
        Field.ETH_TYPE: EthType.IPV4 if old else EthType.IPV6,
        (Field.IPV4_SRC if old else Field.IPV6_SRC): int(ip_address(source)),
        (Field.IPV4_DST if old else Field.IPV6_DST): int(ip_address(target)),
        Field.IP_PROTO: IpProto.TCP if tcp else IpProto.UDP,
        (Field.TCP_SRC if tcp else Field.UDP_SRC): 40000,
        (Field.TCP_DST if tcp else Field.UDP_DST): port,
    }


@share(30)
@given(clusters(), st.integers(0, 2))
def test_packets_to_services_meet_the_fate_that_the_verdict_has_for_their_endpoint(
    events: list[ObjectEvent], choice: int
):
    served = Served(events)
    state, ports = served.node.state, served.node.ports
    exact = not served.node.engine.problems()

    for service, asked, fields in served.asking():
        walker = Walker(served.flows, groups=served.groups)
        walker.chosen = choice
        walk = walker.walk(fields)
        again = walker.walk(fields)  # until it is answered, it is as new as it was
        assert (again.ports, again.punted) == (walk.ports, walk.punted), service
        if not walker.tracker.connections:
            assert outcome(walk) is Outcome.REJECTED  # there are no endpoints
            continue
        if walk.sent:
            label = walker.tracker.connections[0].label
            let_in = sorted(number for at in (0, 32, 96) if (number := label >> at & 0xFFFFFFFF))
            assert sorted(filter(None, map(counter, walk.hits))) == let_in
        chosen = walker.tracker.connections[0].translated
        version = 4 if fields[Field.ETH_TYPE] == EthType.IPV4 else 6
        address = Address(str(ip_address(chosen.target.to_bytes(4 if version == 4 else 16, "big"))))
        said = verdict(state, replaced(asked, address, chosen.target_port))
        holder = state.holder(address)
        here = holder is not None and f"{holder.metadata.namespace}/{holder.metadata.name}" in ports
        itself = isinstance(asked.source, PodEnd) and state.pods[asked.source.namespace, asked.source.name] is holder
        if not exact or (itself and asked.service is None):  # a verdict about a Pod and itself knows no NodePort
            continue
        if here:
            assert outcome(walk) is said.outcome, (service, asked, address)
        else:  # it would leave by the tunnel, which this node does not have
            refused = said.egress is not None and said.egress.action is not Action.ALLOW
            assert at_forward(walk) is not refused or asked.node_port


def replaced(asked: Packet, address: Address, port: int) -> Packet:
    family: Family = 4 if ip_address(address).version == 4 else 6
    return replace(asked, destination=AddressEnd(address), port=port, family=family)


def at_forward(walk: Walk) -> bool:
    return any(key.table == Table.FORWARD for key in walk.hits)
