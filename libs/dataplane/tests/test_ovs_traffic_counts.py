"""Packets of TrafficControls, added up over readings."""

from sluice.contracts import subjects
from sluice.contracts.kinds import Kind
from sluice.contracts.stats import TrafficCount
from sluice.dataplane.ovs.pipeline import Table
from sluice.dataplane.ovs.traffic_counts import Counted, TrafficCounts
from sluice.testkit.steering import Node, mirror, packet, redirect

A, B = (subjects.unit(Kind.TRAFFIC_CONTROL, "", name) for name in "ab")
COPIES, REDIRECTS = (128, 7), (129, 3)
MEANS = {COPIES: (Counted(A, "mirrored"), Counted(B, "mirrored")), REDIRECTS: (Counted(B, "redirected"),)}


def test_what_grew_is_added_to_each_whose_packets_they_are():
    counts = TrafficCounts()
    counts.take([(COPIES, 5), (REDIRECTS, 1), (REDIRECTS, 1)], MEANS)

    assert counts.take([(COPIES, 7), (REDIRECTS, 4)], MEANS) == (
        TrafficCount(unit=A, mirrored=7),
        TrafficCount(unit=B, mirrored=7, redirected=4),
    )


def test_flows_that_went_take_nothing_back():
    counts = TrafficCounts()
    counts.take([(REDIRECTS, 10)], MEANS)

    assert counts.take([(REDIRECTS, 4)], MEANS) == (TrafficCount(unit=B, redirected=10),)
    assert counts.take([(REDIRECTS, 6)], MEANS) == (TrafficCount(unit=B, redirected=12),)


def test_a_number_that_means_others_begins_anew():
    counts = TrafficCounts()
    counts.take([(COPIES, 10)], MEANS)
    other = {COPIES: (Counted(B, "mirrored"),)}

    assert counts.take([(COPIES, 3)], other) == (TrafficCount(unit=B, mirrored=13),)


def test_nobody_elses_flows_count():
    assert TrafficCounts().take([((129, 0), 9)], MEANS) == ()


def test_the_flows_of_a_node_are_known_by_table_and_number():
    node = Node(mirror("m", "a", "tap2"), mirror("n", "b", "tap2"), redirect("r", "a"))
    counted = node.traffic.counted()

    met = node.send(packet("a", "10.0.0.2")).hits
    said = [
        counted.get((key.table, node.flows[key].cookie & 0xFFFFFFFF))
        for key in met
        if key.table in (Table.COPY, Table.REDIRECT)
    ]
    assert [[(one.unit.rpartition(":")[2], one.became) for one in each or ()] for each in said] == [
        [("m", "mirrored"), ("n", "mirrored")],
        [("r", "redirected")],
    ]
