"""Every packet that a meter counted is accounted for, also those of while nobody was there."""

from pathlib import Path
from typing import NamedTuple

import pytest

from sluice.drivers.openflow.meters import Metered
from sluice.services.node_ovs.accounts import Account, AccountFile


def begun(path: Path, counted: Metered | None = None) -> tuple[Account, int]:
    account = Account(AccountFile(path))
    return account, account.close(counted)


def test_who_begins_on_a_new_switch_misses_nothing(tmp_path: Path):
    assert begun(tmp_path / "a.json")[1] == 0


def test_what_came_while_nobody_was_there_is_missing(tmp_path: Path):
    account, _ = begun(tmp_path / "a.json")
    account.heard = 60
    account.look(Metered(100, 40))
    assert account.settle() == (40, 0)
    account.save(waiting=5)

    assert begun(tmp_path / "a.json", Metered(130, 60))[1] == 35  # 30 since, and the five that were not written


def test_a_meter_that_counts_less_is_another_one(tmp_path: Path):
    account, _ = begun(tmp_path / "a.json")
    account.heard = 60
    account.look(Metered(60, 0))
    account.save(waiting=0)

    assert begun(tmp_path / "a.json", Metered(10, 0))[1] == 0


def test_a_file_that_says_nothing_costs_nothing_but_its_count(tmp_path: Path):
    (tmp_path / "a.json").write_text("{")

    assert begun(tmp_path / "a.json", Metered(7, 0))[1] == 7


def test_a_connection_that_is_made_anew_counts_on(tmp_path: Path):
    account, _ = begun(tmp_path / "a.json")
    account.heard = 10
    account.look(Metered(10, 0))
    account.heard = 3

    assert account.close(Metered(15, 0)) == 2
    account.heard = 4
    account.look(Metered(4, 0))
    assert account.settle() == (0, 0)


class Case(NamedTuple):
    name: str
    seconds: list[list[tuple[Metered, int]]]
    """Of each second the looks: what the meter counted, and how many were heard of since the look before."""

    told: list[tuple[int, int]]


CASES = [
    Case("nothing", [[(Metered(0, 0), 0)]], [(0, 0)]),
    Case("all heard", [[(Metered(50, 0), 50)], [(Metered(70, 0), 20)]], [(0, 0), (0, 0)]),
    Case("over the rate", [[(Metered(50, 40), 10)], [(Metered(60, 45), 5)]], [(40, 0), (5, 0)]),
    Case("on its way at a look", [[(Metered(50, 0), 48)], [(Metered(60, 0), 12)]], [(0, 0), (0, 0)]),
    Case("lost", [[(Metered(50, 0), 30)], [(Metered(50, 0), 0)], [(Metered(50, 0), 0)]], [(0, 0), (0, 20), (0, 0)]),
    Case(
        "counted, and not dropped yet, at nearly every look",
        [
            [(Metered(40, 10), 10), (Metered(90, 40), 30)],
            [(Metered(130, 90), 0), (Metered(170, 130), 0), (Metered(200, 150), 0)],
            [(Metered(200, 160), 0)],
        ],
        [(40, 0), (110, 0), (10, 0)],
    ),
    Case("set anew", [[(Metered(50, 10), 40)], [(Metered(6, 1), 5)]], [(10, 0), (1, 0)]),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_only_what_stays_unheard_of_is_lost(case: Case, tmp_path: Path):
    account, _ = begun(tmp_path / "a.json")
    told = []
    for looks in case.seconds:
        for counted, heard in looks:
            account.heard = heard
            account.look(counted)
        told.append(account.settle())

    assert told == case.told
