"""docs/conformance.md says what the scenarios cover, and they cover every kind of rule."""

from pathlib import Path

import pytest
from tests.conformance import coverage, coverage_traffic

from sluice.lab import reading

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def stories():
    return reading.read([HERE])


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
    assert [(one, place) for one in every for place in coverage.PLACES if coverage.Cell(*one, place) not in cells] == []


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
