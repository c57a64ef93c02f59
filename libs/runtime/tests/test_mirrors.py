"""When a mirror is taken to stand still."""

from typing import NamedTuple

import pytest

from sluice.runtime.mirrors import Look, stalled


class Case(NamedTuple):
    name: str
    looks: list[tuple[int, int]]
    """Where the mirror ended, and the source."""

    stalled: bool


CASES = [
    Case("looked at once", [(5, 9)], False),
    Case("behind for a moment", [(5, 9), (5, 9)], False),
    Case("behind, and standing still", [(5, 9), (5, 9), (5, 12)], True),
    Case("behind, but on its way", [(5, 9), (6, 9), (6, 9)], False),
    Case("equal at first: what is behind now is new", [(9, 9), (9, 12), (9, 12)], False),
    Case("nothing happens", [(9, 9), (9, 9), (9, 9)], False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_stalled(case):
    assert stalled([Look(mirror, source, True) for mirror, source in case.looks]) is case.stalled
