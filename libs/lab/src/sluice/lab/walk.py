"""Traces packets through the flows that a node would get: the datapath for machines that cannot run one."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from itertools import count
from typing import NamedTuple

from sluice.contracts.groups import Page
from sluice.contracts.ids import NEVER, GroupId, NodeName, Uid
from sluice.dataplane.ovs.errand import Errand
from sluice.dataplane.ovs.fields import TCP_SYN, Field
from sluice.dataplane.ovs.flow import Flows
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.lower import Inputs, lower
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.dataplane.ovs.ports import LocalPort, mac
from sluice.dataplane.ovs.route_flows import Uplinks
from sluice.dataplane.protocols import EthType, IpProto
from sluice.drivers.veth import mac_of
from sluice.grouping.members import member_of, member_of_node
from sluice.lab.checks import Got, Question
from sluice.lab.probers import Result
from sluice.lab.reasons import state_of
from sluice.lab.ways import routes, uplinks, way_flows
from sluice.lab.world import Placed, World
from sluice.testkit.tracker import Packet
from sluice.testkit.walker import Walker

_PROTOCOLS = {"TCP": IpProto.TCP, "UDP": IpProto.UDP, "SCTP": IpProto.SCTP}
_PORTS = {
    "TCP": (Field.TCP_SRC, Field.TCP_DST),
    "UDP": (Field.UDP_SRC, Field.UDP_DST),
    "SCTP": (Field.SCTP_SRC, Field.SCTP_DST),
}
_ECHO = {4: (IpProto.ICMP, Field.ICMP_TYPE, 8), 6: (IpProto.ICMPV6, Field.ICMPV6_TYPE, 128)}
_SOURCE_PORT = 40_000
_ON_THE_WIRE = frozenset(
    (
        *(Field.ETH_SRC, Field.ETH_DST, Field.ETH_TYPE, Field.IP_PROTO),
        *(Field.IPV4_SRC, Field.IPV4_DST, Field.IPV6_SRC, Field.IPV6_DST),
        *(Field.TCP_SRC, Field.TCP_DST, Field.TCP_FLAGS, Field.UDP_SRC, Field.UDP_DST, Field.SCTP_SRC, Field.SCTP_DST),
        *(Field.ICMP_TYPE, Field.ICMP_CODE, Field.ICMPV6_TYPE, Field.ICMPV6_CODE),
    )
)


class _Node(NamedTuple):
    """A switch with its flows, and what is plugged in."""

    walker: Walker
    ports: Mapping[Uid, LocalPort]
    uplinks: Uplinks


def walked(world: World, asked: Sequence[Question]) -> list[Result]:
    """What becomes of these packets between Pods, in order; each is traced through the flows of one or two nodes."""
    nodes = {node: _node(world, node) for node in world.nodes}
    pods = world.pods()
    return [Result(_walked(world, nodes, question, pods)) for question in asked]


def _walked(world: World, nodes: Mapping[NodeName, _Node], question: Question, pods: Mapping[str, Placed]) -> Got:
    source, target = pods[question.from_], pods[question.to]
    here = nodes[source.node]
    walk = here.walker.walk(_packet(question, here.ports[source.uid]))
    where = source.node
    for sent in walk.sent:
        if sent.port == here.uplinks.tunnel:
            where = _holder(world, sent.packet)
            walk = nodes[where].walker.walk(_through_the_tunnel(world, source.node, nodes[where], sent.packet))
            break
    if any(handed[0] == Errand.REJECT for handed in walk.punted):  # logged packets are punted, too, and continue
        return "Rejected"
    there = nodes[where].ports.get(target.uid)
    return "Allowed" if there is not None and there.ofport in walk.ports else "Dropped"


def _holder(world: World, packet: Packet) -> NodeName:
    """The node at the other end of the packet's tunnel."""
    end = packet.get(Field.TUN_DST) or packet[Field.TUN_IPV6_DST]
    return next(name for name in world.nodes if end in [int(ip_address(one)) for one in world.node_addresses(name)])


def _through_the_tunnel(world: World, sender: NodeName, to: _Node, packet: Packet) -> Packet:
    """The packet as it leaves the tunnel: nothing that the first switch stored with it survives."""
    assert to.uplinks.tunnel is not None, "every node has one"
    outer = world.node_addresses(sender)
    v4 = Field.TUN_DST in packet
    own = next(int(ip_address(one)) for one in outer if (ip_address(one).version == 4) == v4)
    seen = {field: value for field, value in packet.items() if field in _ON_THE_WIRE}
    return {**seen, Field.IN_PORT: to.uplinks.tunnel, (Field.TUN_SRC if v4 else Field.TUN_IPV6_SRC): own}


def _node(world: World, node: NodeName) -> _Node:
    ports = _ports(world, node)
    ends = uplinks(world, node, len(ports))
    return _Node(Walker({**_flows(world, node), **way_flows(node, routes(world), ends)}), ports, ends)


def _flows(world: World, node: NodeName) -> Flows:
    state = state_of(world.objects)
    pages: dict[tuple[GroupId, NodeName], Page] = {}
    for pod in state.pods.values():
        for group in state.groups_of(pod):
            held = pages.get((group, pod.node))
            members = (*(held.members if held else ()), member_of(pod))
            pages[group, pod.node] = Page(group=group, node=pod.node, cause=NEVER, members=tuple(sorted(members)))
    for name, each in state.nodes.items():
        for group in state.groups_of_node(each):
            pages[group, name] = Page(group=group, node=name, cause=NEVER, members=(member_of_node(each),))
    inputs = Inputs(node=node, programs=state.compiler.programs, pages=pages, ports=_ports(world, node))
    return lower(inputs, RuleIds())


def _ports(world: World, node: NodeName) -> dict[Uid, LocalPort]:
    numbers = count(1)
    return {
        pod.uid: LocalPort(pod.pod, pod.uid, next(numbers), mac_of(pod.addresses[0]), pod.addresses)
        for pod in world.pods().values()
        if pod.node == node and not pod.host_network
    }


def _packet(question: Question, source: LocalPort) -> dict[Field, int]:
    version = ip_address(question.address).version
    sender, receiver = (int(ip_address(address)) for address in (question.source, question.address))
    packet = {
        Field.IN_PORT: source.ofport,
        Field.ETH_SRC: mac(source.mac),
        Field.ETH_DST: VIRTUAL_MAC,
        Field.ETH_TYPE: EthType.IPV4 if version == 4 else EthType.IPV6,
        (Field.IPV4_SRC if version == 4 else Field.IPV6_SRC): sender,
        (Field.IPV4_DST if version == 4 else Field.IPV6_DST): receiver,
    }
    if question.protocol == "ICMP":
        protocol, field, echo = _ECHO[version]
        return {**packet, Field.IP_PROTO: protocol, field: echo}
    from_port, to_port = _PORTS[question.protocol]
    return {
        **packet,
        Field.IP_PROTO: _PROTOCOLS[question.protocol],
        from_port: question.source_port or _SOURCE_PORT,
        to_port: question.port,
        **({Field.TCP_FLAGS: TCP_SYN} if question.protocol == "TCP" else {}),
    }
