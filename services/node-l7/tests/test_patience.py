"""How long an engine is waited for that does not live."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from sluice.services.node_l7.patience import LONGEST_S, SETTLED_S, SHORTEST_S, Patience

LONG = SETTLED_S + 1


class Case(NamedTuple):
    name: str
    lives: Sequence[tuple[float, bool]]
    """How long each was, and whether the engine itself failed."""

    pauses: Sequence[float]


CASES = [
    Case("one that lived long is replaced at once", [(LONG, True)] * 3, [0, 0, 0]),
    Case("so is the first that did not", [(LONG, True), (1, True)], [0, 0]),
    Case("those that follow wait longer and longer", [(1, True)] * 5, [0, 0.25, 0.5, 1, 2]),
    Case("but not for ever longer", [(1, True)] * 2000, [*([0, 0.25, 0.5, 1, 2, 4, 8]), *([LONGEST_S] * 1993)]),
    Case("a long life makes up for all", [(1, True)] * 4 + [(LONG, True), (1, True)], [0, 0.25, 0.5, 1, 0, 0]),
    Case("a switch that was away says nothing of the engine", [(1, False)] * 9 + [(1, True)], [*([SHORTEST_S] * 9), 0]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pauses(case: Case):
    patience = Patience()

    assert [patience.after(lived_s, failed=failed) for lived_s, failed in case.lives] == case.pauses
