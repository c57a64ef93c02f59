"""Every packet that a meter counted is accounted for, also those of while nobody was there."""

from pathlib import Path

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
    assert account.since_last(Metered(100, 40)) == (40, 0)
    account.save(waiting=5)

    assert begun(tmp_path / "a.json", Metered(130, 60))[1] == 35  # 30 since, and the five that were not written


def test_a_meter_that_counts_less_is_another_one(tmp_path: Path):
    account, _ = begun(tmp_path / "a.json")
    account.heard = 60
    account.since_last(Metered(60, 0))
    account.save(waiting=0)

    assert begun(tmp_path / "a.json", Metered(10, 0))[1] == 0


def test_a_file_that_says_nothing_costs_nothing_but_its_count(tmp_path: Path):
    (tmp_path / "a.json").write_text("{")

    assert begun(tmp_path / "a.json", Metered(7, 0))[1] == 7


def test_a_connection_that_is_made_anew_counts_on(tmp_path: Path):
    account, _ = begun(tmp_path / "a.json")
    account.heard = 10
    account.since_last(Metered(10, 0))
    account.heard = 3

    assert account.close(Metered(15, 0)) == 2
    account.heard = 4
    assert account.since_last(Metered(4, 0)) == (0, 0)
