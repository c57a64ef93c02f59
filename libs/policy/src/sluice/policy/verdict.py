"""The verdict of policy on a packet: the reference for compiled programs and real datapaths.

Egress is decided at the source and ingress at the destination, if that end is a Pod or a node; the packet passes if
neither denies it. Policies that apply to Nodes cover what nodes themselves send and receive. A node can always reach
the Pods it runs. A node's lifelines, which stay open whatever policies say, are not considered here.

A packet to a NodePort is decided where it enters the cluster, by the rules that apply to the Service, and again at the
Pod, which may be on another node. In each direction, among the rules that match the packet:

1. tiers before the Kubernetes tier, in order: allow, drop and reject decide; pass skips the rest of these tiers;
2. Kubernetes policies: any matching rule allows; otherwise the packet is dropped if one of them isolates the Pod;
3. tiers after it, the baseline: the first in order decides;
4. otherwise the packet is allowed.

A rule with layer 7 conditions is final for what it matches: what it does not allow is rejected if it is TCP, and
dropped otherwise (docs "Antrea Layer 7 NetworkPolicy", "Usage").

What a Pod sends to itself never leaves it and is always allowed; so is what comes back to it through a Service. On
secondary networks the same holds for interfaces, and only the policies of those networks apply (`secondary`).
"""

from enum import StrEnum
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from sluice.contracts.objects import Node, Pod
from sluice.contracts.programs import (
    K8S_TIER,
    Action,
    Direction,
    IcmpTraffic,
    IgmpTraffic,
    Origin,
    PortRange,
    Program,
    Rule,
    ServiceRef,
    Traffic,
    TransportTraffic,
)
from sluice.grouping.members import named_ports
from sluice.policy import igmp, l7
from sluice.policy.behind import behind
from sluice.policy.ends import NoSuchEnd, Side, sides
from sluice.policy.facing import Faced
from sluice.policy.order import order
from sluice.policy.packet import SERVICE_PREFIX, AddressEnd, Packet, ServiceEnd
from sluice.policy.secondary import Holder, Place, Segment, is_secondary
from sluice.policy.state import ClusterState


class Outcome(StrEnum):
    """What the sender sees."""

    ALLOWED = "Allowed"
    DROPPED = "Dropped"
    REJECTED = "Rejected"


class RuleRef(Struct, frozen=True, kw_only=True, tag="rule", omit_defaults=True):
    """A rule of a policy."""

    origin: Origin
    direction: Direction
    index: int
    action: Action
    tier: int
    priority: float
    name: str = ""


class Isolation(Struct, frozen=True, kw_only=True, tag="isolation"):
    """No Kubernetes policy allows the packet, and these policies isolate the Pod."""

    policies: tuple[Origin, ...]


class NoPolicy(Struct, frozen=True, tag="no-policy"):
    """No rule that applies to the Pod matches, and no policy isolates it."""


class Itself(Struct, frozen=True, tag="itself"):
    """A Pod or a node may always talk to itself."""


class OwnNode(Struct, frozen=True, tag="own-node"):
    """A node may always reach the Pods it runs: its kubelet probes them."""


Reason = RuleRef | Isolation | NoPolicy | Itself | OwnNode


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    action: Action
    """Allow, drop or reject."""

    reason: Reason
    passed: tuple[RuleRef, ...] = ()
    """Pass rules that matched earlier."""


class Verdict(Struct, frozen=True, kw_only=True):
    outcome: Outcome
    egress: Decision | None
    """At the source; None if that is neither a Pod nor a node."""

    ingress: Decision | None
    """At the destination, whatever egress decides; None if that is no Pod, node or NodePort."""


def verdict(state: ClusterState, packet: Packet) -> Verdict:
    """Whether the packet passes, and what decides that in each direction.

    Raises:
        NoSuchEnd: an end does not exist in the cluster, the ends have no addresses of the same family, or the verdicts
            for the endpoints of a Service differ (`behind` gives the packet for each).
    """
    if is_secondary(packet):
        return _between_interfaces(state, packet)
    if isinstance(packet.destination, ServiceEnd):
        return _at_service(state, packet, packet.destination)
    source, destination = sides(state, packet)
    itself = Decision(action=Action.ALLOW, reason=Itself())
    subjects = source.pod or source.node, destination.pod or destination.node
    hairpin = subjects[0] is not None and subjects[0] is subjects[1]
    if hairpin and packet.service is None:
        return Verdict(outcome=Outcome.ALLOWED, egress=itself, ingress=itself)
    matches = _Matcher(packet, destination)
    egress = ingress = None
    own_node = runs(source.node, destination.pod)
    if subjects[0] is not None and not own_node:
        egress = _decide(state, subjects[0], Direction.EGRESS, destination, matches)
    if hairpin:
        ingress = itself
    elif own_node and not packet.node_port and packet.protocol != "IGMP":  # rules may match a node's IGMP queries
        ingress = Decision(action=Action.ALLOW, reason=OwnNode())
    elif packet.node_port and source.pod is None:  # rules that apply to a Service are for clients outside the cluster
        ingress = _behind_node_port(state, packet, source, destination, matches)
    elif subjects[1] is not None:
        ingress = _decide(state, subjects[1], Direction.INGRESS, source, matches)
    return Verdict(outcome=_outcome(egress, ingress), egress=egress, ingress=ingress)


def _at_service(state: ClusterState, packet: Packet, service: ServiceEnd) -> Verdict:
    """The verdict that all endpoints share, with the reasons for the first of them."""
    found = behind(state, packet, service)
    if not found:
        return Verdict(outcome=Outcome.REJECTED if found is not None else Outcome.DROPPED, egress=None, ingress=None)
    first, *others = (verdict(state, one) for one in found)
    if any(one.outcome != first.outcome for one in others):
        name = f"{SERVICE_PREFIX}{service.namespace}/{service.name}"
        raise NoSuchEnd(f"{name}: the outcome depends on the endpoint; ask about each of them")
    return first


def runs(node: Node | None, pod: Pod | None) -> bool:
    """Whether the Pod runs on the node, which may then always reach it."""
    return node is not None and pod is not None and pod.node == node.metadata.name


def _behind_node_port(
    state: ClusterState, packet: Packet, source: Side, destination: Side, matches: "_Matcher"
) -> Decision:
    """The decision at the NodePort, or else at the Pod behind it: both must allow the packet."""
    door = _decide(state, None, Direction.INGRESS, source, matches)
    if door.action is not Action.ALLOW or destination.pod is None:
        return door
    seen = source if packet.masked is None else sides(state, replace(packet, source=AddressEnd(packet.masked)))[0]
    inside = _decide(state, destination.pod, Direction.INGRESS, seen, matches)
    return door if isinstance(inside.reason, NoPolicy) else inside


def _between_interfaces(state: ClusterState, packet: Packet) -> Verdict:
    segment = Segment(state)
    source, destination = segment.ends(packet)
    if source.holder and destination.holder and source.holder.pod is destination.holder.pod:
        itself = Decision(action=Action.ALLOW, reason=Itself())
        return Verdict(outcome=Outcome.ALLOWED, egress=itself, ingress=itself)
    decisions: list[Decision | None] = []
    for end, other, direction in (
        (source, destination, Direction.EGRESS),
        (destination, source, Direction.INGRESS),
    ):
        decisions.append(_at_interface(segment, end.holder, direction, packet, other) if end.holder else None)
    egress, ingress = decisions
    return Verdict(outcome=_outcome(egress, ingress), egress=egress, ingress=ingress)


def _at_interface(segment: Segment, holder: Holder, direction: Direction, packet: Packet, other: Place) -> Decision:
    matching = sorted(segment.matching(holder, direction, packet, other.address), key=lambda one: order(*one))
    if matching:
        program, rule = matching[0]
        return Decision(action=rule.action, reason=ref(program, rule))
    closing = sorted({one.origin for one in segment.programs(holder) if direction in one.isolates})
    if closing:
        return Decision(action=Action.DROP, reason=Isolation(policies=tuple(closing)))
    return Decision(action=Action.ALLOW, reason=NoPolicy())


def _outcome(*decisions: Decision | None) -> Outcome:
    decision = refusal(*decisions)
    if decision is None:
        return Outcome.ALLOWED
    return Outcome.REJECTED if decision.action == Action.REJECT else Outcome.DROPPED


def refusal(*decisions: Decision | None) -> Decision | None:
    """The decision that denies, egress before ingress: a packet denied at its source meets no further rules.

    A layer 7 request is only denied on an established connection, so a decision that denies the connection comes first.
    """
    refusing = [one for one in decisions if one is not None and one.action != Action.ALLOW]
    return min(refusing, key=_is_of_a_request, default=None)


def _is_of_a_request(decision: Decision) -> bool:
    by = decision.reason
    return decision.action == Action.REJECT and isinstance(by, RuleRef) and by.action == Action.ALLOW


def _decide(
    state: ClusterState, subject: Pod | Node | None, direction: Direction, other: Side, matches: "_Matcher"
) -> Decision:
    matching = [faced for faced in _concerning(state, subject, direction, other, matches) if matches(faced.rule)]
    may_isolate = subject is not None and matches.may_isolate(direction)
    isolating = state.facing(subject, direction).isolating if subject is not None and may_isolate else ()
    passed: list[RuleRef] = []

    def decided(by: Faced) -> Decision:
        return Decision(action=matches.answer(by.rule), reason=ref(by.program, by.rule), passed=tuple(passed))

    for faced in matching:
        if faced.order.tier < K8S_TIER:
            if faced.rule.action != Action.PASS:
                return decided(faced)
            passed.append(ref(faced.program, faced.rule))
            break
    for faced in matching:
        if faced.order.tier == K8S_TIER:
            return decided(faced)
    if isolating:
        return Decision(action=Action.DROP, reason=Isolation(policies=isolating), passed=tuple(passed))
    for faced in matching:
        if faced.order.tier > K8S_TIER:
            if faced.rule.action != Action.PASS:
                return decided(faced)
            passed.append(ref(faced.program, faced.rule))
            break
    return Decision(action=Action.ALLOW, reason=NoPolicy(), passed=tuple(passed))


def _concerning(
    state: ClusterState, subject: Pod | Node | None, direction: Direction, other: Side, matches: "_Matcher"
) -> list[Faced]:
    """The rules with this peer, in order: those of the Pod or node, or else of the Service behind the NodePort."""
    found: list[Faced] = []
    if subject is not None:
        service, name = matches.service(direction), matches.name(direction)
        found += state.facing(subject, direction).concerning(other.groups, other.address, service, name)
    elif matches.node_port is not None:
        at_services = state.facing_services().concerning(other.groups, other.address)
        found += [faced for faced in at_services if matches.node_port in (faced.rule.services or ())]
    return sorted(found, key=lambda faced: faced.order)


def ref(program: Program, rule: Rule) -> RuleRef:
    """A human-readable reference to the rule."""
    return RuleRef(
        origin=program.origin,
        direction=rule.direction,
        index=rule.index,
        action=rule.action,
        tier=program.tier,
        priority=program.priority,
        name=rule.name,
    )


class _Matcher:
    """Whether a rule's traffic matches the packet. Named ports are those of the destination, in both directions."""

    def __init__(self, packet: Packet, destination: Side) -> None:
        self._packet = packet
        self._named = named_ports(destination.pod.spec.containers) if destination.pod else ()

    @property
    def node_port(self) -> ServiceRef | None:
        """The Service whose NodePort the packet was sent to."""
        return self._packet.service if self._packet.node_port else None

    def service(self, direction: Direction) -> ServiceRef | None:
        """The Service through which the sender addresses its peer."""
        return self._packet.service if direction is Direction.EGRESS and not self._packet.node_port else None

    def name(self, direction: Direction) -> str:
        """The DNS name by which the sender knows its peer."""
        return self._packet.fqdn if direction is Direction.EGRESS else ""

    def answer(self, rule: Rule) -> Action:
        """The action of a matching rule on the packet."""
        packet = self._packet
        if rule.l7 is None or (packet.asks is not None and l7.allows(rule.l7, packet.asks)):
            return rule.action
        return Action.REJECT if packet.protocol == "TCP" else Action.DROP

    def may_isolate(self, direction: Direction) -> bool:
        """Whether isolation drops such packets if no Kubernetes policy allows them."""
        return self._packet.protocol != "IGMP" or igmp.isolates(direction)

    def __call__(self, rule: Rule) -> bool:
        packet = self._packet
        if packet.protocol == "IGMP":
            return igmp.is_about(rule, igmp.Message(rule.direction, packet.igmp_type, packet.igmp_group))
        return rule.traffic is None or any(self._is(kind) for kind in rule.traffic)

    def _is(self, traffic: Traffic) -> bool:
        packet = self._packet
        match traffic:
            case TransportTraffic():
                return (
                    packet.protocol == traffic.protocol
                    and self._port(traffic.ports)
                    and (traffic.source_ports is None or _within(packet.source_port, traffic.source_ports))
                )
            case IcmpTraffic():
                return packet.protocol == "ICMP" and (
                    traffic.icmp_type in (None, packet.icmp_type) and traffic.icmp_code in (None, packet.icmp_code)
                )
            case IgmpTraffic():
                return False  # an IGMP packet never gets here
            case _:
                assert_never(traffic)

    def _port(self, ports: PortRange | str | None) -> bool:
        match ports:
            case None:
                return True
            case PortRange():
                return _within(self._packet.port, ports)
            case str():
                port, protocol = self._packet.port, self._packet.protocol
                return any((own.name, own.protocol, own.port) == (ports, protocol, port) for own in self._named)
            case _:
                assert_never(ports)


def _within(port: int | None, ports: PortRange) -> bool:
    return port is not None and ports.first <= port <= ports.last
