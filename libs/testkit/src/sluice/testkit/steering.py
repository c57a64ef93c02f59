"""A node whose Pods are subject to TrafficControls: the state of its switch, and the fate of packets."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from sluice.contracts import subjects
from sluice.contracts.groups import Member
from sluice.contracts.ids import NEVER, Address, GroupId, NodeName, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Direction
from sluice.contracts.serving import EndpointsProgram, ServiceProgram
from sluice.contracts.traffic_control import NamedDevice, TrafficPort
from sluice.contracts.traffic_programs import TrafficProgram, WhenGone
from sluice.dataplane.ovs.base import BASE
from sluice.dataplane.ovs.checking import check
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Flows, Groups
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.dataplane.ovs.ports import LocalPort, mac, port_flows
from sluice.dataplane.ovs.serving import Serving
from sluice.dataplane.ovs.traffic import Traffic
from sluice.dataplane.ovs.traffic_ports import Found, Wish
from sluice.dataplane.protocols import EthType, IpProto
from sluice.testkit.tracker import Tracker
from sluice.testkit.walker import Sent, Walk, Walker

HERE = NodeName("node-1")
GROUPS = {name: GroupId(f"group-{name}") for name in ("all", "a", "b", "ab", "c")}
MEMBERS = {"all": "abc", "a": "a", "b": "b", "ab": "ab", "c": "c"}
PODS = {
    name: LocalPort(f"x/{name}", Uid(name), number, f"02:00:00:00:00:{number:02x}", (Address(v4), Address(v6)))
    for number, (name, v4, v6) in enumerate(
        [("a", "10.0.0.1", "fd00::1"), ("b", "10.0.0.2", "fd00::2"), ("c", "10.0.0.3", "fd00::3")], start=1
    )
}
TAPS = {name: number for number, name in enumerate(("tap0", "tap1", "tap2", "tap3"), start=50)}
BOTH = (Direction.EGRESS, Direction.INGRESS)


def unit(name: str) -> Unit:
    return subjects.unit(Kind.TRAFFIC_CONTROL, "", name)


def internal(name: str) -> TrafficPort:
    return TrafficPort(ovs_internal=NamedDevice(name=name))


def mirror(name: str, group: str, target: str, directions: tuple[Direction, ...] = BOTH) -> TrafficProgram:
    return TrafficProgram(
        unit=unit(name),
        applied_to=GROUPS[group],
        cause=NEVER,
        name=name,
        directions=directions,
        action="Mirror",
        target=internal(target),
    )


def redirect(
    name: str,
    group: str,
    target: str = "tap0",
    back: str = "tap1",
    directions: tuple[Direction, ...] = BOTH,
    *,
    created: str = "",
    when_gone: WhenGone = "drop",
) -> TrafficProgram:
    return TrafficProgram(
        unit=unit(name),
        applied_to=GROUPS[group],
        cause=NEVER,
        name=name,
        directions=directions,
        action="Redirect",
        target=internal(target),
        return_port=internal(back),
        created=created,
        when_gone=when_gone,
    )


def made(wishes: Mapping[str, Wish]) -> dict[str, Found]:
    """All requested ports, opened by the switch."""
    return {
        name: Found(name, one.type, "ours", TAPS.get(name, 60 + sum(name.encode()) % 40))
        for name, one in wishes.items()
    }


class Node:
    """A node with three Pods, and ports that exist as soon as they are needed."""

    def __init__(self, *programs: TrafficProgram, ids: RuleIds | None = None) -> None:
        self.ids = RuleIds() if ids is None else ids
        self.traffic, self.serving = Traffic(self.ids), Serving(HERE, self.ids)
        self.flows: Flows = {}
        self.groups: Groups = {}
        self.touched = 0
        self.tracker = Tracker()
        for name, pods in MEMBERS.items():
            members = [Member(pod=PODS[one].pod, uid=PODS[one].uid, addresses=PODS[one].addresses) for one in pods]
            self.traffic.members_are(GROUPS[name], members)
        for port in PODS.values():
            self.traffic.open_port(port)
        self.put(*programs)

    def put(self, *programs: TrafficProgram, drop: Iterable[TrafficProgram] = ()) -> Walker:
        for program in programs:
            self.traffic.put(program)
        for program in drop:
            self.traffic.drop(program.applied_to, program.unit)
        self.traffic.switch_has(made(self.traffic.wishes()), {})
        self.traffic.switch_has(made(self.traffic.wishes()), {})
        return self.drain()

    def serve(self, *programs: ServiceProgram | EndpointsProgram) -> Walker:
        for program in programs:
            self.serving.put(program)
        changes = self.serving.drain()
        self.groups |= {number: buckets for number, buckets in changes.groups.items() if buckets is not None}
        for key, body in changes.flows.items():
            if body is not None:
                self.flows[key] = body
        return self.drain()

    def drain(self) -> Walker:
        changes = self.traffic.drain()
        self.touched = len(changes)
        for key, body in changes:
            if body is None:
                del self.flows[key]
            else:
                check(key, body)
                self.flows[key] = body
        ports: Flows = {}
        for port in PODS.values():
            ports |= port_flows(port, port.addresses)
        self.walker = Walker(BASE | ports | self.flows, self.tracker, self.groups)
        return self.walker

    def send(self, packet: Mapping[Field, int]) -> Walk:
        return self.walker.walk(packet)

    def give_back(self, sent: Sent, port: str) -> Walk:
        """A device returns a frame unchanged by this port."""
        return self.walker.walk({**as_sent(sent.packet), Field.IN_PORT: TAPS[port]})


_ON_THE_WIRE = (
    *(Field.ETH_SRC, Field.ETH_DST, Field.ETH_TYPE, Field.IP_PROTO),
    *(Field.IPV4_SRC, Field.IPV4_DST, Field.IPV6_SRC, Field.IPV6_DST),
    *(Field.TCP_SRC, Field.TCP_DST, Field.UDP_SRC, Field.UDP_DST),
)


def as_sent(packet: Mapping[Field, int]) -> dict[Field, int]:
    """The packet without the switch's metadata."""
    return {field: packet[field] for field in _ON_THE_WIRE if field in packet}


def ends(packet: Mapping[Field, int]) -> tuple[str, int, str, int]:
    """TCP source and destination."""
    old = packet[Field.ETH_TYPE] == EthType.IPV4
    source, target = (Field.IPV4_SRC, Field.IPV4_DST) if old else (Field.IPV6_SRC, Field.IPV6_DST)
    return (
        str(ip_address(packet[source])),
        packet[Field.TCP_SRC],
        str(ip_address(packet[target])),
        packet[Field.TCP_DST],
    )


def packet(source: str, target: str, port: int = 80, source_port: int = 40000) -> dict[Field, int]:
    """A TCP packet from a Pod to an address."""
    old = ip_address(target).version == 4
    from_ = PODS[source].addresses[0 if old else 1]
    return {
        Field.IN_PORT: PODS[source].ofport,
        Field.ETH_SRC: mac(PODS[source].mac),
        Field.ETH_DST: VIRTUAL_MAC,
        Field.ETH_TYPE: EthType.IPV4 if old else EthType.IPV6,
        (Field.IPV4_SRC if old else Field.IPV6_SRC): int(ip_address(from_)),
        (Field.IPV4_DST if old else Field.IPV6_DST): int(ip_address(target)),
        Field.IP_PROTO: IpProto.TCP,
        Field.TCP_SRC: source_port,
        Field.TCP_DST: port,
    }


def answer(heard: Mapping[Field, int], pod: str) -> dict[Field, int]:
    """The Pod's answer."""
    swapped = {
        Field.IPV4_SRC: Field.IPV4_DST,
        Field.IPV6_SRC: Field.IPV6_DST,
        Field.TCP_SRC: Field.TCP_DST,
    }
    back = as_sent(heard)
    for one, other in swapped.items():
        if one in back:
            back[one], back[other] = back[other], back[one]
    return back | {Field.IN_PORT: PODS[pod].ofport, Field.ETH_SRC: mac(PODS[pod].mac), Field.ETH_DST: VIRTUAL_MAC}
