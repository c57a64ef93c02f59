"""Law 2: after every step the engine's flows are what lowering the same inputs from scratch gives."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import subjects
from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import Address, GroupId, NodeName, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import (
    Action,
    BlockPeer,
    Direction,
    GroupPeer,
    PortRange,
    ServicePeer,
    ServiceRef,
    TransportTraffic,
)
from sluice.dataplane.addresses import address
from sluice.dataplane.ovs.cookies import CookieKind, unpack
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.flow import Conjunction, Flows, SetField
from sluice.dataplane.ovs.fqdn import Fact
from sluice.dataplane.ovs.fqdn_values import Opens
from sluice.dataplane.ovs.ids import ISOLATION, LANES, RuleIds, RuleKey
from sluice.dataplane.ovs.lower import Inputs, lower
from sluice.dataplane.ovs.pipeline import Table
from sluice.dataplane.ovs.plan import Plan, applied
from sluice.dataplane.ovs.ports import LocalPort, destination
from sluice.dataplane.ovs.registers import OUT_PORT
from sluice.testkit import worlds
from sluice.testkit.examples import share
from sluice.testkit.worlds import HERE, PODS, UNITS, addresses, allow, member, page, port, program, rule, uid

TCP_80 = TransportTraffic(protocol="TCP", ports=PortRange(80, 80))


class Twin:
    """An engine, the inputs that it was given, and a switch that gets what it drains."""

    def __init__(self, rules_per_lane: int = 1024, opens: Opens = Opens.RESOLVER) -> None:
        self.ids = RuleIds(rules_per_lane)
        self.engine = Engine(HERE, self.ids, opens)
        self.opens = opens
        self.facts: set[Fact] = set()
        self.pages: dict[tuple[GroupId, NodeName], Page] = {}
        self.ports: dict[Uid, LocalPort] = {}
        self.switch: Flows = {}

    def begin(self, world: Inputs) -> None:
        for one in world.pages.values():
            self.put_page(one)
        for program_ in world.programs.values():
            self.engine.put_program(program_)
        for port_ in world.ports.values():
            self.open_port(port_)
        for fact in world.facts:
            self.tell(fact, true=True)

    def put_page(self, one: Page) -> None:
        self.pages[one.group, one.node] = one
        self.engine.put_page(one)

    def drop_page(self, group: GroupId, node: NodeName) -> None:
        self.pages.pop((group, node), None)
        self.engine.drop_page(group, node)

    def open_port(self, one: LocalPort) -> None:
        self.ports = {key: other for key, other in self.ports.items() if other.ofport != one.ofport}
        self.ports[one.uid] = one
        self.engine.open_port(one)

    def close_port(self, of: Uid) -> None:
        self.ports.pop(of, None)
        self.engine.close_port(of)

    def tell(self, fact: Fact, *, true: bool = False) -> None:
        (self.facts.add if true else self.facts.discard)(fact)
        self.engine.tell(fact, true=true)

    def tell_true(self, fact: Fact) -> None:
        self.tell(fact, true=True)

    def lowered(self) -> Flows:
        inputs = Inputs(
            node=HERE,
            programs=dict(self.engine.programs),
            pages=self.pages,
            ports=self.ports,
            facts=frozenset(self.facts),
            opens=self.opens,
        )
        return lower(inputs, self.ids)

    def drain(self) -> Plan:
        put, delete = self.engine.drain()
        assert not put.keys() & delete
        assert delete <= self.switch.keys()
        assert all(self.switch.get(key) != body for key, body in put.items())
        self.switch = applied(self.switch, Plan(put, tuple(delete)))
        return Plan(put, tuple(delete))


# Ports that quarrel: one number or one address for two Pods, and Pods that change theirs.
ports = st.builds(
    lambda pod, ofport, claims, created: LocalPort(
        pod, uid(pod), ofport, port(pod).mac, tuple(sorted(claims)), created
    ),
    st.sampled_from(PODS),
    st.integers(11, 14),
    st.sets(st.sampled_from([text for pod in PODS[:3] for text in addresses(pod)]), max_size=3),
    st.sampled_from(("", "2026-01-01T00:00:00Z")),
)
STEPS = st.one_of(
    st.tuples(st.just("put_program"), worlds.programs()),
    st.tuples(st.just("put_program"), worlds.odd_programs()),
    st.tuples(st.just("put_program"), worlds.tier_programs()),
    st.tuples(st.just("drop_program"), st.sampled_from(worlds.GROUPS), st.sampled_from((*UNITS, *worlds.TIER_UNITS))),
    st.tuples(st.just("put_page"), worlds.pages),
    st.tuples(st.just("drop_page"), st.sampled_from(worlds.GROUPS), st.sampled_from(worlds.NODES)),
    st.tuples(st.just("open_port"), st.sampled_from(PODS).map(port) | ports),
    st.tuples(st.just("close_port"), st.sampled_from(PODS).map(uid)),
    st.tuples(st.just("tell_true"), worlds.facts),
    st.tuples(st.just("tell"), worlds.facts),
    st.tuples(st.just("drain")),
)


@share(80)
@given(
    worlds.inputs(), st.lists(STEPS, min_size=1, max_size=20), st.sampled_from([1, 2, 1024]), st.sampled_from([1, 2, 5])
)
def test_the_engine_agrees_with_lowering_from_scratch(
    world: Inputs, steps: list[tuple[Any, ...]], rules_per_lane: int, look_every: int
):
    """After every step, or after a few at once: what is stale must survive what comes before anybody looks."""
    twin = Twin(rules_per_lane, world.opens)
    twin.begin(world)
    for number, (what, *args) in enumerate(steps):
        getattr(twin.engine if what in ("put_program", "drop_program") else twin, what)(*args)
        if number % look_every == 0:
            assert twin.engine.flows == twin.lowered()
        if what == "drain":
            assert twin.switch == twin.engine.flows
    assert twin.engine.flows == twin.lowered()
    twin.drain()
    assert twin.switch == twin.engine.flows
    assert twin.drain() == Plan({}, ())


SERVED = ServiceRef(namespace="y", name="web")
_numbers = st.frozensets(st.integers(1, 4), max_size=3)


@share(40)
@given(st.lists(st.tuples(st.sampled_from(["serve", "put", "drop"]), _numbers), max_size=8))
def test_rules_about_services_follow_the_numbers_of_their_ports(steps: list[tuple[str, frozenset[int]]]):
    twin = Twin()
    twin.put_page(page(MINE, HERE, member("x/a")))
    twin.open_port(port("x/a"))
    about = program(
        worlds.TIER_UNITS[0],
        MINE,
        rule(0, Direction.EGRESS, Action.DROP, (ServicePeer(service=SERVED), BlockPeer(cidr="10.9.0.0/16"))),
        msgspec.structs.replace(rule(0, Direction.INGRESS, Action.REJECT), services=(SERVED,)),
        tier=250,
        priority=1,
    )
    numbers: frozenset[int] = frozenset()
    for what, some in steps:
        if what == "serve":
            numbers = some
            twin.engine.serve(SERVED, numbers)
        elif what == "put":
            twin.engine.put_program(about)
        else:
            twin.engine.drop_program(MINE, about.unit)
        inputs = Inputs(
            node=HERE,
            programs=dict(twin.engine.programs),
            pages=twin.pages,
            ports=twin.ports,
            services={SERVED: numbers},
        )
        assert twin.engine.flows == lower(inputs, twin.ids)
        twin.drain()
    assert twin.engine.problems() == ()


MINE, PEERS = GroupId("mine"), GroupId("peers")


def crowd(node: int, size: int = 100) -> tuple[Member, ...]:
    """Members that a large group has on a node."""
    return tuple(
        Member(pod=f"z/{node}-{i}", uid=Uid(f"{node}-{i}"), addresses=(Address(f"10.{node}.{i // 250}.{i % 250}"),))
        for i in range(size)
    )


def unit(name: object) -> Unit:
    return subjects.unit(Kind.K8S_NETWORK_POLICY, "x", str(name))


def with_port() -> Twin:
    twin = Twin()
    twin.put_page(page(MINE, HERE, member("x/a")))
    twin.open_port(port("x/a"))
    return twin


def test_one_more_member_of_a_large_group_that_100_rules_share_changes_one_flow():
    twin = with_port()
    for number in range(100):
        twin.put_page(page(PEERS, NodeName(f"n{number}"), *crowd(number)))
        rule = allow(0, Direction.INGRESS, (GroupPeer(group=PEERS),), (TCP_80,))
        twin.engine.put_program(program(unit(number), MINE, rule))
    assert len(twin.drain().put) > 10_000

    twin.put_page(page(PEERS, NodeName("n7"), *crowd(7, 101)))

    change = twin.drain()
    assert (len(change.put), change.delete) == (1, ())
    (body,) = change.put.values()
    assert len(body.actions) == 100
    assert twin.switch == twin.engine.flows


def test_a_rule_that_changes_one_port_writes_the_flows_of_that_port_alone():
    twin = with_port()
    twin.put_page(page(PEERS, HERE, *crowd(1)))
    rule = allow(0, Direction.INGRESS, (GroupPeer(group=PEERS),), (TCP_80,))
    twin.engine.put_program(program(UNITS[0], MINE, rule))
    twin.drain()

    udp = TransportTraffic(protocol="UDP", ports=PortRange(53, 53))
    twin.engine.put_program(program(UNITS[0], MINE, msgspec.structs.replace(rule, traffic=(TCP_80, udp))))

    change = twin.drain()
    assert (len(change.put), change.delete) == (2, ())  # over IPv4 and over IPv6


def test_a_value_that_two_peers_of_a_rule_bring_stays_until_both_are_gone():
    twin = with_port()
    groups = (GroupPeer(group=PEERS), GroupPeer(group=GroupId("more")), BlockPeer(cidr="10.0.0.2/32"))
    twin.put_page(page(PEERS, HERE, member("x/b")))
    twin.put_page(page(PEERS, NodeName("n2"), member("x/b")))  # it moves, and is on two pages for a while
    twin.put_page(page(GroupId("more"), HERE, member("x/b")))
    twin.engine.put_program(program(UNITS[0], MINE, allow(0, Direction.INGRESS, groups, (TCP_80,))))
    twin.drain()

    for group, node in ((PEERS, HERE), (PEERS, NodeName("n2")), (GroupId("more"), HERE)):
        twin.drop_page(group, node)
        change = twin.drain()
        last = group == GroupId("more")
        assert len(change.delete) == last  # fd00::2; the block still has 10.0.0.2
        assert change.put == {}
        assert twin.switch == twin.lowered()


def test_a_rule_and_its_peers_go_in_one_step_while_others_use_them():
    twin = with_port()
    twin.put_page(page(PEERS, HERE, member("x/b")))
    for direction, name in zip(Direction, UNITS, strict=False):
        twin.engine.put_program(program(name, MINE, allow(0, direction, (GroupPeer(group=PEERS),))))
    twin.drain()

    twin.engine.drop_program(MINE, UNITS[0])
    twin.drop_page(PEERS, HERE)

    assert twin.engine.flows == twin.lowered()


def test_saying_the_same_again_changes_nothing():
    twin = with_port()
    one = program(
        UNITS[0], MINE, allow(0, Direction.INGRESS, (GroupPeer(group=MINE),), (TCP_80,)), isolates=(Direction.INGRESS,)
    )
    twin.engine.put_program(one)
    twin.drain()

    twin.engine.put_program(one)
    twin.put_page(page(MINE, HERE, member("x/a")))
    twin.open_port(port("x/a"))
    twin.close_port(uid("x/a"))
    twin.open_port(port("x/a"))

    assert twin.drain() == Plan({}, ())


def test_what_went_leaves_nothing_behind():
    twin = with_port()
    twin.drain()
    before = len(twin.switch)
    twin.put_page(page(PEERS, HERE, *crowd(1)))
    rule = allow(0, Direction.INGRESS, (GroupPeer(group=PEERS),), (TCP_80,))
    twin.engine.put_program(program(UNITS[0], MINE, rule, isolates=tuple(Direction)))
    twin.drain()

    twin.engine.drop_program(MINE, UNITS[0])
    twin.drop_page(PEERS, HERE)
    twin.drain()

    assert len(twin.switch) == before
    assert list(twin.ids) == []
    assert vars(twin.engine._index)["_holders"] == {}


def test_ids_of_rules_that_are_not_in_force_are_released():
    twin = with_port()
    gone = RuleKey(UNITS[2], MINE, Direction.INGRESS, 0)
    twin.ids.allocate(gone)
    twin.engine.put_program(program(UNITS[0], MINE, isolates=(Direction.INGRESS,)))

    twin.engine.release_unused_ids()

    assert list(twin.ids) == [RuleKey(UNITS[0], MINE, Direction.INGRESS, ISOLATION)]


def test_every_id_in_a_flow_is_that_of_a_rule_in_force():
    twin = Twin(rules_per_lane=2)
    for number in range(6):
        one = program(
            unit(number), MINE, allow(0, Direction.EGRESS, (GroupPeer(group=PEERS),)), isolates=tuple(Direction)
        )
        twin.engine.put_program(one)
        twin.engine.drop_program(MINE, unit(number - 2))
    twin.put_page(page(MINE, HERE, member("x/a")))
    twin.put_page(page(PEERS, HERE, member("x/b")))
    twin.open_port(port("x/a"))
    twin.drain()

    cookies_ = (unpack(body.cookie) for body in twin.switch.values())
    said = {cookie.number for cookie in cookies_ if cookie and cookie.kind in (CookieKind.RULE, CookieKind.ISOLATION)}
    said |= {act.id for body in twin.switch.values() for act in body.actions if isinstance(act, Conjunction)}
    assert {key.unit for key in map(twin.ids.key, said) if key} == {unit(4), unit(5)}
    assert None not in map(twin.ids.key, said)


# ---------------------------------------------------------------------------------------------- two Pods, one address


def forward(twin: Twin, text: str) -> list[int]:
    """The ports where packets to the address go."""
    wanted = destination(address(text))
    flows = [body for key, body in twin.engine.flows.items() if key.table == Table.FORWARD and key.match == wanted]
    return [
        step.value for body in flows for step in body.actions if isinstance(step, SetField) and step.field is OUT_PORT
    ]


def test_of_two_pods_with_one_address_the_later_created_has_it_whatever_the_order():
    old = LocalPort("x/a", uid("x/a"), 11, port("x/a").mac, (Address("10.0.0.1"),), "2026-01-01T00:00:00Z")
    new = LocalPort("x/b", uid("x/b"), 12, port("x/b").mac, (Address("10.0.0.1"),), "2026-01-02T00:00:00Z")
    for first, second in ((old, new), (new, old)):
        twin = Twin()
        twin.open_port(first)
        twin.open_port(second)

        assert forward(twin, "10.0.0.1") == [12]
        assert {unpack(body.cookie) for key, body in twin.engine.flows.items() if key.table == Table.SPOOF_GUARD} == {
            (CookieKind.BASE, 0),
            (CookieKind.PORT, 12),
        }
        twin.close_port(new.uid)
        assert forward(twin, "10.0.0.1") == [11]


def test_a_port_number_is_of_whoever_was_plugged_in_last():
    twin = Twin()
    twin.open_port(LocalPort("x/a", uid("x/a"), 11, port("x/a").mac, addresses("x/a")))
    twin.open_port(LocalPort("x/b", uid("x/b"), 11, port("x/b").mac, addresses("x/b")))

    assert forward(twin, "10.0.0.1") == []
    assert forward(twin, "10.0.0.2") == [11]


# ------------------------------------------------------------------------------------------------------------ problems


def test_a_rule_that_cannot_be_lowered_is_told_and_the_others_work():
    twin = with_port()
    good = allow(0, Direction.INGRESS, None, (TCP_80,))
    bad = allow(1, Direction.INGRESS, (BlockPeer(cidr="10.0.0.0/99"),))
    twin.engine.put_program(program(UNITS[0], MINE, good, bad, isolates=(Direction.INGRESS,)))

    (problem,) = twin.engine.problems()
    assert (problem.unit, problem.state) == (UNITS[0], "failed")
    assert problem.reason == (
        "k8snetworkpolicies:x:p1: ingress rule 1, peer 0: '10.0.0.0/99' is not a CIDR such as 10.0.0.0/8 or fd00::/8; "
        "correct the policy"
    )
    assert twin.engine.flows == twin.lowered()

    twin.engine.put_program(program(UNITS[0], MINE, good, isolates=(Direction.INGRESS,)))
    assert twin.engine.problems() == ()


def test_a_rule_that_cannot_be_lowered_any_more_keeps_its_form():
    twin = with_port()
    twin.engine.put_program(program(UNITS[0], MINE, allow(0, Direction.INGRESS, None, (TCP_80,))))
    twin.drain()

    twin.engine.put_program(program(UNITS[0], MINE, allow(0, Direction.INGRESS, (BlockPeer(cidr="nonsense"),))))

    assert twin.drain() == Plan({}, ())
    assert len(twin.engine.problems()) == 1


def test_an_address_that_is_none_is_told_and_allows_nothing():
    twin = with_port()
    twin.engine.put_program(program(UNITS[0], MINE, allow(0, Direction.INGRESS, (GroupPeer(group=PEERS),))))
    odd = Member(pod="x/odd", uid=Uid("odd"), addresses=(Address("10.0.0.300"),))
    twin.put_page(page(PEERS, HERE, odd, member("x/b")))

    (problem,) = twin.engine.problems()
    assert problem.unit == "pods:x:odd"
    assert problem.reason.startswith("pods:x:odd in group peers: '10.0.0.300' is not an IP address")
    assert twin.engine.flows == twin.lowered()

    twin.engine.drop_program(MINE, UNITS[0])  # and when the page is there before the rule
    twin.engine.put_program(program(UNITS[0], MINE, allow(0, Direction.INGRESS, (GroupPeer(group=PEERS),))))
    assert twin.engine.flows == twin.lowered()

    twin.drop_page(PEERS, HERE)
    assert twin.engine.problems() == ()


def test_flows_that_go_and_come_back_or_come_and_go_before_anybody_looks_are_not_sent():
    twin = with_port()
    rule = allow(0, Direction.INGRESS, (GroupPeer(group=PEERS),))
    twin.put_page(page(PEERS, HERE, *crowd(1)))
    twin.engine.put_program(program(UNITS[0], MINE, rule))
    twin.drain()

    for here in ((), crowd(1)):
        twin.put_page(page(PEERS, HERE, *here))
        assert twin.engine.flows == twin.lowered()
    assert twin.drain() == Plan({}, ())

    other = NodeName("n2")
    for there in (crowd(2), ()):
        twin.put_page(page(PEERS, other, *there))
        assert twin.engine.flows == twin.lowered()
    assert twin.drain() == Plan({}, ())


def test_more_rules_than_there_are_numbers_is_told_and_the_rule_is_left_out():
    twin = Twin(rules_per_lane=1)
    for number in range(LANES):
        twin.ids.allocate(RuleKey(UNITS[2], MINE, Direction.INGRESS, number))

    twin.engine.put_program(program(UNITS[0], MINE, allow(0, Direction.INGRESS, None, (TCP_80,))))

    (problem,) = twin.engine.problems()
    assert "this node has 4096 rules" in problem.reason
    assert "merge rules" in problem.reason
