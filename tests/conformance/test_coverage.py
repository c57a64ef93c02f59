"""docs/conformance.md says what the scenarios cover, and they cover every kind of rule."""

from itertools import product

import pytest
from tests.conformance import coverage, coverage_l7, coverage_traffic
from tests.conformance.deciding import PLACES
from tests.conformance.stories import HERE, read_once

from sluice.contracts.programs import Direction
from sluice.lab import reading


@pytest.fixture(scope="module")
def stories():
    return read_once()


@pytest.fixture(scope="module")
def cells(stories):
    return coverage.covered(stories)


def test_the_table_is_that_of_the_scenarios(stories):
    assert coverage.TABLE.read_text() == coverage.page(stories), "run .venv/bin/python -m tests.conformance.coverage"


def test_no_kind_of_rule_is_left_out(cells):
    assert coverage.holes(cells) == []


def test_every_rule_is_seen_over_both_families_near_and_far(cells):
    every = [one for one in coverage.every() if coverage.reachable(*one)]

    assert len(every) > 800
    assert [(one, place) for one in every for place in PLACES if coverage.Cell(*one, place) not in cells] == []


def test_a_scenario_less_is_seen():
    only = coverage.covered(reading.read([HERE / "antrea" / "drop-pods.yaml"]))

    assert {cell[2:5] for cell in only} == {("Drop", "Pods", "all")}
    assert {cell.place for cell in only} == {"4\N{NOT EQUAL TO}"}
    assert coverage.holes(only)


def test_every_kind_of_target_gets_packets_of_both_families(stories):
    cells = coverage_traffic.steered(stories)
    every = list(coverage_traffic.every())

    assert len(every) == 7 * 3 + 5 * 3
    assert [(one, each) for one in every for each in coverage_traffic.FAMILIES if (*one, each) not in cells] == []


def test_a_receiver_of_something_else_covers_nothing():
    only = coverage_traffic.steered(reading.read([HERE / "traffic-control" / "mirror-gre.yaml"]))

    assert {cell[:3] for cell in only} == {("Mirror", "gre", one) for one in coverage_traffic.DIRECTIONS}


def test_every_layer_7_entry_allows_and_denies_near_and_far(stories):
    found = coverage_l7.inspected(stories)
    seen = {
        (direction, entry, fate.split()[-1], place)
        for direction, entry, fate, place in found
        if fate.split()[0] in ("Pod", "Service")
    }
    wanted = product(Direction, coverage_l7.ENTRIES, ("allowed", "denied"), PLACES)

    assert [one for one in wanted if one not in seen] == []
    assert {(one.direction, one.place) for one in found if one.fate == "not TCP"} == set(product(Direction, PLACES))
    for fate in ("Service allowed", "Service denied", "outside allowed", "outside denied"):
        assert {(one.direction, one.place[0]) for one in found if one.fate == fate} == set(product(Direction, "46"))
