"""Who has which address, over restarts and deaths."""

from pathlib import Path

import pytest

from sluice.services.cni.addresses import Addresses
from sluice.services.cni.protocol import CniFailed, Owner

BOTH = ("10.64.0.0/29", "fd00:0:0:1::/64")


def owner(number: int) -> Owner:
    return Owner(f"c{number}", "eth0")


def test_each_owner_has_one_of_each_range_and_keeps_it(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path, BOTH)

    assert addresses.give(owner(1)) == ("10.64.0.2", "fd00:0:0:1::2")
    assert addresses.give(owner(2)) == ("10.64.0.3", "fd00:0:0:1::3")
    assert addresses.give(owner(1)) == ("10.64.0.2", "fd00:0:0:1::2")


def test_neither_network_nor_gateway_nor_broadcast_is_given(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path, ("10.64.0.0/29",))

    assert addresses.free == 5
    given = [addresses.give(owner(number))[0] for number in range(5)]

    assert addresses.free == 0
    assert given == [f"10.64.0.{last}" for last in range(2, 7)]
    with pytest.raises(CniFailed, match=r"10\.64\.0\.0/29: all addresses of this node are in use \(5\)"):
        addresses.give(owner(6))
    assert addresses.of(owner(6)) == ()


def test_what_was_released_last_is_given_last(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path, ("10.64.0.0/29",))
    for number in range(3):
        addresses.give(owner(number))

    addresses.release(owner(0))

    assert [addresses.give(owner(number))[0] for number in (3, 4, 5)] == ["10.64.0.5", "10.64.0.6", "10.64.0.2"]


def test_a_new_daemon_goes_on_where_the_old_one_ended(tmp_path: Path) -> None:
    before = Addresses(tmp_path, BOTH)
    before.give(owner(1))
    before.give(owner(2))
    before.release(owner(1))

    after = Addresses(tmp_path, BOTH)

    assert after.owners == {owner(2)}
    assert after.of(owner(2)) == ("10.64.0.3", "fd00:0:0:1::3")
    assert after.give(owner(3)) == ("10.64.0.4", "fd00:0:0:1::4")


def test_a_file_that_was_being_written_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "10.64.0.2.new").write_bytes(b'{"contai')

    addresses = Addresses(tmp_path, ("10.64.0.0/29",))

    assert addresses.owners == frozenset()
    assert [path.name for path in tmp_path.iterdir()] == []


def test_an_owner_that_was_given_one_family_only_before_a_death_is_given_the_other(tmp_path: Path) -> None:
    before = Addresses(tmp_path, BOTH)
    before.give(owner(1))
    (tmp_path / "fd00_0_0_1__2").unlink()

    assert Addresses(tmp_path, BOTH).give(owner(1)) == ("10.64.0.2", "fd00:0:0:1::2")
