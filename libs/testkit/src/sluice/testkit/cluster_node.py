"""The node of a random cluster, with the flows that its switch gets from the objects: for the tests of law 3."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from sluice.contracts.ids import NodeName
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.errand import Errand
from sluice.dataplane.ovs.fields import TCP_SYN, Field
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.dataplane.ovs.ports import LocalPort, mac
from sluice.dataplane.protocols import EthType, IpProto
from sluice.grouping.events import ObjectEvent
from sluice.policy.packet import Packet, PodEnd
from sluice.policy.verdict import Outcome
from sluice.testkit.fed import fill
from sluice.testkit.tracker import Packet as Fields
from sluice.testkit.walker import Walk

HERE = NodeName("node-1")
TRANSPORTS = {
    "TCP": (IpProto.TCP, Field.TCP_SRC, Field.TCP_DST),
    "UDP": (IpProto.UDP, Field.UDP_SRC, Field.UDP_DST),
    "SCTP": (IpProto.SCTP, Field.SCTP_SRC, Field.SCTP_DST),
}


class Node:
    """The node of a cluster whose objects arrive one after the other."""

    def __init__(self, events: Sequence[ObjectEvent]) -> None:
        self.ids = RuleIds()
        self.engine = Engine(HERE, self.ids)
        self.state, self.grouping = fill(self.engine, events)
        self.ports = {
            member.pod: LocalPort(member.pod, member.uid, number, f"02:00:00:00:00:{number:02x}", member.addresses)
            for number, member in enumerate(self.grouping.pods_on(HERE), start=1)
            if member.addresses
        }
        for port in self.ports.values():
            self.engine.open_port(port)

    def packets(self) -> Iterator[tuple[Packet, Fields, LocalPort]]:
        """First packets of connections between the node's Pods, in the forms for a verdict and for the switch."""
        for source in self.ports.values():
            for target in self.ports.values():
                for from_ in map(ip_address, source.addresses):
                    for to in map(ip_address, target.addresses):
                        if source != target and from_.version == to.version:
                            v4 = to.version == 4
                            ends = {
                                Field.IN_PORT: source.ofport,
                                Field.ETH_SRC: mac(source.mac),
                                Field.ETH_DST: VIRTUAL_MAC,
                                Field.ETH_TYPE: EthType.IPV4 if v4 else EthType.IPV6,
                                Field.IPV4_SRC if v4 else Field.IPV6_SRC: int(from_),
                                Field.IPV4_DST if v4 else Field.IPV6_DST: int(to),
                            }
                            for packet, fields in _kinds(source, target, 4 if v4 else 6):
                                yield packet, ends | fields, target


def _kinds(source: LocalPort, target: LocalPort, family: int) -> Iterator[tuple[Packet, dict[Field, int]]]:
    ends = {"source": PodEnd(*source.pod.split("/")), "destination": PodEnd(*target.pod.split("/")), "family": family}
    for protocol, (number, source_field, target_field) in TRANSPORTS.items():
        for port in (53, 80, 81, 8080):
            said = {Field.IP_PROTO: number, source_field: 40000, target_field: port}
            said |= {Field.TCP_FLAGS: TCP_SYN} if protocol == "TCP" else {}
            yield Packet(**ends, protocol=protocol, port=port, source_port=40000), said  # type: ignore[arg-type]  # fields of a packet
    echo = {Field.IP_PROTO: IpProto.ICMP, Field.ICMP_TYPE: 8}
    echo6 = {Field.IP_PROTO: IpProto.ICMPV6, Field.ICMPV6_TYPE: 128}
    kind = 8 if family == 4 else 128
    yield Packet(**ends, protocol="ICMP", icmp_type=kind, icmp_code=0), echo if family == 4 else echo6  # type: ignore[arg-type]  # fields of a packet


def outcome(walk: Walk) -> Outcome:
    """The outcome as the sender sees it."""
    if walk.ports:
        return Outcome.ALLOWED
    return Outcome.REJECTED if walk.punted == (bytes((Errand.REJECT,)),) else Outcome.DROPPED
