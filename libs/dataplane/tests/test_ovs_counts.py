"""Sums of what flows counted: nothing is lost or taken twice, whatever becomes of flows and of the programmer."""

from sluice.contracts import codec
from sluice.contracts.ids import GroupId
from sluice.contracts.programs import Direction
from sluice.contracts.stats import RuleCount
from sluice.dataplane.ovs import counts as counts_module
from sluice.dataplane.ovs.counts import Counts, CountsState, Reading
from sluice.dataplane.ovs.ids import ISOLATION, RuleKey
from sluice.testkit.worlds import UNITS

IN = Direction.INGRESS
FIRST, SECOND = GroupId("g1"), GroupId("g2")
ONE = RuleKey(UNITS[0], FIRST, IN, 0)


def begun(id: int, packets: int) -> Reading:
    return Reading(id, True, packets, 100 * packets)


def gone_on(id: int, packets: int) -> Reading:
    return Reading(id, False, packets, 100 * packets)


def told(counts: Counts) -> list[tuple[int, int, int]]:
    return [(one.sessions, one.packets, one.bytes) for one in counts.counted()]


def test_what_begins_a_connection_is_a_session_and_a_packet():
    counts = Counts(held={7: ONE})
    counts.take([begun(7, 2), gone_on(7, 40)])
    counts.take([begun(7, 3), gone_on(7, 41)])

    assert counts.counted() == (RuleCount(unit=UNITS[0], direction=IN, rule=0, sessions=3, packets=44, bytes=4400),)


def test_isolation_is_told_without_a_number():
    counts = Counts(held={7: RuleKey(UNITS[0], FIRST, IN, ISOLATION)})
    counts.take([begun(7, 2)])

    assert [one.rule for one in counts.counted()] == [None]


def test_a_programmer_that_restarts_goes_on_where_it_was():
    before = Counts(held={7: ONE})
    before.take([begun(7, 2), gone_on(7, 40)])
    after = Counts(codec.decode(codec.encode(before.state()), CountsState), {7: ONE})
    after.take([begun(7, 2), gone_on(7, 50)])

    assert told(after) == [(2, 52, 5200)]


def test_flows_that_were_put_anew_count_from_nothing():
    counts = Counts(held={7: ONE})
    counts.take([gone_on(7, 40)])
    counts.begin(7)
    counts.take([gone_on(7, 45)])  # more than before, and all of it new
    counts.take([gone_on(7, 5)])  # put anew behind our back

    assert told(counts) == [(0, 90, 9000)]


def test_a_rule_is_the_same_whoever_it_is_applied_to():
    counts = Counts(held={7: ONE})
    counts.take([gone_on(7, 40)])
    counts.hold(8, ONE._replace(applied_to=SECOND))
    counts.let_go(7)
    counts.take([gone_on(8, 2)])

    assert told(counts) == [(0, 42, 4200)]


def test_what_went_is_told_to_who_asks_for_it_and_goes_on_when_it_comes_back():
    counts = Counts(held={7: ONE})
    held = counts.held
    counts.take([gone_on(7, 40)])
    counts.let_go(7)

    assert told(counts) == []
    assert [one.packets for one in counts.counted(held)] == [40]
    counts.hold(9, ONE)
    assert told(counts) == [(0, 40, 4000)]


def test_what_a_forgotten_rule_counted_is_nobodys():
    counts = Counts()
    counts.pass_over([gone_on(7, 40)])
    counts.hold(7, ONE)
    counts.take([gone_on(7, 41)])

    assert told(counts) == [(0, 1, 100)]


def test_of_rules_that_went_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(counts_module, "ABSENT_KEPT", 2)
    counts = Counts()
    for number in range(4):
        counts.hold(number, ONE._replace(rule=number))
        counts.take([gone_on(number, 1)])
    for number in (2, 0, 1):
        counts.let_go(number)

    assert [said.rule for said, _ in counts.state().sums] == [3, 0, 1]


def test_what_is_read_of_a_flow_that_nobody_holds_is_left_out():
    counts = Counts()
    counts.take([gone_on(7, 40)])

    assert (told(counts), counts.changes) == ([], 0)
