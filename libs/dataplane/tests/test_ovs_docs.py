"""docs/backends/ovs.md shows flows that are, and describes every table there is."""

import re
from collections.abc import Collection, Iterator
from inspect import getsource
from pathlib import Path

from sluice.dataplane.ovs import conntrack, registers
from sluice.dataplane.ovs.conntrack import CT_ZONE, MASK_ZONE, REDIRECT_ZONE
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.errand import Errand, Meter
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.ids import LANES, RULES_PER_LANE
from sluice.dataplane.ovs.layers import PRIORITY_CLOSED
from sluice.dataplane.ovs.pipeline import PRIORITY_CLAUSES, PRIORITY_PLAIN, Table
from sluice.dataplane.ovs.priorities import BANDS
from sluice.dataplane.ovs.route_flows import PRIORITY_LONGEST, PRIORITY_SHORTEST
from sluice.dataplane.ovs.traffic_flows import PRIORITY_SEEN

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


def test_every_flow_has_its_priority_in_the_tables_of_the_page():
    known = list(_rows())
    shown = {_place(line) for line in GOLDEN if line.startswith("cookie=")}

    assert len(shown) > 100
    assert [one for one in sorted(shown) if not any(one[0] in tables and one[1] in to for tables, to in known)] == []


def test_every_priority_of_the_page_is_that_of_flows():
    shown = {_place(line) for line in GOLDEN if line.startswith("cookie=")}
    not_golden = {
        *((table, PRIORITY_CLOSED) for table in BANDS),
        (Table.EGRESS_K8S, PRIORITY_PLAIN),
        (Table.REDIRECT, PRIORITY_SEEN),
        (Table.REDIRECT, PRIORITY_SEEN + 1),
    }
    told = {(table, number) for tables, to in _rows() if len(tables) < len(Table) for table in tables for number in to}
    bands = {(table, number) for table, (first, last) in BANDS.items() for number in range(first, last + 1)}
    lanes = {
        (table, PRIORITY_CLAUSES - lane) for table in (Table.EGRESS_K8S, Table.INGRESS_K8S) for lane in range(LANES)
    }
    prefixes = {(Table.FORWARD, number) for number in range(PRIORITY_SHORTEST, PRIORITY_LONGEST + 1)}

    assert sorted(told - shown - not_golden - bands - lanes - prefixes) == []
    assert sorted((not_golden | bands | lanes | prefixes) - told) == []


def _rows() -> Iterator[tuple[set[Table], Collection[int]]]:
    """The tables and priorities of each row about priorities."""
    section = PAGE[PAGE.index("## Priorities") : PAGE.index("### Ordered rules")]
    for numbers, names in re.findall(r"^\| (\d[^|]*) \| ([^|]+) \|", section, re.MULTILINE):
        tables = set(Table) if names == "all" else {Table[name] for name in names.split(", ")}
        match numbers.split(" "):
            case [first, "to", last]:
                ends = sorted((int(first), int(last)))
                yield tables, range(ends[0], ends[1] + 1)
            case [first, "−", "lane"]:
                yield tables, range(int(first) - LANES + 1, int(first) + 1)
            case _:
                yield tables, [int(number) for number in numbers.split(", ")]


def _place(line: str) -> tuple[Table, int]:
    table, priority = re.search(r"table=(\d+),", line), re.search(r"priority=(\d+)", line)
    assert priority
    return Table(int(table[1]) if table else 0), int(priority[1])


def test_numbers_are_those_of_the_code():
    kinds = ", ".join(f"{kind.value} {kind.name}" for kind in CookieKind)

    assert f"kind: {kinds} |" in PAGE
    assert f"One zone a node, {CT_ZONE} ({CT_ZONE:#x}), {MASK_ZONE} for" in PAGE
    assert f"and {REDIRECT_ZONE} for" in PAGE
    assert f"up to {RULES_PER_LANE:,} rules" in PAGE
