"""docs/backends/ovs.md shows flows that are, and describes every table there is."""

import re
from pathlib import Path

from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.ids import RULES_PER_LANE
from sluice.dataplane.ovs.layers import PRIORITY_CLOSED
from sluice.dataplane.ovs.pipeline import CT_ZONE, PRIORITY_CLAUSES, PRIORITY_PLAIN, Table
from sluice.dataplane.ovs.priorities import BASELINE_BAND, TIER_BAND

PAGE = (Path(__file__).parents[3] / "docs/backends/ovs.md").read_text(encoding="utf-8")
GOLDEN = {line for path in (Path(__file__).parent / "golden").glob("*.flows") for line in path.read_text().splitlines()}


def test_every_flow_of_the_page_is_in_a_golden_file():
    shown = [line for line in PAGE.splitlines() if line.startswith("cookie=")]

    assert len(shown) > 30
    assert [line for line in shown if line not in GOLDEN] == []


def test_every_group_of_the_page_is_in_a_golden_file():
    golden = (Path(__file__).parent / "golden/service.groups").read_text().splitlines()
    shown = [line for line in PAGE.splitlines() if line.startswith("group_id=")]

    assert shown
    assert [line for line in shown if line not in golden] == []


def test_every_table_has_a_section_with_flows_of_that_table():
    sections = re.findall(r"^### (\w+) \((\d+)\)\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)

    assert [(name, int(number)) for name, number, _ in sections] == [(table.name, table.value) for table in Table]
    for _, number, text in sections:
        tables = {re.search(r"table=(\d+),", line) for line in text.splitlines() if line.startswith("cookie=")}
        assert {found[1] if found else "0" for found in tables} == {number}


def test_numbers_are_those_of_the_code():
    kinds = ", ".join(f"{kind.value} {kind.name}" for kind in CookieKind)

    assert f"kind: {kinds} |" in PAGE
    assert f"One zone a node, {CT_ZONE} ({CT_ZONE:#x})" in PAGE
    assert f"| {PRIORITY_PLAIN} | plain" in PAGE
    assert f"| {PRIORITY_CLOSED} | what drops in place" in PAGE
    assert f"| {TIER_BAND[0]} to {TIER_BAND[1]} | rules of tiers" in PAGE
    assert f"| {BASELINE_BAND[0]} to {BASELINE_BAND[1]} | rules of the baseline" in PAGE
    assert f"| {PRIORITY_CLAUSES} − lane |" in PAGE
    assert f"up to {RULES_PER_LANE:,} rules" in PAGE
