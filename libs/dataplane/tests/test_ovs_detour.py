"""The way through the inspection engine: whatever a rule about requests lets pass goes by it, both ways, or nowhere."""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple, TypeGuard

import pytest
from msgspec.structs import replace

from sluice.contracts import subjects
from sluice.contracts.ids import ALL_NODES, NEVER, Address, GroupId, NodeName, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.l7 import HttpMatch
from sluice.contracts.programs import (
    BlockPeer,
    Direction,
    GroupPeer,
    PortRange,
    Program,
    ServiceRef,
    Traffic,
    TransportTraffic,
)
from sluice.contracts.serving import EndpointPort, EndpointsProgram, ServedEndpoint, ServedPort, ServiceProgram
from sluice.dataplane.l7.wanted import rule_set
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.base import BASE
from sluice.dataplane.ovs.checking import check
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.detour import Detour, lower_detour
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.errand import Errand
from sluice.dataplane.ovs.fields import TCP_RST, TCP_SYN, Field
from sluice.dataplane.ovs.flow import Flows, SetField
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.lower import Inputs, lower
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.dataplane.ovs.ports import LocalPort, mac
from sluice.dataplane.ovs.registers import L7_VLANS
from sluice.dataplane.ovs.serving import Serving
from sluice.dataplane.ovs.text import write_all
from sluice.dataplane.protocols import EthType, IpProto
from sluice.testkit import golden, worlds
from sluice.testkit.detour import PORTS, Inspected, inspected, wire
from sluice.testkit.tracker import Packet, Tracker
from sluice.testkit.walker import Walker
from sluice.testkit.worlds import HERE, allow, member, page, program

GOLDEN = Path(__file__).parent / "golden"
IN, OUT = Direction.INGRESS, Direction.EGRESS
WEB, CLIENTS = GroupId("web"), GroupId("clients")
CLIENT, SERVER = "x/b", "x/a"
VIP = {4: "10.96.0.10", 6: "fd00:96::a"}


def about_requests(unit: str, group: GroupId, direction: Direction, path: str) -> Program:
    rule = replace(allow(0, direction), l7=(HttpMatch(path=path),), name="web")
    return program(subjects.unit(Kind.ANTREA_NETWORK_POLICY, "x", unit), group, rule, tier=250, priority=5)


LETS_IN = about_requests("in", WEB, IN, "/public/*")
LETS_OUT = about_requests("out", CLIENTS, OUT, "/*")


def digest(of: Program) -> str:
    found = rule_set(of.origin, of.rules[0])
    assert found is not None
    return found.digest


NOTHING = Inspected((), (), (), ())
VLANS = {digest(LETS_IN): 7, digest(LETS_OUT): 8}
NUDGE = {Field.ETH_SRC: 0x02_00_00_00_00_02, Field.ETH_DST: 0x02_00_00_00_00_01, Field.ETH_TYPE: 0x88B5}
"""By which node-l7 wakes the engine."""


def ports() -> dict[Uid, LocalPort]:
    found = [
        LocalPort(pod, Uid(f"uid-{pod}"), number, f"02:00:00:00:00:{number:02x}", worlds.addresses(pod))
        for number, pod in enumerate((SERVER, CLIENT), start=1)
    ]
    return {port.uid: port for port in found}


def inputs(*programs: Program, vlans: Mapping[str, int] = VLANS) -> Inputs:
    pages = [page(WEB, HERE, member(SERVER)), page(CLIENTS, HERE, member(CLIENT))]
    return Inputs(
        node=HERE,
        programs={(one.applied_to, one.unit): one for one in programs},
        pages={(one.group, one.node): one for one in pages},
        ports=ports(),
        vlans=vlans,
    )


class Node:
    """A node with these programs; connections outlive what changes."""

    def __init__(self, *programs: Program) -> None:
        self.ids, self.tracker = RuleIds(), Tracker()
        self.serving = Serving(HERE, self.ids)
        self.service()
        self.change(*programs)

    def service(self) -> None:
        ref = ServiceRef(namespace="y", name="web")
        endpoints = tuple(ServedEndpoint(address=one, node=HERE, state="ready") for one in worlds.addresses(SERVER))
        self.serving.put(
            ServiceProgram(
                unit=subjects.unit(Kind.SERVICE, "y", "web"),
                addresses=tuple(Address(text) for text in VIP.values()),
                ports=(ServedPort(port=80, name="http"),),
                applied_to=ALL_NODES,
                cause=NEVER,
                service=ref,
            )
        )
        self.serving.put(
            EndpointsProgram(
                unit=subjects.unit(Kind.ENDPOINT_SLICE, "y", "web-1"),
                ports=(EndpointPort(port=8080, name="http"),),
                endpoints=endpoints,
                applied_to=ALL_NODES,
                cause=NEVER,
                service=ref,
            )
        )
        self.served = self.serving.drain()

    def change(
        self,
        *programs: Program,
        vlans: Mapping[str, int] = VLANS,
        tag: int = 3,
        deserted: tuple[int, ...] = (),
    ) -> None:
        flows = lower(inputs(*programs, vlans=vlans), self.ids)
        flows |= {key: body for key, body in self.served.flows.items() if body is not None}
        flows |= lower_detour(PORTS, frozenset(vlans.values()), tag, deserted)
        for key, body in flows.items():
            check(key, body)
        groups = {number: made for number, made in self.served.groups.items() if made is not None}
        self.walker = Walker(flows, self.tracker, groups)

    def send(self, packet: Packet, *, passes: bool = True) -> Inspected:
        return inspected(self.walker, packet, lambda _: passes)


def packet(
    source: str, target: str, *, port: int = 80, source_port: int = 40000, flags: int = TCP_SYN
) -> dict[Field, int]:
    """What a Pod sends by TCP to an address."""
    plug = ports()[Uid(f"uid-{source}")]
    version = ip_address(target).version
    from_ = next(one for one in map(ip_address, plug.addresses) if one.version == version)
    return {
        Field.IN_PORT: plug.ofport,
        Field.ETH_SRC: mac(plug.mac),
        Field.ETH_DST: VIRTUAL_MAC,
        Field.ETH_TYPE: EthType.IPV4 if version == 4 else EthType.IPV6,
        Field.IPV4_SRC if version == 4 else Field.IPV6_SRC: int(from_),
        Field.IPV4_DST if version == 4 else Field.IPV6_DST: int(ip_address(target)),
        Field.IP_PROTO: IpProto.TCP,
        Field.TCP_SRC: source_port,
        Field.TCP_DST: port,
        Field.TCP_FLAGS: flags,
    }


def answer(to: Packet, from_: str) -> dict[Field, int]:
    """What the Pod that got it sends back."""
    plug = ports()[Uid(f"uid-{from_}")]
    back = {**to, Field.IN_PORT: plug.ofport, Field.ETH_SRC: mac(plug.mac), Field.ETH_DST: VIRTUAL_MAC}
    swapped = ((Field.IPV4_SRC, Field.IPV4_DST), (Field.IPV6_SRC, Field.IPV6_DST), (Field.TCP_SRC, Field.TCP_DST))
    for one, other in swapped:
        if one in to:
            back[one], back[other] = to[other], to[one]
    return back


def ends(one: Packet) -> tuple[int, ...]:
    fields = (Field.IPV4_SRC, Field.IPV6_SRC, Field.TCP_SRC, Field.IPV4_DST, Field.IPV6_DST, Field.TCP_DST)
    return tuple(one[field] for field in fields if field in one)


def tags(found: Inspected) -> list[int]:
    return [one[Field.VLAN_VID] & 0xFFF for one in found.seen]


class Case(NamedTuple):
    name: str
    programs: tuple[Program, ...]
    there: list[int]
    """VLANs that a packet to the server has, one after the other."""

    back: list[int]


CASES = [
    Case("ingress", (LETS_IN,), [7], [7]),
    Case("egress", (LETS_OUT,), [8], [8]),
    Case("both", (LETS_IN, LETS_OUT), [8, 7], [7, 8]),
    Case("neither", (), [], []),
]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("asked", ["the Pod", "the Service"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_both_ways_go_by_the_engine_with_the_addresses_of_the_ends(case: Case, asked: str, version: int):
    node = Node(*case.programs)
    server = worlds.addresses(SERVER)[0 if version == 4 else 1]
    sent = packet(CLIENT, server, port=8080) if asked == "the Pod" else packet(CLIENT, VIP[version])

    for _ in range(2):  # the first packet of the connection, then others
        there = node.send(sent)
        (arrived,) = there.sent
        back = node.send(answer(wire(arrived), SERVER))
        (returned,) = back.sent

        assert (arrived.port, returned.port) == (1, 2)
        assert (tags(there), tags(back)) == (case.there, case.back)
        assert set(there.tags + back.tags) <= {3}
        assert {ends(one) for one in there.seen} <= {ends(packet(CLIENT, server, port=8080))}
        assert {ends(one) for one in back.seen} <= {ends(answer(packet(CLIENT, server, port=8080), SERVER))}
        assert ends(returned.packet) == ends(answer(sent, CLIENT))  # from whom the client asked


@pytest.mark.parametrize("asked", ["the Pod", "the Service"])
@pytest.mark.parametrize("case", CASES[:3], ids=[case.name for case in CASES[:3]])
def test_what_the_engine_resets_is_reset_at_both_ends_and_dead(case: Case, asked: str):
    node = Node(*case.programs)
    server = worlds.addresses(SERVER)[0]
    sent = packet(CLIENT, server, port=8080) if asked == "the Pod" else packet(CLIENT, VIP[4])
    (arrived,) = node.send(sent).sent
    back = answer(wire(arrived), SERVER)
    node.send(back)

    found = node.send(sent, passes=False)  # of a reset that goes on by the engine as well, it makes no other one
    to_client = [one for one in found.sent if one.port == 2]

    assert ends(to_client[0].packet) == ends(answer(sent, CLIENT))
    assert to_client[0].packet[Field.TCP_FLAGS] == TCP_RST
    assert all(one.packet[Field.TCP_FLAGS] == TCP_RST for one in found.sent)
    for late in (sent, back):
        after = node.send(late)
        assert (after.sent, after.seen) == ((), ())
        assert after.punted == (bytes((Errand.L7,)),)
        assert node.send({**late, Field.TCP_FLAGS: TCP_RST}) == NOTHING  # resets are never answered


def test_a_connection_keeps_its_tag_and_the_next_one_has_another():
    """The engine drops what looks like a connection that it rejected, for minutes."""
    node = Node(LETS_IN, LETS_OUT)
    first, second = (packet(CLIENT, VIP[4], source_port=number) for number in (40000, 40001))
    (arrived,) = node.send(first).sent
    node.change(LETS_IN, LETS_OUT, tag=4094)

    assert set(node.send(answer(wire(arrived), SERVER)).tags) == {3}
    assert set(node.send(first).tags) == {3}
    (arrived,) = node.send(second).sent
    assert set(node.send(answer(wire(arrived), SERVER)).tags) == {4094}
    assert set(node.send(second).tags) == {4094}


def test_of_a_reset_the_programmer_is_told():
    node = Node(LETS_IN)
    sent = packet(CLIENT, VIP[4])
    (arrived,) = node.send(sent).sent
    node.send(answer(wire(arrived), SERVER))

    assert node.send(sent, passes=False).punted == (bytes((Errand.L7_RESET,)),)


def test_a_reset_for_the_server_of_what_it_said_first_gets_there():
    node = Node(LETS_IN)
    (arrived,) = node.send(packet(CLIENT, worlds.addresses(SERVER)[0])).sent

    found = node.send(answer(wire(arrived), SERVER), passes=False)

    assert sorted(one.port for one in found.sent) == [1, 2]


@pytest.mark.parametrize("case", CASES[:3], ids=[case.name for case in CASES[:3]])
def test_nothing_passes_while_the_engine_has_not_shown_the_rules(case: Case):
    node = Node(*case.programs)
    sent = packet(CLIENT, worlds.addresses(SERVER)[0])
    (arrived,) = node.send(sent).sent
    back = answer(wire(arrived), SERVER)
    node.send(back)

    node.change(*case.programs, vlans={})
    late = packet(CLIENT, worlds.addresses(SERVER)[0], source_port=40001)

    assert [node.send(one) for one in (sent, back, late)] == [NOTHING] * 3


def test_a_connection_stays_on_its_way_when_its_rule_goes():
    """Its VLAN has rules that reject everything, or is none of the engine's any more."""
    node = Node(LETS_IN)
    sent = packet(CLIENT, worlds.addresses(SERVER)[0])
    (arrived,) = node.send(sent).sent
    node.send(answer(wire(arrived), SERVER))

    node.change()

    assert tags(node.send(sent)) == [7]
    node.change(vlans={})
    assert node.send(sent) == NOTHING


@pytest.mark.parametrize("asked", ["the Pod", "the Service"])
@pytest.mark.parametrize("case", CASES[:3], ids=[case.name for case in CASES[:3]])
@pytest.mark.parametrize("first", ["there", "back"])
def test_a_connection_whose_rule_is_gone_is_reset_at_both_ends_with_its_next_packet(case: Case, asked: str, first: str):
    """Whoever sends it, and whichever of its rules it is; the engine sees nothing of it."""
    for gone in case.there:
        node = Node(*case.programs)
        sent = packet(CLIENT, worlds.addresses(SERVER)[0], port=8080) if asked == "the Pod" else packet(CLIENT, VIP[4])
        (arrived,) = node.send(sent).sent
        back = answer(wire(arrived), SERVER)
        node.send(back)

        rest = {name: vlan for name, vlan in VLANS.items() if vlan != gone}
        node.change(vlans=rest, deserted=(gone, 9))
        late = (sent, back) if first == "there" else (back, sent)
        for one in late:
            found = node.send(one)
            assert (found.sent, found.seen) == ((), ())
            assert found.punted == (bytes((Errand.L7,)),)
        node.change(vlans=rest)  # whoever has the VLAN next has nothing to do with it
        assert node.send(sent).punted == (bytes((Errand.L7,)),)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("asked", ["the Pod", "the Service"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_an_answer_begins_no_connection_whose_requests_are_judged(case: Case, asked: str, version: int):
    """The tracker has forgotten it: else what the client says next would pass as answers, judged by nobody."""
    node = Node(*case.programs)
    server = worlds.addresses(SERVER)[0 if version == 4 else 1]
    sent = packet(CLIENT, server, port=8080) if asked == "the Pod" else packet(CLIENT, VIP[version])
    (arrived,) = node.send(sent).sent
    back = answer({**wire(arrived), Field.TCP_FLAGS: 0}, SERVER)
    node.send(back)

    node.tracker.flush()
    found = node.send(back)
    later = node.send({**sent, Field.TCP_FLAGS: 0})

    if case.there:
        assert (found.sent, found.seen, found.punted) == ((), (), (bytes((Errand.L7,)),))
    else:
        assert [one.port for one in found.sent] == [2]
    assert tags(later) == case.there


def tcp(ports: PortRange | str, source_ports: PortRange | None = None) -> TransportTraffic:
    return TransportTraffic(protocol="TCP", ports=ports, source_ports=source_ports)


DATAGRAMS = TransportTraffic(protocol="UDP", ports=PortRange(80, 80))
BEGUN: list[tuple[str, tuple[Traffic, ...] | None, set[int]]] = [
    ("all of it", None, {80, 81, 5000}),
    ("a port", (tcp(PortRange(80, 80)),), {80}),
    ("ports, from others", (tcp(PortRange(80, 81), PortRange(1, 9)), DATAGRAMS), set()),
    ("ports, from this one", (tcp(PortRange(80, 81), PortRange(40000, 40000)), DATAGRAMS), {80, 81}),
    ("what is no TCP", (DATAGRAMS,), set()),
    ("a name", (tcp("web"), DATAGRAMS), {80, 81, 5000}),
]


@pytest.mark.parametrize("direction", [IN, OUT])
@pytest.mark.parametrize(("name", "traffic", "kept"), BEGUN, ids=[name for name, *_ in BEGUN])
def test_what_may_be_an_answer_is_known_by_the_ports_of_the_rule(
    name: str, traffic: tuple[Traffic, ...] | None, kept: set[int], direction: Direction
):
    """All else of the Pod goes on, whatever the tracker has forgotten."""
    there = LETS_IN if direction is IN else LETS_OUT
    peers = (GroupPeer(group=WEB),) if direction is OUT else None
    node = Node(replace(there, rules=(replace(there.rules[0], traffic=traffic, peers=peers),)))

    for port in (80, 81, 5000):
        back = packet(SERVER, worlds.addresses(CLIENT)[0], port=40000, source_port=port, flags=0)
        assert node.send(back).punted == ((bytes((Errand.L7,)),) if port in kept else ())
        assert [one.port for one in node.send({**back, Field.TCP_FLAGS: TCP_SYN}).sent] == [2]


def test_another_rule_that_goes_leaves_a_connection_alone():
    node = Node(LETS_IN, LETS_OUT)
    sent = packet(CLIENT, VIP[4])
    (arrived,) = node.send(sent).sent

    node.change(LETS_IN, LETS_OUT, deserted=(1, 6, 9, 4094))

    assert tags(node.send(answer(wire(arrived), SERVER))) == [7, 8]
    assert tags(node.send(sent)) == [8, 7]


@pytest.mark.parametrize("case", CASES[:3], ids=[case.name for case in CASES[:3]])
def test_what_is_not_tcp_is_dropped(case: Case):
    node = Node(*case.programs)
    sent = packet(CLIENT, worlds.addresses(SERVER)[0])
    udp = {Field.UDP_SRC: sent.pop(Field.TCP_SRC), Field.UDP_DST: sent.pop(Field.TCP_DST)}
    echo = {**sent, Field.IP_PROTO: IpProto.ICMP, Field.ICMP_TYPE: 8}

    assert node.send({**sent, **udp, Field.IP_PROTO: IpProto.UDP}) == NOTHING
    assert node.send(echo) == NOTHING


def test_the_engines_ports_give_nothing_else_back():
    node = Node(LETS_IN)
    sent = packet(CLIENT, worlds.addresses(SERVER)[0])
    (seen,) = node.send(sent).seen

    assert node.send({**seen, Field.IN_PORT: PORTS.into}).sent == ()  # its resets are copied to that port
    assert node.send({**sent, Field.IN_PORT: PORTS.out}).sent == ()
    assert node.send({**seen, Field.IN_PORT: PORTS.out, Field.IP_PROTO: IpProto.UDP}).sent == ()
    for port in PORTS:
        assert node.send({Field.IN_PORT: port, **NUDGE}) == NOTHING


def test_a_pod_that_is_given_itself_goes_by_the_engine_too():
    node = Node(LETS_IN)
    sent = packet(SERVER, VIP[4])

    there = node.send(sent)
    (arrived,) = there.sent

    # A Pod may always reach itself: nobody's ingress rule is asked.
    assert (arrived.port, tags(there)) == (1, [])


def test_the_engine_of_flows_follows_what_is_in_force():
    """Step by step it comes to what `lower` makes from scratch."""
    ids = RuleIds()
    engine, detour = Engine(NodeName(HERE), ids), Detour()
    ways: Flows = {}
    given = inputs(LETS_IN, LETS_OUT)
    for port in given.ports.values():
        engine.open_port(port)
    for members in given.pages.values():
        engine.put_page(members)
    for wanted in given.programs.values():
        engine.put_program(wanted)
    for tag, vlans in enumerate(({}, VLANS, {digest(LETS_IN): 9}, VLANS)):
        engine.inspect(vlans)
        deserted = tuple(range(1, 1 + tag % 3))
        for key, body in detour.use(PORTS, vlans, tag, deserted):
            if body is None:
                del ways[key]
            else:
                ways[key] = body
        assert engine.flows == lower(inputs(LETS_IN, LETS_OUT, vlans=vlans), ids)
        assert ways == lower_detour(PORTS, frozenset(vlans.values()), tag, deserted)
        waits = {problem.unit for problem in engine.problems()}
        assert waits == {one.unit for one in (LETS_IN, LETS_OUT) if digest(one) not in vlans}


def test_a_rule_whose_entries_change_goes_by_the_old_ones_until_the_new_ones_are_in_force():
    """Unless it is about other packets as well: for those the old entries were not meant."""
    engine, new = Engine(NodeName(HERE), RuleIds()), about_requests("in", WEB, IN, "/other/*")
    ways = [({**VLANS}, 7), ({digest(new): 7}, 7), ({}, None)]
    narrowed = replace(new, rules=(replace(new.rules[0], peers=(BlockPeer(cidr="10.0.0.0/8"),)),))
    for given in inputs().pages.values():
        engine.put_page(given)
    for port in ports().values():
        engine.open_port(port)

    def vlan() -> int | None:
        bodies = [body for body in engine.flows.values() if cookies.unpack(body.cookie) == (CookieKind.RULE, 1)]
        (found,) = {next((one.value >> 12 for one in body.actions if is_vlans(one)), None) for body in bodies}
        return found

    engine.inspect(VLANS)
    engine.put_program(LETS_IN)
    assert vlan() == 7
    engine.put_program(new)
    assert [problem.state for problem in engine.problems()] == ["waiting"]
    for vlans, expected in ways:
        engine.inspect(vlans)
        assert vlan() == expected
    engine.inspect({digest(new): 7})
    assert vlan() == 7
    engine.put_program(replace(narrowed, rules=(replace(narrowed.rules[0], l7=(HttpMatch(path="/x"),)),)))
    assert vlan() is None


def is_vlans(action: object) -> TypeGuard[SetField]:
    return isinstance(action, SetField) and action.field is L7_VLANS


def test_golden():
    flows = lower(inputs(LETS_IN, LETS_OUT), RuleIds()) | lower_detour(PORTS, frozenset(VLANS.values()), 3, (9,))
    without = lower(inputs(), RuleIds())

    assert BASE.items() <= without.items() <= flows.items()
    golden.check(GOLDEN / "requests.flows", write_all({key: flows[key] for key in flows.keys() - without.keys()}))
