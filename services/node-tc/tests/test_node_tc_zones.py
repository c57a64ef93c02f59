"""Zones go with an interface on a device, and are not given again soon."""

from pathlib import Path

import pytest

from sluice.contracts.ids import Uid
from sluice.dataplane.tc.engine import InterfaceKey
from sluice.services.node_tc.zones import LAST_ZONE, NoZoneLeft, Zones, ZonesFile, ZonesState


def key(name: str) -> InterfaceKey:
    return InterfaceKey(Uid(name), "x/net", "net1")


def test_a_zone_stays_with_the_interface() -> None:
    zones = Zones()

    assert zones.give("rep0", key("a")) == (1, True)
    assert zones.give("rep0", key("a")) == (1, False)


def test_another_pod_on_the_device_gets_another_zone() -> None:
    zones = Zones()
    zones.give("rep0", key("a"))

    assert zones.give("rep0", key("b")) == (2, True)


def test_what_was_taken_back_is_given_last() -> None:
    zones = Zones(ZonesState(leases={}, last=LAST_ZONE - 1))

    assert zones.give("rep0", key("a"))[0] == LAST_ZONE
    zones.take_back("rep0")
    assert zones.give("rep0", key("a")) == (1, True)


def test_no_two_have_one() -> None:
    zones = Zones()
    given = {zones.give(f"rep{number}", key("a"))[0] for number in range(300)}

    assert len(given) == 300


def test_when_all_are_given_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice.services.node_tc.zones.LAST_ZONE", 2)
    zones = Zones()
    zones.give("rep0", key("a"))
    zones.give("rep1", key("b"))

    with pytest.raises(NoZoneLeft, match="rep2"):
        zones.give("rep2", key("c"))


def test_they_are_kept_on_disk(tmp_path: Path) -> None:
    file = ZonesFile(tmp_path / "deep" / "zones.json")
    zones = file.load()
    zones.give("rep0", key("a"))
    file.save(zones)

    again = ZonesFile(tmp_path / "deep" / "zones.json").load()

    assert again.state == zones.state
    assert again.give("rep0", key("a")) == (1, False)


def test_a_file_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "zones.json").write_text("{")

    assert ZonesFile(tmp_path / "zones.json").load().leases == {}
    assert (tmp_path / "zones.bad").read_text() == "{"
