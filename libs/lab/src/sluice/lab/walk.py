"""Packets walked through the flows that a node would get: the datapath for machines that cannot run one."""

from collections.abc import Sequence
from ipaddress import ip_address
from itertools import count

from sluice.contracts.groups import Page
from sluice.contracts.ids import NEVER, GroupId, NodeName, Uid
from sluice.dataplane.ovs.fields import EthType, Field, IpProto
from sluice.dataplane.ovs.flow import Flows
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.lower import Inputs, lower
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.dataplane.ovs.ports import LocalPort, mac
from sluice.grouping.members import member_of, member_of_node
from sluice.lab.checks import Question
from sluice.lab.probers import Result
from sluice.lab.reasons import state_of
from sluice.lab.world import World, mac_of
from sluice.testkit.walker import Walker

_PROTOCOLS = {"TCP": IpProto.TCP, "UDP": IpProto.UDP}
_PORTS = {"TCP": (Field.TCP_SRC, Field.TCP_DST), "UDP": (Field.UDP_SRC, Field.UDP_DST)}
_ECHO = {4: (IpProto.ICMP, Field.ICMP_TYPE, 8), 6: (IpProto.ICMPV6, Field.ICMPV6_TYPE, 128)}
_SOURCE_PORT = 40_000


def walked(world: World, asked: Sequence[Question]) -> list[Result]:
    """What becomes of these packets, in order. All Pods are on one node, as long as the lab has only one."""
    flows = {node: _flows(world, node) for node in world.nodes}
    ports = {port.pod: port for node in world.nodes for port in _ports(world, node).values()}
    walkers = {node: Walker(held) for node, held in flows.items()}
    results = []
    for question in asked:
        source, target = ports[question.from_], ports[question.to]
        walk = walkers[world.pods()[question.from_].node].walk(_packet(question, source))
        results.append(Result("Allowed" if target.ofport in walk.ports else "Dropped"))
    return results


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
    }
