"""Law 3, the pure half: a packet that walks through the flows meets the fate that policy has for it. And law 5."""

from collections.abc import Iterable, Iterator
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.contracts.groups import Page
from sluice.contracts.ids import Address, GroupId
from sluice.contracts.programs import (
    Action,
    Direction,
    FqdnPeer,
    GroupPeer,
    PortRange,
    Program,
    Rule,
    TransportTraffic,
)
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.errand import Errand
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Flows
from sluice.dataplane.ovs.fqdn_values import HOLDING
from sluice.dataplane.ovs.ids import RuleIds, RuleKey
from sluice.dataplane.ovs.lower import Inputs, lower
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.dataplane.ovs.plan import Plan, applied
from sluice.dataplane.ovs.ports import LocalPort, mac
from sluice.dataplane.protocols import EthType
from sluice.testkit import worlds
from sluice.testkit.clashes import CLASHES
from sluice.testkit.examples import share
from sluice.testkit.meaning import Probe, allowed, packet, probes, receiver
from sluice.testkit.tracker import Packet, Tracker
from sluice.testkit.walker import Walk, Walker
from sluice.testkit.worlds import HERE, PODS, allow, member, page, port, program, rule, uid

IN, OUT = Direction.INGRESS, Direction.EGRESS
MINE, PEERS = GroupId("mine"), GroupId("peers")
TCP_80 = TransportTraffic(protocol="TCP", ports=PortRange(80, 80))
ALL_PROBES = [probe for pod in PODS for probe in probes(pod)]


def walk(flows: Flows, probe: Probe) -> Walk:
    return Walker(flows).walk(packet(probe))


def arrives(world: Inputs, walker: Walker, probe: Probe) -> bool:
    """The probe reaches the port of whoever has the address, and nobody else."""
    found = walker.walk(packet(probe)).ports
    target = receiver(world, probe)
    assert found in ((), (target.ofport if target else 0,))
    return bool(found)


@share(60)
@given(worlds.inputs(), st.sampled_from([1, 2, 1024]))
def test_every_pod_reaches_whom_policy_lets_it(world: Inputs, rules_per_lane: int):
    walker = Walker(lower(world, RuleIds(rules_per_lane)))

    for probe in ALL_PROBES:
        assert arrives(world, walker, probe) == allowed(world, probe), probe


@share(60)
@given(worlds.inputs(), st.lists(worlds.odd_programs(), min_size=1, max_size=3))
def test_what_cannot_be_lowered_never_opens_anything(world: Inputs, odd: list[Program]):
    for one in odd:
        world.programs[one.applied_to, one.unit] = one  # type: ignore[index]  # built as a dict
    walker = Walker(lower(world, RuleIds()))

    for probe in ALL_PROBES:
        assert not arrives(world, walker, probe) or allowed(world, probe), probe


def test_of_two_rules_of_one_number_both_close():
    """One that is about nothing comes last, and takes back nothing."""
    everything = Rule(index=1, direction=IN, action=Action.DROP, peers=None)
    nothing = replace(everything, traffic=())
    one = program(worlds.UNITS[0], MINE, allow(0, IN, None), everything, nothing)
    walker = Walker(lower(world(one), RuleIds()))

    assert not [probe for probe in ALL_PROBES if arrives(world(one), walker, probe)]


def world(*programs: Program, members: Iterable[str] = PODS, peers: Iterable[str] = ()) -> Inputs:
    pages = [page(MINE, HERE, *map(member, members)), page(PEERS, HERE, *map(member, peers))]
    return Inputs(
        node=HERE,
        programs={(one.applied_to, one.unit): one for one in programs},
        pages={(one.group, one.node): one for one in pages if one.members},
        ports={uid(pod): port(pod) for pod in PODS},
    )


@pytest.mark.parametrize("name", CLASHES)
def test_rules_that_meet_in_one_flow(name: str):
    walker = Walker(lower(CLASHES[name], RuleIds()))

    got = {probe for probe in ALL_PROBES if arrives(CLASHES[name], walker, probe)}
    assert got == {probe for probe in ALL_PROBES if allowed(CLASHES[name], probe)}


# --------------------------------------------------------------------------------------------------------- what is said


def test_an_accepted_connection_remembers_the_rules_that_let_it_through():
    ids = RuleIds()
    out = program(worlds.UNITS[0], MINE, allow(3, OUT, (GroupPeer(group=MINE),)), isolates=(OUT,))
    into = program(worlds.UNITS[1], MINE, allow(5, IN, None, (TCP_80,)), isolates=(IN,))
    walker = Walker(lower(world(out, into), ids))

    walker.walk(packet(Probe("x/a", Address("10.0.0.2"), "TCP", 80)))

    (connection,) = walker.tracker.connections
    assert ids.key(connection.label & 0xFFFFFFFF) == RuleKey(into.unit, MINE, IN, 5)
    assert ids.key(connection.label >> 32 & 0xFFFFFFFF) == RuleKey(out.unit, MINE, OUT, 3)


def test_the_packet_is_routed_from_the_virtual_mac_to_the_pods_own():
    (sent,) = walk(lower(world(), RuleIds()), Probe("x/a", Address("10.0.0.2"), "TCP", 80)).sent

    assert sent.port == port("x/b").ofport
    assert sent.packet[Field.ETH_DST] == mac(port("x/b").mac)
    assert sent.packet[Field.ETH_SRC] == VIRTUAL_MAC


# -------------------------------------------------------------------------------------------------------- anti-spoofing


def arp(pod: str, target: str, **other: int) -> Packet:
    own = {"ARP_SPA": 0x0A000001 + PODS.index(pod), "ARP_SHA": mac(port(pod).mac), "ETH_SRC": mac(port(pod).mac)}
    fields = own | {"ARP_OP": 1, "ARP_TPA": 0x0A000000 + int(target)} | other
    where = {Field.IN_PORT: port(pod).ofport, Field.ETH_TYPE: EthType.ARP, Field.ETH_DST: 0xFFFFFFFFFFFF}
    return where | {Field[name]: value for name, value in fields.items()}


def test_the_switch_answers_a_pod_that_asks_for_any_address_with_the_virtual_mac():
    (sent,) = Walker(lower(world(), RuleIds())).walk(arp("x/a", "99")).sent

    assert sent.port == port("x/a").ofport
    assert {field: sent.packet[field] for field in (Field.ARP_OP, Field.ARP_SPA, Field.ARP_TPA)} == {
        Field.ARP_OP: 2,
        Field.ARP_SPA: 0x0A000063,
        Field.ARP_TPA: 0x0A000001,
    }
    assert sent.packet[Field.ARP_SHA] == sent.packet[Field.ETH_SRC] == VIRTUAL_MAC
    assert sent.packet[Field.ARP_THA] == sent.packet[Field.ETH_DST] == mac(port("x/a").mac)


TCP = Probe("x/a", Address("10.0.0.2"), "TCP", 80)
TCP6 = Probe("x/a", Address("fd00::2"), "TCP", 80)
REFUSED: list[tuple[str, Packet]] = [
    ("another Pod's address", packet(TCP, claiming="y/a")),
    ("another Pod's address, IPv6", packet(TCP6, claiming="y/a")),
    ("another MAC", {**packet(TCP), Field.ETH_SRC: mac(port("y/a").mac)}),
    ("another Pod's port", {**packet(TCP), Field.IN_PORT: port("y/a").ofport}),
    ("a port that nobody has", {**packet(TCP), Field.IN_PORT: 4711}),
    ("no address, as DHCP does", {**packet(TCP), Field.IPV4_SRC: 0, Field.IPV4_DST: 0xFFFFFFFF}),
    ("a link-local address", {**packet(TCP6), Field.IPV6_SRC: 0xFE80 << 112 | 1}),
    ("to a multicast address", {**packet(TCP6), Field.IPV6_DST: 0xFF02 << 112 | 1}),
    ("to a broadcast address", {**packet(TCP), Field.IPV4_DST: 0xFFFFFFFF}),
    ("to an address that nobody has", {**packet(TCP), Field.IPV4_DST: 0x0A000063}),
    ("to itself", {**packet(TCP), Field.IPV4_DST: 0x0A000001}),
    ("ARP for its own address", arp("x/a", "1")),
    ("ARP in another's name", arp("x/a", "2", ARP_SPA=0x0A000002)),
    ("ARP with another's MAC inside", arp("x/a", "2", ARP_SHA=mac(port("x/b").mac))),
    ("ARP with another's MAC outside", arp("x/a", "2", ETH_SRC=mac(port("x/b").mac))),
    ("an answer to an ARP request", arp("x/a", "2", ARP_OP=2)),
    ("an ARP probe", arp("x/a", "1", ARP_SPA=0)),
    ("LLDP", {Field.IN_PORT: 11, Field.ETH_SRC: mac(port("x/a").mac), Field.ETH_TYPE: 0x88CC}),
]


@pytest.mark.parametrize("sent", [one for _, one in REFUSED], ids=[name for name, _ in REFUSED])
def test_a_pod_speaks_for_itself_alone(sent: Packet):
    assert Walker(lower(world(), RuleIds())).walk(sent).sent == ()


# ---------------------------------------------------------------------------------------------- law 5, and connections


def reply(to: Packet) -> Packet:
    """The answer of whoever got the packet."""
    swapped = {
        Field.IPV4_SRC: Field.IPV4_DST,
        Field.IPV6_SRC: Field.IPV6_DST,
        Field.TCP_SRC: Field.TCP_DST,
        Field.UDP_SRC: Field.UDP_DST,
        Field.SCTP_SRC: Field.SCTP_DST,
    }
    back = dict(to)
    for one, other in swapped.items():
        if one in to:
            back[one], back[other] = to[other], to[one]
    pod = PODS[(back.get(Field.IPV4_SRC, 0) or back.get(Field.IPV6_SRC, 0)) % 16 - 1]
    return back | {Field.IN_PORT: port(pod).ofport, Field.ETH_SRC: mac(port(pod).mac)}


def established(flows: Flows, first: Packet) -> Tracker:
    walker = Walker(flows)
    assert walker.walk(first).sent
    assert walker.walk(reply(first)).sent
    return walker.tracker


CLOSED = world(program(worlds.UNITS[0], MINE, isolates=tuple(Direction)))


@pytest.mark.parametrize("probe", [TCP, TCP6], ids=["IPv4", "IPv6"])
def test_an_established_connection_outlives_the_rule_that_let_it_in(probe: Probe):
    tracker = established(lower(world(), RuleIds()), packet(probe))
    walker = Walker(lower(CLOSED, RuleIds()), tracker)

    assert walker.walk(packet(probe)).sent
    assert walker.walk(reply(packet(probe))).sent
    assert not walker.walk(packet(probe._replace(source_port=40001))).sent


def test_a_connection_that_was_never_answered_does_not_outlive_its_rule():
    walker = Walker(lower(world(), RuleIds()))
    assert walker.walk(packet(TCP)).sent

    assert not Walker(lower(CLOSED, RuleIds()), walker.tracker).walk(packet(TCP)).sent


SCTP = Probe("x/a", Address("10.0.0.2"), "SCTP", 80)
ONE_PORT = world(
    program(
        worlds.UNITS[0],
        MINE,
        allow(0, IN, None, (TransportTraffic(protocol="SCTP", ports=PortRange(80, 80)),)),
        isolates=(IN,),
    ),
    members=["x/b"],
)


@pytest.mark.parametrize("sctp_ports", [True, False], ids=["by ports", "by addresses alone"])
@pytest.mark.parametrize("to", ["10.0.0.2", "fd00::2"])
def test_an_sctp_association_opens_no_other(to: str, sctp_ports: bool):
    sctp = packet(SCTP._replace(to=Address(to)))
    walker = Walker(lower(ONE_PORT, RuleIds()), Tracker(sctp_ports=sctp_ports))

    assert walker.walk(sctp).sent
    assert walker.walk(reply(sctp)).sent
    assert walker.walk(sctp).sent
    assert not walker.walk({**sctp, Field.SCTP_DST: 81}).sent


@pytest.mark.parametrize("sctp_ports", [True, False], ids=["by ports", "by addresses alone"])
def test_an_sctp_association_that_was_let_in_stays_where_its_ports_are_known(sctp_ports: bool):
    walker = Walker(lower(world(), RuleIds()), Tracker(sctp_ports=sctp_ports))
    assert walker.walk(packet(SCTP)).sent
    assert walker.walk(reply(packet(SCTP))).sent

    assert bool(Walker(lower(CLOSED, RuleIds()), walker.tracker).walk(packet(SCTP)).sent) == sctp_ports


@pytest.mark.parametrize("closed", ["x/a", "x/b"])
def test_a_port_that_closes_takes_its_established_connections_with_it(closed: str):
    engine = Engine(HERE, RuleIds())
    for pod in PODS:
        engine.open_port(port(pod))
    tracker = established(engine.flows, packet(TCP))

    engine.close_port(uid(closed))

    walker = Walker(engine.flows, tracker)
    assert not walker.walk(packet(TCP)).sent
    assert not walker.walk(reply(packet(TCP))).sent


def test_an_icmp_error_passes_if_it_is_about_a_connection_that_was_let_in():
    flows = lower(world(), RuleIds())
    error = {**packet(Probe("x/b", Address("10.0.0.1"), None)), Field.ICMP_TYPE: 3}
    walker = Walker(lower(CLOSED, RuleIds()), established(flows, packet(TCP)))

    assert walker.walk(error, about=packet(TCP)).ports == (port("x/a").ofport,)
    assert not walker.walk(error, about=packet(TCP._replace(port=81))).sent


@share(40)
@given(worlds.inputs(), worlds.inputs())
def test_after_every_bundle_the_switch_does_exactly_what_policy_says(old: Inputs, new: Inputs):
    """A bundle is atomic, so there is nothing between two of these states; what both deny is denied all the way.

    That is why a policy's new program and the end of its old one must be one step: with both in force, one may let a
    packet out and the other let it in, which neither does alone.

    Policy is what is in force: a rule that can no longer be lowered keeps its form.
    """
    engine, switch, now = Engine(HERE, RuleIds(), old.opens), Flows(), old
    new = replace(new, opens=old.opens)
    for fact in old.facts:
        engine.tell(fact, true=True)
    for part in ("pages", "programs", "ports"):
        for one in getattr(old, part).values():
            _put(engine, one)
    for now in chain((old,), _steps(engine, old, new)):
        put, delete = engine.drain()
        switch = applied(switch, Plan(put, tuple(delete)))
        walker, in_force = Walker(switch), replace(now, programs=dict(engine.programs))
        assert {one for one in ALL_PROBES[::2] if arrives(now, walker, one)} == {
            one for one in ALL_PROBES[::2] if allowed(in_force, one)
        }
    assert now == new


def _put(engine: Engine, one: Page | Program | LocalPort) -> None:
    match one:
        case Page():
            engine.put_page(one)
        case Program():
            engine.put_program(one)
        case LocalPort():
            engine.open_port(one)


def _drop(engine: Engine, one: Page | Program | LocalPort) -> None:
    match one:
        case Page():
            engine.drop_page(one.group, one.node)
        case Program():
            engine.drop_program(one.applied_to, one.unit)
        case LocalPort():
            engine.close_port(one.uid)


def _steps(engine: Engine, old: Inputs, new: Inputs) -> Iterator[Inputs]:
    """One thing after the other: what comes or changes first, then what goes."""
    now = old
    for part in ("pages", "programs", "ports"):
        before, after = getattr(old, part), getattr(new, part)
        for key in [key for key, one in after.items() if before.get(key) != one]:
            _put(engine, after[key])
            now = replace(now, **{part: {**getattr(now, part), key: after[key]}})
            yield now
        for key in before.keys() - after.keys():
            _drop(engine, before[key])
            now = replace(now, **{part: {other: one for other, one in getattr(now, part).items() if other != key}})
            yield now
    for fact in sorted(old.facts ^ new.facts):
        engine.tell(fact, true=fact in new.facts)
        now = replace(now, facts=now.facts ^ {fact})
        yield now


NAMED = program(
    worlds.TIER_UNITS[0],
    MINE,
    rule(0, Direction.EGRESS, Action.ALLOW, (FqdnPeer(pattern="*.a.com"),)),
    tier=250,
    priority=1,
)


@pytest.mark.parametrize(
    ("to", "protocol", "port_", "held"),
    [
        ("10.0.0.2", "UDP", 53, True),
        ("fd00::2", "UDP", 53, True),
        ("10.0.0.2", "TCP", 53, True),
        ("fd00::2", "TCP", 53, True),
        ("10.0.0.2", "UDP", 54, False),
        ("10.0.0.2", "TCP", 5353, False),
    ],
)
def test_answers_of_dns_to_pods_that_rules_about_names_apply_to_are_held(to, protocol, port_, held):
    """Neither the questions, nor what others ask."""
    named = Inputs(
        node=HERE,
        programs={(MINE, NAMED.unit): NAMED},
        pages={(MINE, HERE): page(MINE, HERE, member("x/a"))},
        ports={uid(pod): port(pod) for pod in PODS},
    )
    walker = Walker(lower(named, RuleIds()), groups=HOLDING)
    for sender, waits in (("x/a", held), ("x/c", False)):
        question = packet(Probe(sender, Address(to), protocol, port_))
        asked = walker.walk(question)
        assert (asked.ports, asked.punted) == ((port("x/b").ofport,), ())
        answered = walker.walk(reply(question))
        assert answered.punted == ((bytes((Errand.DNS,)),) if waits else ())
        assert answered.ports == (port(sender).ofport,), "held or not, it goes where it goes"
