"""Who has joined which group, and the flows that follow."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from sluice.contracts.ids import NodeName, Uid
from sluice.dataplane.addresses import address
from sluice.dataplane.igmp import Report
from sluice.dataplane.ovs.base import BASE
from sluice.dataplane.ovs.checking import check
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Flows
from sluice.dataplane.ovs.multicast import MOST_GROUPS, Memberships, Tunnel
from sluice.dataplane.ovs.text import write_all
from sluice.dataplane.protocols import EthType
from sluice.testkit import golden
from sluice.testkit.walker import Walker

A, B = Uid("a"), Uid("b")
PORTS = {A: 1, B: 2}
TWO, THREE = NodeName("node-2"), NodeName("node-3")
TUNNEL = Tunnel(100, {TWO: address("192.0.2.2"), THREE: address("2001:db8::3")})
GROUP, OTHER = int(IPv4Address("225.1.2.3")), int(IPv4Address("225.1.2.4"))


def joins(group: int = GROUP, kind: int = 0x22) -> Report:
    return Report(kind, group, joins=True)


def leaves(group: int = GROUP) -> Report:
    return Report(0x17, group, joins=False)


def everything(known: Memberships, tunnel: Tunnel | None = TUNNEL) -> Flows:
    flows: Flows = {}
    for group in known.groups:
        flows |= known.flows(group, PORTS, tunnel)
    for key, body in flows.items():
        check(key, body)
    return flows


def sent(known: Memberships, in_port: int, group: int = GROUP, *, tunnel: bool = False) -> list[tuple[int, int]]:
    """Ports that a packet of the group is sent to, each with the end of the tunnel, from CONNTRACK on."""
    packet = {Field.ETH_TYPE: EthType.IPV4, Field.IN_PORT: in_port, Field.IPV4_DST: group, Field.IP_PROTO: 17}
    packet[Field.REG0] = 4 if tunnel else 0
    walk = Walker({**BASE, **everything(known)}).walk(packet, table=30)
    return [(one.port, one.packet.get(Field.TUN_DST) or one.packet.get(Field.TUN_IPV6_DST, 0)) for one in walk.sent]


def test_golden():
    known = Memberships()
    known.take(A, joins(), 10)
    known.take(B, joins(), 10)
    known.take(B, joins(OTHER), 10)
    known.heard_of(TWO, [GROUP], 10)

    golden.check(Path(__file__).parent / "golden/multicast.flows", write_all(everything(known)))


def test_a_group_goes_to_its_members_and_once_to_each_node_that_has_some():
    known = Memberships()
    known.take(A, joins(), 10)
    known.take(B, joins(), 10)
    known.heard_of(TWO, [GROUP, OTHER], 10)
    known.heard_of(THREE, [GROUP], 10)

    far = [(100, address("2001:db8::3").value), (100, int(IPv4Address("192.0.2.2")))]
    assert sent(known, 1) == [(2, 0), *far]
    assert sent(known, 7) == [(1, 0), (2, 0), *far]
    assert sent(known, 1, OTHER) == far[1:]
    assert sent(known, 100, tunnel=True) == [(1, 0), (2, 0)]
    assert sent(known, 100, OTHER, tunnel=True) == []


@pytest.mark.parametrize("group", ["225.9.9.9", "224.0.0.1", "224.0.0.251", "239.255.255.250"])
def test_what_nobody_has_joined_goes_nowhere(group: str):
    assert sent(Memberships(), 1, int(IPv4Address(group))) == []


def test_what_the_world_sends_to_many_goes_nowhere():
    known = Memberships()
    known.take(A, joins(), 10)
    packet = {Field.ETH_TYPE: EthType.IPV4, Field.IN_PORT: 101, Field.IPV4_DST: GROUP, Field.IP_PROTO: 17}

    for flag in (0x2, 0x8):
        walk = Walker({**BASE, **everything(known)}).walk({**packet, Field.REG0: flag}, table=30)
        assert (walk.sent, walk.punted) == ((), ())


def test_igmp_is_handed_over_if_a_pod_sent_it():
    packet = {Field.ETH_TYPE: EthType.IPV4, Field.IN_PORT: 1, Field.IPV4_DST: GROUP, Field.IP_PROTO: 2}

    for flags, punted in ((0, (b"\5",)), (0x2, ()), (0x4, ()), (0x8, ())):
        walk = Walker(BASE).walk({**packet, Field.REG0: flags}, table=30)
        assert (walk.sent, walk.punted) == ((), punted)


def test_a_pod_leaves_ends_or_says_nothing_any_more():
    known = Memberships()
    assert known.take(A, joins(), 10) == {GROUP}
    assert known.take(A, joins(), 20) == frozenset()  # again
    assert known.take(B, joins(OTHER), 12) == {OTHER}
    assert known.next_deadline_s() == 12
    assert known.expire(11) == frozenset()
    assert known.expire(12) == {OTHER}
    assert known.take(B, joins(OTHER), 30) == {OTHER}
    assert known.take(A, leaves(), 0) == {GROUP}
    assert known.take(A, leaves(), 0) == frozenset()
    assert known.close(B) == {OTHER}
    assert (known.groups, known.next_deadline_s(), everything(known)) == (frozenset(), None, {})


def test_what_another_node_says_replaces_what_it_said():
    known = Memberships()
    assert known.heard_of(TWO, [GROUP], 10) == {GROUP}
    assert known.heard_of(TWO, [GROUP, OTHER], 20) == {OTHER}
    assert known.heard_of(TWO, [OTHER], 30) == {GROUP}
    assert known.local == frozenset()
    assert known.expire(30) == {OTHER}
    assert known.groups == frozenset()


def test_groups_of_a_link_and_more_than_one_pod_may_have_are_not_joined():
    known = Memberships()
    assert known.take(A, joins(int(IPv4Address("224.0.0.251"))), 10) == frozenset()
    assert known.take(A, joins(int(IPv4Address("10.0.0.1"))), 10) == frozenset()
    for group in range(GROUP, GROUP + MOST_GROUPS + 5):
        known.take(A, joins(group), 10)
    assert len(known.local) == MOST_GROUPS
    assert known.take(A, joins(), 20) == frozenset()
    assert known.take(B, joins(GROUP + MOST_GROUPS), 10) == {GROUP + MOST_GROUPS}


def test_without_a_tunnel_a_group_stays_at_home():
    known = Memberships()
    known.take(A, joins(), 10)
    known.heard_of(TWO, [GROUP], 10)

    assert "tun_dst" not in write_all(everything(known, None))
