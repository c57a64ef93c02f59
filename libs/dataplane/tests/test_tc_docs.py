"""docs/backends/tc.md shows filters and commands that are, and describes every chain there is."""

import re
from pathlib import Path

from sluice.dataplane.tc.owner import ROOT_PREF, CookieKind, Place, chain

PAGE = (Path(__file__).parents[3] / "docs/backends/tc.md").read_text(encoding="utf-8")
GOLDEN = {line for path in (Path(__file__).parent / "golden/tc").glob("*") for line in path.read_text().splitlines()}


def test_every_filter_and_command_of_the_page_is_in_a_golden_file():
    begins = ("protocol ", "tc filter add ", "tc filter replace ", "sleep ")
    shown = [line for line in PAGE.splitlines() if line.startswith(begins)]

    assert len(shown) > 35
    assert [line for line in shown if line not in GOLDEN] == []


def test_every_chain_has_a_section():
    sections = re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)

    assert sections == [
        "root",
        *(place.name.lower() for place in (Place.ENTRY, Place.CLASSES, Place.PORTS, Place.ACCEPT)),
    ]


def test_numbers_are_those_of_the_code():
    kinds = ", ".join(f"{kind.value} {kind.name}" for kind in CookieKind)

    assert f"kinds are {kinds}." in PAGE
    assert f"| root | 0, preference {ROOT_PREF} |" in PAGE
    for place in (Place.ENTRY, Place.CLASSES, Place.ACCEPT):
        assert f"| {place.name.lower()} | {chain(0, place)} | {chain(1, place)} |" in PAGE
    assert f"from {chain(0, Place.PORTS)}, by a hash of what they hold | from {chain(1, Place.PORTS)} |" in PAGE
