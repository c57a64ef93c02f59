"""docs/backends/ovs.md shows flows that are, and describes every table there is."""

import re
from inspect import getsource
from pathlib import Path

from sluice.dataplane.ovs import conntrack, registers
from sluice.dataplane.ovs.conntrack import CT_ZONE, MASK_ZONE, REDIRECT_ZONE
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.errand import Errand, Meter
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.ids import RULES_PER_LANE
from sluice.dataplane.ovs.layers import PRIORITY_CLOSED
from sluice.dataplane.ovs.pipeline import PRIORITY_CLAUSES, PRIORITY_PLAIN, Table
from sluice.dataplane.ovs.priorities import BASELINE_BAND, TIER_BAND

PAGE = (Path(__file__).parents[3] / "docs/backends/ovs.md").read_text(encoding="utf-8")
SOURCE = getsource(registers) + getsource(conntrack)
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


def test_every_register_flag_mark_and_meter_is_described():
    named = {name: value.spec.name for name, value in vars(registers).items() if isinstance(value, Field)}
    flags = dict(re.findall(r'^(\w+) = (0x[0-9a-f]+)\n"""Bit of FLAGS', SOURCE, re.MULTILINE))
    marks = {name: 1 << int(place) for name, place in re.findall(r"^(MARK_\w+) = 1 << (\d+)$", SOURCE, re.MULTILINE)}
    marks |= {name: int(bit, 16) for name, bit in re.findall(r"^(MARK_\w+) = (0x[0-9a-f]+)$", SOURCE, re.MULTILINE)}

    assert len(named) > 8
    assert len(flags) > 8
    assert len(marks) > 3
    rows = [
        *(f"| {register} | `{name}` |" for name, register in named.items() if name != "FLAGS"),
        *(f"| reg0[{int(bit, 16).bit_length() - 1}] | `FLAGS`, `{name}` |" for name, bit in flags.items()),
        *(f"| bit {bit.bit_length() - 1} | `{name}` |" for name, bit in marks.items()),
        *(f"| {errand.value:02x} | {errand.name} | {Meter[errand.name].value} |" for errand in Errand),
    ]
    assert [row for row in rows if row not in PAGE] == []


def test_numbers_are_those_of_the_code():
    kinds = ", ".join(f"{kind.value} {kind.name}" for kind in CookieKind)

    assert f"kind: {kinds} |" in PAGE
    assert f"One zone a node, {CT_ZONE} ({CT_ZONE:#x}), {MASK_ZONE} for" in PAGE
    assert f"and {REDIRECT_ZONE} for" in PAGE
    assert f"| {PRIORITY_PLAIN} | plain" in PAGE
    assert f"| {PRIORITY_CLOSED} | what drops in place" in PAGE
    assert f"| {TIER_BAND[0]} to {TIER_BAND[1]} | rules of tiers" in PAGE
    assert f"| {BASELINE_BAND[0]} to {BASELINE_BAND[1]} | rules of the baseline" in PAGE
    assert f"| {PRIORITY_CLAUSES} − lane |" in PAGE
    assert f"up to {RULES_PER_LANE:,} rules" in PAGE
