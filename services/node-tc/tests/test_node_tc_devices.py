"""Whose interface is which, and what is said of those that are nobody's."""

from pathlib import Path
from typing import NamedTuple

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
        (replace(ATTACHED, plugin="macvlan"), "macvlan is not in SLUICE_NODE_TC_NETWORK_PLUGINS"),
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


# ------------------------------------------------------------------------------------------------------------ idle ones

VF = replace(ATTACHED, pci="0000:03:00.1", representor="")


@pytest.fixture
def card(sysfs: Path) -> Path:
    """rep0 and rep1 are representors of virtual functions 0000:03:00.1 and 0000:03:00.2; veth7 is of no card."""
    parent, folder = sysfs / "bus/pci/devices/0000:03:00.0", sysfs / "class/net"
    (parent / "net").mkdir(parents=True)
    for number, name in enumerate(("rep0", "rep1")):
        function = parent.parent / f"0000:03:00.{number + 1}"
        function.mkdir()
        (function / "physfn").symlink_to(parent)
        (parent / f"virtfn{number}").symlink_to(function)
        (parent / "net" / name).symlink_to(folder / name)
        (folder / name / "phys_port_name").write_text(f"pf0vf{number}\n")
        (folder / name / "phys_switch_id").write_text("c0ffee\n")
    (folder / "veth7").mkdir()
    (folder / "veth7/ifindex").write_text("17\n")
    return sysfs


REP0, REP1 = Device("rep0", 7), Device("rep1", 8)


class Idle(NamedTuple):
    name: str
    claims: list[Attachment] | None
    closed: list[Device]
    says: str = ""
    """In the errors; nothing is said where it is empty."""


IDLE = [
    Idle("it is not told who has which", None, []),
    Idle("nobody has any", [], [REP0, REP1]),
    Idle("a Pod that no policy is about has one", [VF], [REP1]),
    Idle("a Pod of a network that is not known yet has one", [replace(VF, plugin="")], [REP1]),
    Idle("a Pod of another plugin has one", [replace(VF, plugin="sriov")], [REP1]),
    Idle("what is asked for has none yet", [replace(ATTACHED, representor="", attached=False)], [REP0, REP1]),
    Idle("the plugin reports none", [replace(ATTACHED, representor="")], [REP0, REP1], "x/0, net1 on x/net: the netw"),
    Idle("it cannot be found", [replace(VF, pci="0000:09:00.1")], [REP0, REP1], "0000:09:00.1: no virtual function"),
    Idle("another plugin needs none", [replace(ATTACHED, plugin="macvlan", representor="")], [REP0, REP1]),
    Idle("a veth that is named", [replace(ATTACHED, representor="veth7")], [REP0, REP1]),
    Idle("two have one", [VF, VF], [REP0, REP1], "rep0 is claimed by x/0 and x/1"),
]


@pytest.mark.parametrize("case", IDLE, ids=lambda case: case.name)
def test_representors_that_nobody_has_are_closed(case: Idle, card: Path) -> None:
    claims = None if case.claims is None else [member(str(n), one)[1] for n, one in enumerate(case.claims)]

    found = find({}, frozenset({"accelerated-bridge"}), card, direct=True, claims=claims)

    assert sorted(found.closed.values()) == case.closed
    assert found.devices == {}
    assert bool(found.errors) == bool(case.says)
    assert all(case.says in one for one in found.errors.values())


def test_what_a_policed_pod_has_is_not_idle(card: Path) -> None:
    key, one = member("a", VF)

    found = find({key: one}, frozenset({"accelerated-bridge"}), card, direct=False, claims=[one])

    assert (found.devices, list(found.closed.values()), found.errors) == ({key: REP0}, [REP1], {})
