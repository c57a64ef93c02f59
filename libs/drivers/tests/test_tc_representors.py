"""Which interface on the host is a Pod's, on machines that are folders."""

from pathlib import Path
from typing import NamedTuple

import pytest

from sluice.drivers.tc.attributes import U16, U32, attribute, text
from sluice.drivers.tc.devlink import HEAD, Flavour, Port, read_port
from sluice.drivers.tc.netlink import Message
from sluice.drivers.tc.representors import Device, NoRepresentor, Representors

PF0, PF1 = "0000:03:00.0", "0000:03:00.1"
VF0_2, VF1_2 = "0000:03:00.4", "0000:03:01.2"
SF = "mlx5_core.sf.4"


class Machine:
    """A card with two physical functions on one switch, each with virtual functions; and an interface of no card."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for parent in (PF0, PF1):
            self.device(parent)
        for parent, address, index in ((PF0, VF0_2, 2), (PF1, VF1_2, 2)):
            self.device(address)
            (self.device(address) / "physfn").symlink_to(self.device(parent))
            (self.device(parent) / f"virtfn{index}").symlink_to(self.device(address))
        self.interface(PF0, "enp3s0f0", "p0")
        self.interface(PF1, "enp3s0f1", "p1")
        self.interface(PF0, "rep0", "pf0vf2")
        self.interface(PF1, "rep1", "pf1vf2")
        self.interface(PF0, "repsf", "pf0sf88")
        (root / "class/net/veth7").mkdir()
        subfunction = self.device(PF0) / SF
        subfunction.mkdir()
        (subfunction / "sfnum").write_text("88\n")
        (root / "bus/auxiliary/devices").mkdir(parents=True)
        (root / "bus/auxiliary/devices" / SF).symlink_to(subfunction)

    def device(self, address: str) -> Path:
        real = self.root / "devices" / address
        real.mkdir(parents=True, exist_ok=True)
        named = self.root / "bus/pci/devices" / address
        named.parent.mkdir(parents=True, exist_ok=True)
        if not named.exists():
            named.symlink_to(real)
        return real

    def interface(self, parent: str, name: str, port: str, switch: str = "c0ffee") -> None:
        real = self.device(parent) / "net" / name
        real.mkdir(parents=True)
        (real / "phys_port_name").write_text(f"{port}\n")
        (real / "phys_switch_id").write_text(f"{switch}\n" if switch else "")
        (self.root / "class/net").mkdir(parents=True, exist_ok=True)
        (self.root / "class/net" / name).symlink_to(real)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


class Case(NamedTuple):
    name: str
    device: Device
    expected: str


FOUND = [
    Case("by the virtual function", Device(pci=VF0_2), "rep0"),
    Case("the same number of another physical function", Device(pci=VF1_2), "rep1"),
    Case("a subfunction", Device(pci=SF), "repsf"),
    Case("the plugin says the same", Device(pci=VF0_2, representor="rep0"), "rep0"),
    Case("the plugin's name is another's by now", Device(pci=VF0_2, representor="rep1"), "rep0"),
    Case("the plugin's name is gone", Device(pci=VF0_2, representor="eth7"), "rep0"),
]


@pytest.mark.parametrize("case", FOUND, ids=lambda case: case.name)
def test_found(case: Case, machine: Machine) -> None:
    assert Representors(machine.root).find(case.device) == case.expected


UNKNOWN = [
    Case("nothing is reported", Device(), "reports no device"),
    Case("a name alone cannot be verified", Device(representor="rep0"), "without a PCI address"),
    Case("no such interface", Device(representor="eth7"), "no such interface"),
    Case("a path is no name", Device(representor="../net/rep0"), "no such interface"),
    Case("no such function", Device(pci="0000:05:00.1"), "no virtual function"),
    Case("neither PCI nor auxiliary", Device(pci="eth0"), "neither a PCI address nor a subfunction"),
    Case("veth without being asked for", Device(representor="veth7"), "SLUICE_NODE_TC_DIRECT"),
]


@pytest.mark.parametrize("case", UNKNOWN, ids=lambda case: case.name)
def test_unknown(case: Case, machine: Machine) -> None:
    with pytest.raises(NoRepresentor, match=case.expected):
        Representors(machine.root).find(case.device)


def test_an_interface_of_no_card_is_taken_at_its_word_where_that_is_allowed(machine: Machine) -> None:
    assert Representors(machine.root, direct=True).find(Device(representor="veth7")) == "veth7"


def test_a_cards_interface_is_verified_even_so(machine: Machine) -> None:
    with pytest.raises(NoRepresentor):
        Representors(machine.root, direct=True).find(Device(representor="rep0"))


def test_a_card_that_shows_all_of_a_switch_is_told_apart_by_its_physical_function(machine: Machine) -> None:
    machine.interface(PF0, "another", "pf1vf2")

    assert Representors(machine.root).find(Device(pci=VF0_2)) == "rep0"


def test_a_card_that_is_no_switch_has_none(machine: Machine) -> None:
    (machine.device(PF0) / "net/rep0/phys_switch_id").write_text("")

    with pytest.raises(NoRepresentor, match="switchdev"):
        Representors(machine.root).find(Device(pci=VF0_2))


def test_devlink_is_asked_first_and_other_hosts_ports_are_not_ours(machine: Machine) -> None:
    card = f"pci/{PF0}"
    ports = (
        Port(card, Flavour.PCI_VF, "theirs", controller=1, pf=0, vf=2),
        Port(card, Flavour.PCI_VF, "another", pf=1, vf=2),
        Port(card, Flavour.PCI_SF, "sub", pf=0, sf=2),
        Port(card, Flavour.PCI_VF, "ours", pf=0, vf=2),
    )

    assert Representors(machine.root, ports).find(Device(pci=VF0_2)) == "ours"


def test_what_this_host_can_lend(machine: Machine) -> None:
    assert Representors(machine.root).lent() == ("rep0", "rep1", "repsf")


def test_what_is_somebody_elses_to_lend_is_not_ours(machine: Machine) -> None:
    machine.interface(PF0, "theirs", "c1pf0vf2")
    for name, master in (("rep0", "ovs-system"), ("rep1", "br0")):
        (machine.root / "class/net" / master).mkdir()
        (machine.root / "class/net" / name / "master").symlink_to(machine.root / "class/net" / master)
    (machine.root / "class/net/br0/bridge").mkdir()

    assert Representors(machine.root).lent() == ("rep1", "repsf")


def test_a_machine_without_cards_lends_nothing(tmp_path: Path) -> None:
    assert Representors(tmp_path).lent() == ()


def test_a_port_is_read() -> None:
    parts = (
        text(1, "pci"),
        text(2, PF0),
        text(7, "ours"),
        attribute(77, U16.pack(7)),
        attribute(127, U16.pack(1)),
        attribute(150, U32.pack(2)),
        attribute(164, U32.pack(88)),
    )

    port = read_port(Message(0, 0, HEAD.pack(7, 1) + b"".join(parts)))

    assert port == Port(f"pci/{PF0}", Flavour.PCI_SF, "ours", controller=2, pf=1, vf=None, sf=88)
