"""docs/conformance.md says what the scenarios cover, and they cover every kind of rule."""

import importlib.util
from pathlib import Path

import pytest

from sluice.lab import reading

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def coverage():
    spec = importlib.util.spec_from_file_location("conformance_coverage", HERE / "coverage.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cells(coverage):
    return coverage.covered(reading.read([HERE]))


def test_the_table_is_that_of_the_scenarios(coverage, cells):
    assert coverage.TABLE.read_text() == coverage.table(cells), "run .venv/bin/python tests/conformance/coverage.py"


def test_no_kind_of_rule_is_left_out(coverage, cells):
    assert coverage.holes(cells) == []


def test_every_rule_is_seen_over_both_families_near_and_far(coverage, cells):
    every = [one for one in coverage.every() if coverage.reachable(*one)]

    assert len(every) > 800
    assert [(one, place) for one in every for place in coverage.PLACES if coverage.Cell(*one, place) not in cells] == []


def test_a_scenario_less_is_seen(coverage):
    only = coverage.covered(reading.read([HERE / "antrea" / "drop-pods.yaml"]))

    assert {cell[2:5] for cell in only} == {("Drop", "Pods", "all")}
    assert {cell.place for cell in only} == {"4\N{NOT EQUAL TO}"}
    assert coverage.holes(only)
