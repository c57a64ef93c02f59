"""What got lost between a meter and us."""

from typing import NamedTuple

import pytest

from sluice.drivers.openflow.meters import Metered
from sluice.services.node_ovs.accounts import Lost


class Case(NamedTuple):
    name: str
    looks: list[tuple[Metered, int]]
    """What the meter counted, and how many were heard of since the look before."""

    told: list[tuple[int, int]]


CASES = [
    Case("nothing", [(Metered(0, 0), 0)], [(0, 0)]),
    Case("all heard", [(Metered(50, 0), 50), (Metered(70, 0), 20)], [(0, 0), (0, 0)]),
    Case("over the rate", [(Metered(50, 40), 10), (Metered(60, 45), 5)], [(40, 0), (5, 0)]),
    Case("on its way at a look", [(Metered(50, 0), 48), (Metered(60, 0), 12)], [(0, 0), (0, 0)]),
    Case("lost", [(Metered(50, 0), 30), (Metered(50, 0), 0), (Metered(50, 0), 0)], [(0, 0), (0, 20), (0, 0)]),
    Case("lost, both ways", [(Metered(90, 40), 30), (Metered(95, 40), 5)], [(40, 0), (0, 20)]),
    Case(
        "always some on their way",
        [(Metered(9, 0), 5), (Metered(18, 0), 9), (Metered(18, 0), 4)],
        [(0, 0), (0, 4), (0, 0)],
    ),
    Case(
        "taken for lost, and came: the next is not",
        [(Metered(4, 0), 0), (Metered(4, 0), 0), (Metered(8, 0), 4), (Metered(8, 0), 0)],
        [(0, 0), (0, 4), (0, 0), (0, 0)],
    ),
    Case("set anew", [(Metered(50, 10), 40), (Metered(6, 1), 5)], [(10, 0), (1, 0)]),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_nobody_heard_of_is_told_once(case: Case):
    lost = Lost()

    assert [lost.since_last(*look) for look in case.looks] == case.told
