"""Whose interface is which, and what is said of those that are nobody's."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from sluice.contracts.groups import Attachment, Member
from sluice.contracts.ids import Uid
from sluice.dataplane.tc.engine import InterfaceKey
from sluice.services.node_tc.devices import Found, find
from sluice.services.node_tc.keeper import Device


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    for number, name in enumerate(("rep0", "rep1"), start=7):
        folder = tmp_path / "class/net" / name
        folder.mkdir(parents=True)
        (folder / "ifindex").write_text(f"{number}\n")
    return tmp_path


ATTACHED = Attachment(network="x/net", interface="net1", plugin="accelerated-bridge", representor="rep0", attached=True)


def member(name: str, attachment: Attachment = ATTACHED) -> tuple[InterfaceKey, Member]:
    key = InterfaceKey(Uid(name), attachment.network, attachment.interface)
    return key, Member(pod=f"x/{name}", uid=Uid(name), attachment=attachment)


def look(sysfs: Path, *members: tuple[InterfaceKey, Member]) -> Found:
    return find(dict(members), frozenset({"accelerated-bridge"}), sysfs, direct=True)


def test_found(sysfs: Path) -> None:
    key, one = member("a")

    assert look(sysfs, (key, one)) == Found({key: Device("rep0", 7)}, {}, {}, frozenset())


def test_what_is_not_attached_yet_is_waited_for(sysfs: Path) -> None:
    key, one = member("a", replace(ATTACHED, representor="", attached=False))

    assert look(sysfs, (key, one)) == Found({}, {}, {}, frozenset({key}))


@pytest.mark.parametrize(
    ("attachment", "says"),
    [
        (replace(ATTACHED, plugin="macvlan"), "macvlan is none of SLUICE_NODE_TC_NETWORK_PLUGINS"),
        (replace(ATTACHED, representor="rep9"), "rep9: no such interface"),
        (replace(ATTACHED, representor=""), "reports no device"),
    ],
)
def test_what_cannot_be_policed_is_told(attachment: Attachment, says: str, sysfs: Path) -> None:
    key, one = member("a", attachment)

    found = look(sysfs, (key, one))

    assert found.devices == found.closed == {}
    assert found.errors[key].startswith("Pod x/a, net1 on x/net: ")
    assert says in found.errors[key]


def test_a_network_that_is_not_known_yet_is_policed_all_the_same(sysfs: Path) -> None:
    key, one = member("a", replace(ATTACHED, plugin=""))

    assert look(sysfs, (key, one)).devices == {key: Device("rep0", 7)}


def test_of_two_that_claim_a_device_neither_has_it_and_it_is_closed(sysfs: Path) -> None:
    (a, one), (b, two) = member("a"), member("b")

    found = look(sysfs, (a, one), (b, two))

    assert found.devices == {}
    assert list(found.closed.values()) == [Device("rep0", 7)]
    assert "x/a and x/b" in found.errors[a]
    assert found.errors.keys() == {a, b}
