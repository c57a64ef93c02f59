"""Services: who asks for one gets to an endpoint of it, and hears from the Service."""

from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.contracts import subjects
from sluice.contracts.ids import ALL_NODES, NEVER, Address, NodeName, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import ServiceRef
from sluice.contracts.serving import EndpointPort, EndpointsProgram, ServedEndpoint, ServedPort, ServiceProgram
from sluice.dataplane.ovs.base import BASE, MASKS
from sluice.dataplane.ovs.checking import check
from sluice.dataplane.ovs.errand import Errand
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import FlowBody, FlowKey, Flows, Group, Groups, match
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.parse import read_all
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC, Table
from sluice.dataplane.ovs.ports import LocalPort, mac, port_flows
from sluice.dataplane.ovs.registers import BY_NODE_PORT, FLAGS, FROM_WORLD, SERVICE_PORT, TO_NODE
from sluice.dataplane.ovs.serving import MOST_ENDPOINTS, Serving
from sluice.dataplane.ovs.text import write_all, write_groups
from sluice.dataplane.protocols import EthType, IpProto
from sluice.testkit import golden
from sluice.testkit.examples import share
from sluice.testkit.tracker import Tracker
from sluice.testkit.walker import Walk, Walker

HERE, THERE = NodeName("node-1"), NodeName("node-2")
WEB = ServiceRef(namespace="y", name="web")
VIP, VIP6 = Address("10.96.0.10"), Address("fd00:96::a")
PODS = {
    name: LocalPort(f"x/{name}", Uid(name), number, f"02:00:00:00:00:{number:02x}", (Address(v4), Address(v6)))
    for number, (name, v4, v6) in enumerate(
        [("a", "10.0.0.1", "fd00::1"), ("b", "10.0.0.2", "fd00::2"), ("c", "10.0.0.3", "fd00::3")], start=1
    )
}


def service(**said: object) -> ServiceProgram:
    given_ = {
        "unit": subjects.unit(Kind.SERVICE, "y", "web"),
        "applied_to": ALL_NODES,
        "cause": NEVER,
        "service": WEB,
        "addresses": (VIP, VIP6),
        "ports": (ServedPort(port=80, name="http"),),
    }
    return ServiceProgram(**{**given_, **said})  # type: ignore[arg-type]  # as the struct has them


def endpoints(*pods: str, name: str = "web-1", state: str = "ready", port: int = 8080) -> EndpointsProgram:
    addresses = [address for pod in pods for address in PODS[pod].addresses]
    return EndpointsProgram(
        unit=subjects.unit(Kind.ENDPOINT_SLICE, "y", name),
        applied_to=ALL_NODES,
        cause=NEVER,
        service=WEB,
        ports=(EndpointPort(port=port, name="http"), EndpointPort(port=port, name="dns", protocol="UDP")),
        endpoints=tuple(
            sorted(ServedEndpoint(address=address, node=HERE, state=state) for address in addresses)  # type: ignore[arg-type]  # a literal
        ),
    )


class Switch:
    """What the Services of a node come to, step by step."""

    def __init__(self, *programs: ServiceProgram | EndpointsProgram, ids: RuleIds | None = None) -> None:
        self.serving = Serving(HERE, RuleIds() if ids is None else ids)
        self.flows: Flows = {}
        self.groups: Groups = {}
        self.touched = 0
        self.tracker = Tracker()
        self.step(*programs)

    def step(self, *programs: ServiceProgram | EndpointsProgram, drop: Iterable[Unit] = ()) -> Walker:
        for program in programs:
            self.serving.put(program)
        for unit in drop:
            self.serving.drop(unit)
        changes = self.serving.drain()
        self.touched = len(changes.flows) + len(changes.groups)
        for key, body in changes.flows.items():
            if body is None:
                del self.flows[key]
            else:
                check(key, body)
                self.flows[key] = body
        for number, buckets in changes.groups.items():
            if buckets is None:
                del self.groups[number]
            else:
                self.groups[number] = buckets
        self.walker = Walker(self.walker_flows(), self.tracker, self.groups)
        return self.walker

    def walker_flows(self) -> Flows:
        """All flows of the node."""
        ports: Flows = {}
        for port in PODS.values():
            ports |= port_flows(port, port.addresses)
        return BASE | ports | self.flows


def packet(
    source: str, target: str, port: int = 80, source_port: int = 40000, *, udp: bool = False
) -> dict[Field, int]:
    """What a Pod sends."""
    old = ip_address(target).version == 4
    from_ = PODS[source].addresses[0 if old else 1]
    proto, source_field, target_field = (
        (IpProto.UDP, Field.UDP_SRC, Field.UDP_DST) if udp else (IpProto.TCP, Field.TCP_SRC, Field.TCP_DST)
    )
    return {
        Field.IN_PORT: PODS[source].ofport,
        Field.ETH_SRC: mac(PODS[source].mac),
        Field.ETH_DST: VIRTUAL_MAC,
        Field.ETH_TYPE: EthType.IPV4 if old else EthType.IPV6,
        (Field.IPV4_SRC if old else Field.IPV6_SRC): int(ip_address(from_)),
        (Field.IPV4_DST if old else Field.IPV6_DST): int(ip_address(target)),
        Field.IP_PROTO: proto,
        source_field: source_port,
        target_field: port,
    }


def seen(walk: Walk) -> tuple[int, str, int, str, int]:
    """Where the one packet came out: port, source and its port, target and its port."""
    (sent,) = walk.sent
    one = sent.packet
    old = one[Field.ETH_TYPE] == EthType.IPV4
    source, target = (Field.IPV4_SRC, Field.IPV4_DST) if old else (Field.IPV6_SRC, Field.IPV6_DST)
    udp = one[Field.IP_PROTO] == IpProto.UDP
    ports = (Field.UDP_SRC, Field.UDP_DST) if udp else (Field.TCP_SRC, Field.TCP_DST)
    from_, to = (str(ip_address(one[field].to_bytes(4 if old else 16, "big"))) for field in (source, target))
    return sent.port, from_, one[ports[0]], to, one[ports[1]]


@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_keeps_the_endpoint_that_it_was_given(version: int):
    switch = Switch(service(), endpoints("b", "c"))
    vip = VIP if version == 4 else VIP6
    a, b, c = (PODS[name].addresses[0 if version == 4 else 1] for name in "abc")

    for number, (pod, to) in enumerate([(2, b), (3, c), (2, b)]):
        switch.walker.chosen = number
        asked = packet("a", vip, source_port=40000 + number)
        assert seen(switch.walker.walk(asked)) == (pod, a, 40000 + number, to, 8080)
        switch.walker.chosen = number + 1
        assert seen(switch.walker.walk(asked)) == (pod, a, 40000 + number, to, 8080)  # it was sent again
        answer = packet("b" if pod == 2 else "c", a, 40000 + number, 8080)
        assert seen(switch.walker.walk(answer)) == (1, vip, 80, a, 40000 + number)
        assert seen(switch.walker.walk(asked)) == (pod, a, 40000 + number, to, 8080)


@pytest.mark.parametrize("version", [4, 6])
def test_a_pod_that_asks_itself_hears_the_service(version: int):
    switch = Switch(service(), endpoints("a"))
    vip = VIP if version == 4 else VIP6
    a, other = PODS["a"].addresses[0 if version == 4 else 1], str(ip_address(MASKS[version]))

    asked, answer = packet("a", vip), packet("a", other, 40000, 8080)

    for _ in range(2):
        assert seen(switch.walker.walk(asked)) == (1, other, 40000, a, 8080)
        assert seen(switch.walker.walk(answer)) == (1, vip, 80, a, 40000)


def test_nobody_may_answer_before_policy_let_the_question_in():
    """The tracker knows the connection from the moment its endpoint was chosen."""
    ids = RuleIds()
    switch = Switch(service(), endpoints("b"), ids=ids)
    drops = {FlowKey(Table.EGRESS_TIER, 5, ()): FlowBody((), 0x51CE << 48 | 4 << 40)}
    closed = Walker(switch.walker_flows() | drops, switch.tracker, switch.groups)

    assert closed.walk(packet("a", VIP)).sent == ()
    assert closed.walk(packet("b", "10.0.0.1", 40000, 8080)).sent == ()
    assert closed.walk(packet("a", VIP)).sent == ()


def test_a_first_packet_that_comes_again_is_still_for_the_service():
    switch = Switch(service(), endpoints("b", "c"))
    (number,) = switch.serving.numbers(WEB)
    to_service = FlowKey(Table.EGRESS_TIER, 5, match((SERVICE_PORT, number)))
    closed = Walker(
        switch.walker_flows() | {to_service: FlowBody((), 0x51CE << 48 | 4 << 40)}, switch.tracker, switch.groups
    )

    assert closed.walk(packet("a", VIP)).sent == ()
    assert closed.walk(packet("a", VIP)).sent == ()
    assert closed.walk(packet("a", "10.0.0.2", 8080, 40001)).ports == (2,)
    assert seen(switch.walker.walk(packet("a", VIP)))[0] == 2


OTHERS = [
    ("another port", packet("a", VIP, 81), ()),
    ("another protocol", packet("a", VIP, 80, udp=True), ()),
    ("the endpoint itself", packet("a", "10.0.0.2", 8080), (2,)),
    ("the endpoint on the Service's port", packet("a", "10.0.0.2", 80), (2,)),
]


@pytest.mark.parametrize(("sent", "ports"), [case[1:] for case in OTHERS], ids=[case[0] for case in OTHERS])
def test_what_is_not_for_the_service(sent: dict[Field, int], ports: tuple[int, ...]):
    assert Switch(service(), endpoints("b")).walker.walk(sent).ports == ports


def test_who_asks_a_service_without_endpoints_hears_that():
    switch = Switch(service())

    assert switch.walker.walk(packet("a", VIP)).punted == (bytes((Errand.REJECT,)),)
    assert switch.groups == {}


def test_what_ends_serves_while_nothing_else_does():
    ending = endpoints("b", name="web-2", state="ending")
    switch = Switch(service(), endpoints("c"), ending)

    assert {seen(switch.walker.walk(packet("a", VIP, source_port=port)))[0] for port in range(40000, 40004)} == {3}
    switch.step(drop=[endpoints("c").unit])
    assert seen(switch.walker.walk(packet("a", VIP, source_port=50000)))[0] == 2


def test_endpoints_of_other_nodes_are_left_out_where_they_have_to_be():
    far = endpoints("c", name="web-2")
    moved = tuple(ServedEndpoint(address=one.address, node=THERE) for one in far.endpoints)
    far = replace(far, endpoints=moved)
    switch = Switch(service(here_only=True), endpoints("b"), far)

    assert all(len(buckets) == 1 for buckets in switch.groups.values())
    switch.step(service(here_only=True), drop=[endpoints("b").unit])
    assert switch.walker.walk(packet("a", VIP)).punted == (bytes((Errand.REJECT,)),)


@pytest.mark.parametrize(("inwards", "outwards"), [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("affinity_s", [0, 100])
def test_a_pod_gets_any_endpoint_by_a_node_port(inwards: bool, outwards: bool, affinity_s: int):
    """Its own node serves it whichever node it asked; the world gets those of the node, if it has to."""
    far = endpoints("c", name="web-2")
    far = replace(far, endpoints=tuple(replace(one, node=THERE) for one in far.endpoints))
    port = ServedPort(port=80, name="http", node_port=30080)
    wanted = service(ports=(port,), here_only=inwards, node_port_here_only=outwards, affinity_s=affinity_s)
    switch = Switch(wanted, endpoints("b"), far)

    def choice(flags: int, number: int, to: str = VIP) -> int:
        """How many endpoints there are for such a packet."""
        table = Table.CHOICE if affinity_s else Table.SERVICE
        asks = {FLAGS: flags} | ({SERVICE_PORT: number} if affinity_s else {})
        flow = switch.walker.look_up(table, packet("a", to, 30080 if flags else 80) | asks)
        assert flow is not None
        (group,) = (action.id for action in switch.flows[flow].actions if isinstance(action, Group))
        return len(switch.groups[group])

    assert choice(0, 1) == (1 if inwards else 2)
    assert choice(TO_NODE, 1 | BY_NODE_PORT) == 2
    assert choice(TO_NODE | FROM_WORLD, 1 | BY_NODE_PORT) == (1 if outwards else 2)


def test_a_client_has_the_endpoint_that_it_had():
    switch = Switch(service(affinity_s=100), endpoints("b", "c"))
    walker = switch.walker

    first = seen(walker.walk(packet("a", VIP)))[0]
    walker.chosen = 1
    assert seen(walker.walk(packet("a", VIP, source_port=40001)))[0] == first
    assert seen(walker.walk(packet("b", VIP, source_port=40001)))[0] == 3
    assert seen(walker.walk(packet("b", VIP, source_port=40002)))[0] == 3
    learning = [body for key, body in switch.flows.items() if key.table == Table.LEARN]
    learnt = learning[0]
    cookies = {body.actions[0].cookie for body in learning}  # type: ignore[union-attr]  # they learn
    assert len(cookies) == len(learning)  # what is learnt goes with its endpoint, and with no other
    assert learnt.actions[0].idle_timeout_s == 100  # type: ignore[union-attr]  # it learns


def test_an_endpoint_more_changes_its_own_flows_and_the_groups():
    switch = Switch(service(), endpoints("b"))

    switch.step(endpoints("b", "c"))

    assert switch.touched == 4  # a flow and a group for each IP version
    switch.step(drop=[endpoints("b").unit])
    switch.step(drop=[service().unit])
    assert (switch.flows, switch.groups) == ({}, {})


def test_endpoints_over_udp_that_are_gone_are_told():
    dns = service(ports=(ServedPort(port=53, name="dns", protocol="UDP"),))
    serving = Serving(HERE, RuleIds())
    for program in (
        dns,
        endpoints("b", "c"),
        service(unit=Unit("services:y:tcp"), service=ServiceRef(namespace="y", name="tcp")),
    ):
        serving.put(program)
    assert serving.drain().gone == frozenset()

    serving.put(endpoints("c", state="ending"))
    assert serving.drain().gone == {(address, 8080) for address in PODS["b"].addresses}
    serving.drop(dns.unit)
    assert serving.drain().gone == {(address, 8080) for address in PODS["c"].addresses}


def test_more_endpoints_than_a_group_takes_are_told():
    many = tuple(ServedEndpoint(address=Address(f"10.1.{number >> 8}.{number & 255}")) for number in range(1400))
    one = endpoints("b")
    switch = Switch(service(), replace(one, endpoints=many))

    assert max(map(len, switch.groups.values())) == MOST_ENDPOINTS
    (problem,) = switch.serving.problems()
    assert "1400 endpoints" in problem.reason


def test_numbers_outlive_the_process():
    ids = RuleIds()
    before = Switch(service(), endpoints("b", "c"), ids=ids)

    after = Switch(endpoints("c", "b"), service(), ids=RuleIds.restore(ids.state()))

    assert (after.flows, after.groups) == (before.flows, before.groups)


STEPS = st.lists(
    st.one_of(
        st.builds(
            service,
            ports=st.sampled_from(
                [
                    (ServedPort(port=80, name="http"),),
                    (ServedPort(port=53, name="dns", protocol="UDP", node_port=30053),),
                ]
            ),
            affinity_s=st.sampled_from([0, 60]),
            addresses=st.sampled_from([(VIP,), (VIP, VIP6)]),
        ),
        st.builds(
            endpoints,
            st.sampled_from("abc"),
            name=st.sampled_from(["one", "two"]),
            state=st.sampled_from(["ready", "ending"]),
        ),
        st.sampled_from([service().unit, endpoints("a", name="one").unit, endpoints("a", name="two").unit]),
    ),
    max_size=8,
)


@share(40)
@given(STEPS)
def test_steps_come_to_what_the_end_says(steps: list[ServiceProgram | EndpointsProgram | Unit]):
    ids = RuleIds()
    switch = Switch(ids=ids)
    held: dict[Unit, ServiceProgram | EndpointsProgram] = {}
    for one in steps:
        if isinstance(one, str):
            held.pop(one, None)
            switch.step(drop=[one])
        else:
            held[one.unit] = one
            switch.step(one)
        numbers = {action.id for body in switch.flows.values() for action in body.actions if isinstance(action, Group)}
        assert numbers == switch.groups.keys()

    afresh = Switch(*held.values(), ids=RuleIds.restore(ids.state()))
    assert (afresh.flows, afresh.groups) == (switch.flows, switch.groups)
    assert read_all(write_all(switch.flows)) == switch.flows
    assert len(ids.service_ports) == len(switch.serving.numbers(WEB))


def test_golden():
    web = Switch(service(ports=(ServedPort(port=80, name="http", node_port=30080),)), endpoints("b", "c"))
    sticky = Switch(
        service(affinity_s=10_800, addresses=(Address("10.96.0.11"),), ports=(ServedPort(port=80, name="http"),)),
        endpoints("b"),
    )

    golden.check(Path(__file__).parent / "golden/service.flows", write_all(web.flows))
    golden.check(Path(__file__).parent / "golden/service.groups", write_groups(web.groups))
    golden.check(Path(__file__).parent / "golden/service-affinity.flows", write_all(sticky.flows))
