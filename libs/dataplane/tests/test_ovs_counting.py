"""Whoever decides about a packet counts it, once."""

from hypothesis import given

from sluice.contracts.ids import Address
from sluice.contracts.programs import Action, Direction, Rule
from sluice.dataplane.ovs.counting import counter
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.lower import Inputs, lower
from sluice.dataplane.ovs.pipeline import PRIORITY_FIRST, Table
from sluice.testkit import worlds
from sluice.testkit.examples import share
from sluice.testkit.meaning import Probe, packet, probes, receiver
from sluice.testkit.walker import Walk, Walker
from sluice.testkit.worlds import HERE, PODS, member, page, program

ALL_PROBES = [probe for pod in PODS for probe in probes(pod)]


def counted(walk: Walk) -> list[tuple[int, bool]]:
    """The rules that counted the packet, and whether as the first of a connection."""
    return sorted((number, key.priority == PRIORITY_FIRST) for key in walk.hits if (number := counter(key)))


@share(20)
@given(worlds.inputs())
def test_a_packet_is_counted_by_the_rules_that_let_it_through_or_by_the_one_that_denies_it(world: Inputs):
    walker = Walker(lower(world, RuleIds()))

    for probe in ALL_PROBES:
        known = len(walker.tracker.connections)
        walk = walker.walk(packet(probe))
        asked = any(key.table == Table.EGRESS_TIER for key in walk.hits)
        if len(walker.tracker.connections) > known:
            label = walker.tracker.connections[-1].label
            let_in = sorted(number for at in (0, 32, 96) if (number := label >> at & 0xFFFFFFFF))
            assert counted(walk) == [(number, True) for number in let_in]
            assert counted(walker.walk(packet(probe))) == [(number, False) for number in let_in]
        elif asked and not walk.sent and receiver(world, probe) is not None:
            assert len(counted(walk)) == 1


def test_a_rule_keeps_what_counts_for_it_while_everything_else_about_it_changes():
    ids, mine = RuleIds(), worlds.GROUPS[0]
    engine = Engine(HERE, ids)
    engine.put_page(page(mine, HERE, member("x/a")))
    engine.open_port(worlds.port("x/a"))
    engine.put_program(
        program(worlds.UNITS[0], mine, Rule(index=0, direction=Direction.INGRESS, action=Action.DROP), tier=5)
    )
    before = {key for key in engine.drain()[0] if counter(key)}

    for step in (
        lambda: engine.close_port(worlds.uid("x/a")),
        lambda: engine.open_port(worlds.port("x/a")),
        lambda: engine.put_program(
            program(worlds.UNITS[0], mine, Rule(index=0, direction=Direction.INGRESS, action=Action.REJECT), tier=9)
        ),
    ):
        step()
        put, delete = engine.drain()
        assert not [key for key in (*put, *delete) if key.table == Table.COUNT]

    assert len(before) == 2
    engine.drop_program(mine, worlds.UNITS[0])
    assert before <= engine.drain()[1]


def test_the_ids_of_a_known_connection_count_its_answers():
    world = Inputs(
        node=HERE,
        programs={},
        pages={},
        ports={worlds.uid(pod): worlds.port(pod) for pod in PODS},
    )
    mine = worlds.GROUPS[0]
    into = program(worlds.UNITS[0], mine, worlds.allow(0, Direction.INGRESS, None, None), isolates=(Direction.INGRESS,))
    world.programs[mine, into.unit] = into  # type: ignore[index]  # built as a dict
    world.pages[mine, HERE] = page(mine, HERE, member("x/b"))  # type: ignore[index]  # as above
    walker = Walker(lower(world, RuleIds()))
    (sent,) = walker.walk(packet(Probe("x/a", Address("10.0.0.2"), "TCP", 80))).sent

    asked = sent.packet
    answer = dict(packet(Probe("x/b", Address("10.0.0.1"), "TCP", asked[Field.TCP_SRC])))
    answer |= {Field.TCP_SRC: asked[Field.TCP_DST], Field.TCP_DST: asked[Field.TCP_SRC]}

    assert counted(walker.walk(answer)) == [(walker.tracker.connections[0].label & 0xFFFFFFFF, False)]
