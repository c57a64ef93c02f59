"""Law 3, from objects: what `verdict` says of a packet is what becomes of it in the filters they come to."""

from collections.abc import Iterator
from itertools import product
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.groups import Member
from sluice.contracts.ids import Address
from sluice.contracts.objects import AnyObject, Protocol
from sluice.dataplane.tc.engine import key_of
from sluice.grouping.attachments import interfaces_of
from sluice.grouping.events import ObjectEvent
from sluice.policy.ends import NoSuchEnd
from sluice.policy.packet import AddressEnd, Family, Packet, PodEnd
from sluice.policy.secondary import Place, Segment
from sluice.policy.verdict import Outcome, verdict
from sluice.testkit import builders, secondary, strategies
from sluice.testkit.examples import share
from sluice.testkit.expanders import story
from sluice.testkit.tc_node import TcNode, frame

OUTSIDE = Address("192.0.2.200")
FAMILIES: tuple[Family, Family] = (4, 6)
TRANSPORTS: tuple[Protocol, ...] = ("TCP", "UDP", "SCTP")
TRAFFIC: list[tuple[Protocol | Literal["ICMP"], int]] = [
    *((protocol, port) for protocol in TRANSPORTS for port in (53, 80, 81, 8080)),
    ("ICMP", 0),
]


@st.composite
def clusters(draw: st.DrawFn) -> list[ObjectEvent]:
    """Six Pods with interfaces on two networks that share addresses now and then, and a few policies."""
    objects: list[AnyObject] = [builders.namespace(name, **draw(strategies.labels)) for name in strategies.NAMESPACES]
    for number, (of, name) in enumerate(product(strategies.NAMESPACES, ("a", "b")), start=1):
        nets = draw(
            st.lists(
                st.builds(
                    lambda network, last: f"{network}=10.0.0.{last},fd00::{last}",
                    st.sampled_from(secondary.NETWORKS[:2]),
                    st.sampled_from((number, number, number, 7)),
                ),
                min_size=1,
                max_size=2,
            )
        )
        objects.append(
            builders.pod(
                f"{of}/{name}",
                node=draw(st.sampled_from(("node-1", "node-1", "node-2"))),
                created=draw(st.sampled_from(("", "2024-05-01T10:00:00Z"))),
                ports=(("web", draw(st.sampled_from((80, 81)))), ("dns", 53, "UDP")),
                labels=draw(strategies.labels),
                nets=nets,
            )
        )
    return story(*objects, *draw(st.lists(secondary.multis, min_size=1, max_size=4)))


def interfaces(node: TcNode) -> list[Member]:
    return [one for pod in node.state.pods.values() for one in interfaces_of(pod)]


def end(member: Member) -> PodEnd:
    namespace, name = member.pod.split("/")
    return PodEnd(namespace, name, member.attachment.network, member.attachment.interface)


def pairs(node: TcNode) -> Iterator[tuple[Member, Member, Address, Address]]:
    """Interfaces with an address of one family that each has on its network."""
    segment = Segment(node.state)
    for source, target in product(interfaces(node), repeat=2):
        if source.pod != target.pod:
            for family in FAMILIES:
                packet = Packet(source=end(source), destination=end(target), protocol="TCP", family=family)
                has = [place.address for place in _ends(segment, packet) if place.address]
                if has:
                    yield source, target, has[0], has[1]


def _ends(segment: Segment, packet: Packet) -> list[Place]:
    try:
        return list(segment.ends(packet))
    except NoSuchEnd:
        return []


@share(15)
@given(clusters())
def test_packets_meet_the_fate_that_the_verdict_has_for_them(events: list[ObjectEvent]):
    node = TcNode(events).apply()
    policed = node.engine.interfaces

    for source, target, from_, to in pairs(node):
        ends = [key if (key := key_of(one)) in policed else None for one in (source, target)]
        family = FAMILIES[":" in from_]
        for protocol, port in TRAFFIC:
            packet = Packet(
                source=end(source), destination=end(target), protocol=protocol, port=port or None, family=family
            )
            said = verdict(node.state, packet)
            sent = frame(from_, to, protocol, port, source_port=40_000)
            expected_out = ends[0] is None or said.egress is None or said.egress.action == "allow"
            expected_in = ends[1] is None or said.ingress is None or said.ingress.action == "allow"
            assert node.sends(sent, *ends) is (expected_out and expected_in), packet
            node.tracker.forget()


@share(30)
@given(clusters())
def test_so_do_those_between_interfaces_and_the_world(events: list[ObjectEvent]):
    node = TcNode(events).apply()

    for key, member in node.engine.interfaces.items():
        for near in Segment(node.state).addresses(end(member)):
            far = Address("2001:db8::1") if ":" in near else OUTSIDE
            for protocol, port in TRAFFIC:
                inside, outside = end(member), AddressEnd(far)
                for ends, keys, addresses in (
                    ((inside, outside), (key, None), (near, far)),
                    ((outside, inside), (None, key), (far, near)),
                ):
                    packet = Packet(source=ends[0], destination=ends[1], protocol=protocol, port=port or None)
                    passed = node.sends(frame(*addresses, protocol, port), *keys)
                    assert passed is (verdict(node.state, packet).outcome is Outcome.ALLOWED), packet
                    node.tracker.forget()
