"""A straightforward model of what policy means for the first packet of a connection.

It knows nothing about the pipeline and takes no shortcuts: the walker and the real switch are compared with it.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from sluice.contracts.groups import Member
from sluice.contracts.ids import Address, GroupId, Uid
from sluice.contracts.objects import Protocol
from sluice.contracts.programs import (
    K8S_TIER,
    Action,
    BlockPeer,
    Direction,
    FqdnPeer,
    IcmpTraffic,
    PortRange,
    Rule,
    ServicePeer,
    TransportTraffic,
)
from sluice.dataplane.ovs.fields import TCP_SYN, Field
from sluice.dataplane.ovs.fqdn import NODE
from sluice.dataplane.ovs.fqdn_values import Opens
from sluice.dataplane.ovs.lower import Inputs
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.dataplane.ovs.ports import LocalPort, mac, rightful
from sluice.dataplane.protocols import EthType, IpProto
from sluice.policy.everypod import EVERY_POD_ID
from sluice.policy.order import Order, order
from sluice.testkit.tracker import Packet
from sluice.testkit.worlds import PODS, addresses, port, uid


class Probe(NamedTuple):
    """The first packet of a connection, as the Pod sends it."""

    source: str
    to: Address
    protocol: Protocol | None
    """None means ICMP echo."""

    port: int = 0
    source_port: int = 40000


PROBES: tuple[tuple[Protocol | None, int, int], ...] = (
    ("TCP", 80, 40000),
    ("TCP", 81, 1024),
    ("TCP", 82, 40000),
    ("UDP", 81, 2047),
    ("UDP", 443, 2048),
    (None, 0, 0),
)


def probes(source: str) -> Iterator[Probe]:
    """All probes that a Pod of the world sends."""
    for other in PODS:
        for to in addresses(other):
            for protocol, number, from_ in PROBES:
                if other != source:
                    yield Probe(source, to, protocol, number, from_)


_TRANSPORTS = {
    "TCP": (IpProto.TCP, Field.TCP_SRC, Field.TCP_DST),
    "UDP": (IpProto.UDP, Field.UDP_SRC, Field.UDP_DST),
    "SCTP": (IpProto.SCTP, Field.SCTP_SRC, Field.SCTP_DST),
}


def packet(probe: Probe, *, claiming: str | None = None) -> Packet:
    """The probe as fields.

    Args:
        claiming: the Pod whose addresses it uses, if not the sender's own.
    """
    plug = port(probe.source)
    to = ip_address(probe.to)
    from_ = addresses(claiming or probe.source)[0 if to.version == 4 else 1]
    fields = {
        Field.IN_PORT: plug.ofport,
        Field.ETH_SRC: mac(plug.mac),
        Field.ETH_DST: VIRTUAL_MAC,
        Field.ETH_TYPE: EthType.IPV4 if to.version == 4 else EthType.IPV6,
        Field.IPV4_SRC if to.version == 4 else Field.IPV6_SRC: int(ip_address(from_)),
        Field.IPV4_DST if to.version == 4 else Field.IPV6_DST: int(to),
    }
    if probe.protocol is not None:
        number, source_field, target_field = _TRANSPORTS[probe.protocol]
        fields |= {Field.IP_PROTO: number, source_field: probe.source_port, target_field: probe.port}
        return fields | ({Field.TCP_FLAGS: TCP_SYN} if probe.protocol == "TCP" else {})
    if to.version == 4:
        return fields | {Field.IP_PROTO: IpProto.ICMP, Field.ICMP_TYPE: 8}
    return fields | {Field.IP_PROTO: IpProto.ICMPV6, Field.ICMPV6_TYPE: 128}


def receiver(world: Inputs, probe: Probe) -> LocalPort | None:
    """The recipient of the probe if policy allows it; None if there is none."""
    claims = [one for one in world.ports.values() if probe.to in one.addresses]
    return rightful(claims) if claims else None


def allowed(world: Inputs, probe: Probe) -> bool:
    """Whether the probe arrives: both ends are open, and policy allows egress and ingress."""
    sender, target = world.ports.get(uid(probe.source)), receiver(world, probe)
    if sender is None or target is None or sender == target:
        return False
    source_address = Address(str(_own_address(probe)))
    leaves = _passes(world, sender.uid, Direction.EGRESS, probe, Address(probe.to))
    return leaves and _passes(world, target.uid, Direction.INGRESS, probe, source_address)


def _own_address(probe: Probe) -> IPv4Address | IPv6Address:
    version = ip_address(probe.to).version
    return next(one for one in map(ip_address, addresses(probe.source)) if one.version == version)


def _passes(world: Inputs, pod: Uid, direction: Direction, probe: Probe, other: Address) -> bool:
    """Whether policy lets the Pod talk with the other end: the first matching rule decides, tier by tier.

    A pass leads to Kubernetes policies, one of which must allow if any isolates; then the baseline applies.
    """
    isolated, said = False, set()
    for (group, _), one in world.programs.items():
        here = world.pages.get((group, world.node))
        for self_ in (self_ for self_ in here.members if self_.uid == pod) if here else ():
            isolated |= direction in one.isolates
            rules = (rule for rule in one.rules if rule.direction is direction)
            said |= {(order(one, rule), rule.action) for rule in rules if _matches(world, rule, self_, probe, other)}
    return _decided(sorted(said), isolated=isolated)


def _decided(said: list[tuple[Order, Action]], *, isolated: bool) -> bool:
    """The result of all rules that match a packet, in order."""
    for action in (action for place, action in said if place.tier < K8S_TIER):
        if action is Action.PASS:
            break
        return action is Action.ALLOW
    kubernetes = {action for place, action in said if place.tier == K8S_TIER and action is not Action.PASS}
    if kubernetes or isolated:
        return kubernetes == {Action.ALLOW}
    for action in (action for place, action in said if place.tier > K8S_TIER):
        return action in (Action.ALLOW, Action.PASS)
    return True


def _matches(world: Inputs, rule: Rule, self_: Member, probe: Probe, other: Address) -> bool:
    if rule.peers is None:
        pods = _group(world, EVERY_POD_ID)
        target = [self_] if rule.direction is Direction.INGRESS else [one for one in pods if other in one.addresses]
        return _is_traffic(rule, target, probe)
    for peer in rule.peers:
        if isinstance(peer, ServicePeer):
            continue  # probes have no Service
        if isinstance(peer, FqdnPeer):
            known = rule.direction is Direction.EGRESS and _goes_by(world, peer, rule.action, self_.uid, other)
            them: list[Member] = []
        elif isinstance(peer, BlockPeer):
            known = _in_block(peer, other)
            them = []
        else:
            them = [one for one in _group(world, peer.group) if other in one.addresses]
            known = bool(them)
        if known and _is_traffic(rule, [self_] if rule.direction is Direction.INGRESS else them, probe):
            return True
    return False


def _goes_by(world: Inputs, peer: FqdnPeer, does: Action, pod: Uid, other: Address) -> bool:
    """Whether a relevant DNS answer maps a name of the peer to the address."""
    holders = {fact.holder for fact in world.facts if (fact.pattern, fact.address) == (peer.pattern, other)}
    if does in (Action.DROP, Action.REJECT) or world.opens is Opens.NODE:
        return bool(holders)
    return pod in holders or (world.opens is Opens.AHEAD and NODE in holders)


def _in_block(block: BlockPeer, other: Address) -> bool:
    address = ip_address(other)
    if not _is_cidr(block.cidr):
        return False
    return address in ip_network(block.cidr) and not any(address in ip_network(text) for text in block.excepts)


def _is_cidr(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _group(world: Inputs, group: GroupId) -> Iterator[Member]:
    for (of, _), one in world.pages.items():
        if of == group:
            yield from one.members


def _is_traffic(rule: Rule, targets: list[Member], probe: Probe) -> bool:
    if rule.traffic is None:
        return True
    for entry in rule.traffic:
        match entry:
            case IcmpTraffic(icmp_type=kind, icmp_code=code):
                echo = 8 if ip_address(probe.to).version == 4 else 128
                if probe.protocol is None and kind in (None, echo) and code in (None, 0):
                    return True
            case TransportTraffic(protocol=protocol, ports=ports, source_ports=from_):
                named = ((one.name, one.protocol, one.port) for target in targets for one in target.ports)
                fits = (
                    (ports, protocol, probe.port) in named if isinstance(ports, str) else _in_range(ports, probe.port)
                )
                if probe.protocol == protocol and fits and _in_range(from_, probe.source_port):
                    return True
    return False


def _in_range(ports: PortRange | None, number: int) -> bool:
    return ports is None or ports.first <= number <= ports.last
