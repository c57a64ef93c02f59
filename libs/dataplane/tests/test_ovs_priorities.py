"""Places and their priorities: they agree with the order, outlive a restart, and a full band is told and closed."""

import msgspec
import pytest

from sluice.contracts import codec
from sluice.contracts.ids import GroupId, NodeName
from sluice.contracts.programs import Action, BlockPeer, Direction, GroupPeer, PortRange, Program, TransportTraffic
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.flow import FlowKey
from sluice.dataplane.ovs.ids import RuleIds, RuleIdsState
from sluice.dataplane.ovs.layers import PRIORITY_CLOSED
from sluice.dataplane.ovs.lower import Inputs, lower
from sluice.dataplane.ovs.pipeline import Table
from sluice.dataplane.ovs.plan import Plan
from sluice.dataplane.ovs.priorities import Priorities
from sluice.testkit import worlds
from sluice.testkit.meaning import allowed, packet, probes
from sluice.testkit.walker import Walker
from sluice.testkit.worlds import HERE, PODS, TIER_UNITS, UNITS, member, page, port, program, rule, uid

MINE = GroupId("mine")
IN, OUT = Direction.INGRESS, Direction.EGRESS
TCP_80 = TransportTraffic(protocol="TCP", ports=PortRange(80, 80))
FIRST, SECOND = TIER_UNITS[:2]


def ids_of(size: int) -> RuleIds:
    """With bands of so many priorities."""
    ids = RuleIds()
    bands = dict.fromkeys(
        (Table.EGRESS_TIER, Table.INGRESS_TIER, Table.EGRESS_DEFAULT, Table.INGRESS_DEFAULT), (1, size)
    )
    ids.priorities = Priorities(bands)
    return ids


def engine_with(ids: RuleIds, *programs: Program) -> Engine:
    engine = Engine(HERE, ids)
    for pod in PODS:
        engine.open_port(port(pod))
    engine.put_page(page(MINE, HERE, *map(member, PODS)))
    for one in programs:
        engine.put_program(one)
    return engine


def about(number: int, action: Action = Action.DROP, tier: int = 250, priority: float = 1) -> Program:
    """A policy with a rule of two clauses: my Pods, and one address."""
    peers = (BlockPeer(cidr=f"10.0.0.{number + 1}/32"),)
    return program(TIER_UNITS[number], MINE, rule(0, IN, action, peers), tier=tier, priority=priority)


def order_of(engine: Engine, table: Table = Table.INGRESS_TIER) -> list[int]:
    """The last bytes of the addresses that the table's rules are about, the first that is asked first."""
    clauses = (
        key for key in engine.flows if key.table == table and any("SRC" in term.field.name for term in key.match)
    )
    return [key.match[-1].value & 0xFF for key in sorted(clauses, key=lambda key: -key.priority)]


def test_the_order_is_tier_then_priority_then_name():
    programs = [about(0, priority=2), about(1, priority=1.5), about(2, tier=50, priority=9), about(3, priority=1.5)]

    for told in (programs, programs[::-1]):
        assert order_of(engine_with(RuleIds(), *told)) == [3, 2, 4, 1]


def test_of_one_precedence_but_for_the_name_the_lesser_namespace_and_name_go_first():
    """TIER_UNITS are _:t, x:t, x-1:t and x:t-1: as words, not as one text."""
    assert order_of(engine_with(RuleIds(), *(about(number) for number in (3, 1, 0, 2)))) == [1, 2, 4, 3]


def test_a_program_whose_priority_changes_moves_its_flows_in_one_step():
    engine = engine_with(RuleIds(), about(0, priority=1), about(1, priority=2))
    engine.drain()

    engine.put_program(about(0, priority=3))

    put, delete = engine.drain()
    assert order_of(engine) == [2, 1]
    assert {key.match for key in put} == {key.match for key in delete}
    assert {key.priority for key in put}.isdisjoint(key.priority for key in delete)


def test_one_rule_of_a_policy_that_is_applied_to_several_groups_has_one_priority():
    other = GroupId("other")
    engine = engine_with(RuleIds(), about(0), msgspec.structs.replace(about(0), applied_to=other))
    engine.put_page(page(other, NodeName("n1"), member("x/a")))

    assert len({key.priority for key in engine.flows if key.table == Table.INGRESS_TIER} - {0, 65535}) == 1


def test_plain_rules_and_clauses_of_one_precedence_stand_apart():
    other = GroupId("other")
    plain = program(FIRST, other, rule(0, IN, Action.DROP), tier=250, priority=1)
    engine = engine_with(RuleIds(), about(0), plain)
    engine.put_page(page(other, HERE, member("x/a")))

    assert len({key.priority for key in engine.flows if key.table == Table.INGRESS_TIER} - {0, 65535}) == 2


# ------------------------------------------------------------------------------------------------------------ restarts


def test_priorities_outlive_the_process():
    """Rules that came one by one stand otherwise than if all came at once, and the switch holds them so."""
    ids = RuleIds()
    before = engine_with(ids)
    for number in (0, 3, 1, 2):
        before.put_program(about(number))
        before.drain()

    kept = RuleIds.restore(codec.decode(codec.encode(ids.state()), RuleIdsState))
    after = engine_with(kept, *(about(number) for number in range(4)))

    assert after.flows == before.flows
    assert engine_with(RuleIds(), *(about(number) for number in range(4))).flows != before.flows


def test_a_state_without_priorities_is_that_of_an_earlier_version():
    assert codec.decode(b'{"last":0,"slots":[]}', RuleIdsState) == RuleIdsState(last=0, slots=())


def test_places_of_rules_that_went_while_we_were_away_are_freed():
    ids = RuleIds()
    engine_with(ids, about(0), about(1)).drain()
    kept = RuleIds.restore(ids.state())
    after = engine_with(kept, about(1))

    after.release_unused_ids()

    assert len(kept.priorities) == 1
    assert order_of(after) == [2]


def test_a_priority_that_no_table_has_is_left_out():
    ids = RuleIds()
    engine_with(ids, about(0)).drain()
    (placed,) = ids.state().placed
    broken = [msgspec.structs.replace(placed, table=number, priority=70_000) for number in (Table.INGRESS_TIER, 7)]

    kept = RuleIds.restore(msgspec.structs.replace(ids.state(), placed=tuple(broken)))

    assert order_of(engine_with(kept, about(0))) == [1]


# ------------------------------------------------------------------------------------------------------------ capacity


def test_a_program_that_no_longer_fits_stays_what_it_was_and_is_told():
    twice = program(FIRST, MINE, *(rule(index, IN, Action.DROP, (TCP_PEER,)) for index in (0, 1)), tier=250, priority=1)
    engine = engine_with(ids_of(2), about(0), about(1))
    engine.drain()

    engine.put_program(twice)

    assert engine.drain() == ({}, frozenset())
    (problem,) = engine.problems()
    assert (problem.unit, problem.state) == (FIRST, "failed")
    assert problem.reason == (
        f"{FIRST}: 3 rules of distinct precedence, but OpenFlow has 2 priorities for them; merge rules, or "
        f"move policies to another tier"
    )
    assert engine.programs[MINE, FIRST] == about(0)

    engine.drop_program(MINE, SECOND)  # and now there is room
    assert engine.problems() == ()
    assert engine.programs[MINE, FIRST] == twice


TCP_PEER = BlockPeer(cidr="10.0.0.9/32")


def test_a_program_that_takes_the_places_it_leaves_fits():
    engine = engine_with(ids_of(2), about(0), about(1))

    engine.put_program(about(0, priority=7))

    assert engine.problems() == ()
    assert order_of(engine) == [2, 1]


@pytest.mark.parametrize("tier", [250, 253])
@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("refusing", [Action.DROP, Action.REJECT])
def test_a_new_drop_that_finds_no_priority_closes_its_pods_and_an_allow_is_left_out(
    direction: Direction, tier: int, refusing: Action
):
    ids = ids_of(1)
    allow = program(FIRST, MINE, rule(0, direction, Action.ALLOW, None), tier=tier, priority=1)
    named = TransportTraffic(protocol="TCP", ports="web")
    drops = [
        rule(0, direction, refusing, (GroupPeer(group=MINE),), (TCP_80,)),
        rule(1, direction, refusing, (GroupPeer(group=MINE),), (named,)),
        rule(2, direction, Action.ALLOW, (GroupPeer(group=MINE),)),
    ]
    drop = program(SECOND, GroupId("some"), *drops, tier=tier, priority=2)
    engine = engine_with(ids, allow)
    engine.put_page(page(GroupId("some"), HERE, member("x/a"), member("x/b", 82)))
    engine.put_program(drop)

    closed = {key for key in engine.flows if key.priority == PRIORITY_CLOSED}
    assert {key.table for key in closed} == {Table(table_of(direction, tier))}
    assert len(engine.problems()) == 1
    world = Inputs(
        node=HERE,
        programs=dict(engine.programs),
        pages={(MINE, HERE): page(MINE, HERE, *map(member, PODS))}
        | {(GroupId("some"), HERE): page(GroupId("some"), HERE, member("x/a"), member("x/b", 82))},
        ports={uid(pod): port(pod) for pod in PODS},
    )
    assert lower(world, ids) == engine.flows
    walker = Walker(engine.flows)
    reordered = Inputs(
        node=HERE,
        programs={**world.programs, (GroupId("some"), SECOND): replaced(drop)},
        pages=world.pages,
        ports=world.ports,
    )
    for probe in (probe for pod in PODS for probe in probes(pod)):
        assert not walker.walk(packet(probe)).sent or allowed(reordered, probe), probe

    engine.drop_program(MINE, FIRST)
    engine.drop_program(GroupId("some"), SECOND)
    assert engine.problems() == ()
    assert list(ids) == []
    assert len(ids.priorities) == 0


def replaced(drop: Program) -> Program:
    """As if its drops came first of all: nothing that one of them is about may pass."""
    return msgspec.structs.replace(drop, priority=0, rules=drop.rules[:2])


def table_of(direction: Direction, tier: int) -> int:
    if direction is IN:
        return Table.INGRESS_TIER if tier == 250 else Table.INGRESS_DEFAULT
    return Table.EGRESS_TIER if tier == 250 else Table.EGRESS_DEFAULT


def test_what_went_leaves_no_place_behind():
    ids = RuleIds()
    engine = engine_with(ids)
    before = engine.flows
    for number in range(4):
        engine.put_program(about(number, tier=253 if number % 2 else 50))
    engine.drain()
    for number in range(4):
        engine.drop_program(MINE, TIER_UNITS[number])

    assert engine.flows == before
    assert (len(ids), len(ids.priorities)) == (0, 0)


def test_isolation_goes_before_the_baseline():
    """What a Kubernetes policy closes, no baseline opens; what none isolates, the baseline decides."""
    isolated = program(UNITS[0], GroupId("shut"), isolates=(IN,))
    base = program(FIRST, MINE, rule(0, IN, Action.ALLOW, None, (TCP_80,)), rule(1, IN, Action.DROP), tier=253)
    engine = engine_with(RuleIds(), isolated, base)
    engine.put_page(page(GroupId("shut"), HERE, member("x/b")))
    walker = Walker(engine.flows)

    reached = {
        (probe.to, probe.port) for probe in probes("x/a") if walker.walk(packet(probe)).sent and probe.protocol == "TCP"
    }
    assert reached == {(address, 80) for pod in PODS if pod not in ("x/a", "x/b") for address in worlds.addresses(pod)}


def test_the_flow_that_drops_says_which_rule_it_is():
    ids = RuleIds()
    engine = engine_with(ids, about(0))
    walk = Walker(engine.flows).walk(packet(next(probe for probe in probes("x/a") if probe.to == "10.0.0.2")))

    last: FlowKey = walk.hits[-1]
    key = ids.key(engine.flows[last].cookie & 0xFFFFFFFF)
    assert key is not None
    assert (key.unit, key.rule) == (FIRST, 0)


def test_nothing_changes_when_the_same_is_said_again():
    engine = engine_with(RuleIds(), about(0), about(1))
    engine.drain()
    engine.put_program(about(0))
    put, delete = engine.drain()

    assert Plan(put, tuple(delete)) == Plan({}, ())
