"""Finds the host interface of a Pod's device (its representor) from what a CNI plugin reports.

A card in switchdev mode has one host interface for each function that it lends to a Pod (kernel:
Documentation/networking/representors.rst). Its name is looked up at the card by the reported function: a name from an
annotation may belong to another Pod by now, if the driver was reloaded since.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sluice.drivers.tc.devlink import Flavour, Port

PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
"""A PCI function as sysfs names it."""

PORT_NAME = re.compile(r"(?:c(?P<controller>\d+))?pf(?P<pf>\d+)(?:(?P<kind>vf|sf)(?P<number>\d+))?")
"""phys_port_name of a representor. Source: Linux net/devlink, __devlink_port_phys_port_name_get."""

UPLINK_NAME = re.compile(r"p(?P<pf>\d+)(?:s\d+)?")
"""phys_port_name of a card's own port, with the number of its physical function."""


class Device(NamedTuple):
    """What is reported of a Pod's interface (device information, type pci)."""

    pci: str = ""
    """PCI address of a virtual function, or the auxiliary device of a subfunction ("mlx5_core.sf.4")."""

    representor: str = ""
    """Name of its host interface, since version 1.1.0 of the specification."""


class NoRepresentor(Exception):
    """The host interface is unknown: where, what, why, and what to do."""


class Function(NamedTuple):
    """A virtual function or subfunction, lent to a Pod."""

    parent: str
    """PCI address of its physical function."""

    kind: str
    """vf or sf."""

    number: int


class Representors:
    """One look at the machine: sysfs and devlink are taken to be unchanged meanwhile.

    Args:
        sysfs: path of sysfs; another folder in tests.
        ports: the ports according to devlink.
        direct: accept names of interfaces that belong to no card as they are reported: for veth.
    """

    def __init__(self, sysfs: Path, ports: Iterable[Port] = (), *, direct: bool = False) -> None:
        self._sysfs = sysfs
        self._ports = tuple(ports)
        self._direct = direct
        # A cache: the number of reads grows with the number of interfaces, not with its square.
        self._read: dict[tuple[str, str], str] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._numbers: dict[str, dict[str, int]] = {}

    def find(self, device: Device) -> str:
        """The name of the host interface.

        Raises:
            NoRepresentor
        """
        named = device.representor
        if named and not self._exists(named):
            named = ""
        if named and self._direct and not self._switch(named):
            return named
        if not device.pci:
            raise NoRepresentor(self._why_unknown(device))
        function = self._function(device.pci)
        found = self._by_devlink(function) or self._by_sysfs(function)
        if found is None:
            raise NoRepresentor(
                f"{device.pci}: {function.kind} {function.number} of {function.parent} has no interface on this host; "
                f"is the card in switchdev mode (devlink dev eswitch show pci/{function.parent})?"
            )
        return found

    def lent(self) -> tuple[str, ...]:
        """All host interfaces of functions that this host can lend to Pods, sorted; those that no Pod has are idle.

        Leaves out functions of other hosts that the card serves, and those enslaved to anything but a Linux bridge
        (Open vSwitch, a bond, a VRF): they are somebody else's to lend.
        """
        return tuple(sorted(name for name in self._interfaces() if self._is_lent(name)))

    def _why_unknown(self, device: Device) -> str:
        if not device.representor:
            return (
                "the network's plugin reports no device; does its configuration have the capability CNIDeviceInfoFile?"
            )
        if not self._exists(device.representor):
            return f"{device.representor}: no such interface on this host; was the card's driver loaded anew?"
        return (
            f"{device.representor}: reported without a PCI address to verify it with; for interfaces of no card (veth) "
            f"set SLUICE_NODE_TC_DIRECT"
        )

    def _function(self, pci: str) -> Function:
        if not PCI.fullmatch(pci):
            return self._subfunction(pci)
        own = self._sysfs / "bus/pci/devices" / pci
        parent = (own / "physfn").resolve()
        if not (own / "physfn").exists():
            raise NoRepresentor(f"{pci}: no virtual function of this host (no {own}/physfn)")
        number = self._numbers_of(parent).get(pci)
        if number is not None:
            return Function(parent.name, "vf", number)
        raise NoRepresentor(f"{pci}: {parent.name} does not list it among its virtual functions; look again")

    def _numbers_of(self, parent: Path) -> dict[str, int]:
        """The number of each virtual function, by its PCI address."""
        if parent.name not in self._numbers:
            links = parent.glob("virtfn*")
            self._numbers[parent.name] = {one.resolve().name: int(one.name.removeprefix("virtfn")) for one in links}
        return self._numbers[parent.name]

    def _subfunction(self, name: str) -> Function:
        own = self._sysfs / "bus/auxiliary/devices" / name
        try:
            number = int((own / "sfnum").read_text())
        except (OSError, ValueError) as error:
            raise NoRepresentor(f"{name}: neither a PCI address nor a subfunction of this host ({error})") from error
        parents = [part.name for part in own.resolve().parents if PCI.fullmatch(part.name)]
        if not parents:
            raise NoRepresentor(f"{name}: {own} belongs to no PCI device")
        return Function(parents[0], "sf", number)

    def _by_devlink(self, function: Function) -> str | None:
        device = f"pci/{function.parent}"
        flavour = Flavour.PCI_VF if function.kind == "vf" else Flavour.PCI_SF
        pf = self._pf_number(function.parent)
        for port in self._ports:
            number = port.vf if function.kind == "vf" else port.sf
            here = port.device == device and port.controller == 0 and port.flavour == flavour
            if here and number == function.number and (pf is None or port.pf in (None, pf)) and port.netdev:
                return port.netdev
        return None

    def _by_sysfs(self, function: Function) -> str | None:
        """By port names. They are unique within a switch, which several physical functions may share."""
        pf = self._pf_number(function.parent)
        for name in self._names_at(function.parent):
            found = PORT_NAME.fullmatch(self._port_name(name))
            if found is None or not self._switch(name) or found["controller"] not in (None, "0"):
                continue
            if (found["kind"], found["number"]) == (function.kind, str(function.number)) and (
                pf is None or int(found["pf"]) == pf
            ):
                return name
        return None

    def _pf_number(self, parent: str) -> int | None:
        """A physical function's number as used in port names; from its uplink's name, if that has one."""
        for name in self._names_at(parent):
            found = UPLINK_NAME.fullmatch(self._port_name(name))
            if found is not None and self._switch(name):
                return int(found["pf"])
        return None

    def _names_at(self, pci: str) -> tuple[str, ...]:
        folder = self._sysfs / "bus/pci/devices" / pci / "net"
        if pci not in self._names:
            self._names[pci] = tuple(sorted(one.name for one in folder.iterdir())) if folder.is_dir() else ()
        return self._names[pci]

    def _interfaces(self) -> Iterator[str]:
        folder = self._sysfs / "class/net"
        if folder.is_dir():
            yield from (entry.name for entry in folder.iterdir())

    def _is_lent(self, name: str) -> bool:
        found = PORT_NAME.fullmatch(self._port_name(name))
        if found is None or found["kind"] is None or found["controller"] not in (None, "0") or not self._switch(name):
            return False
        master = self._sysfs / "class/net" / name / "master"
        return not master.exists() or (master / "bridge").exists()

    def _exists(self, name: str) -> bool:
        return "/" not in name and (self._sysfs / "class/net" / name).exists()

    def _switch(self, name: str) -> str:
        return self._attribute(name, "phys_switch_id")

    def _port_name(self, name: str) -> str:
        return self._attribute(name, "phys_port_name")

    def _attribute(self, name: str, attribute: str) -> str:
        key = name, attribute
        if key not in self._read:
            try:
                self._read[key] = (self._sysfs / "class/net" / name / attribute).read_text().strip()
            except OSError:  # EOPNOTSUPP of interfaces without one
                self._read[key] = ""
        return self._read[key]
