"""What runs in a guest about a virtual function that goes from Pod to Pod: a veth that sysfs calls a representor."""

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.tc.network import Probe
from tests.tc.scene import PODS, Scene, scene

from sluice.contracts import networks
from sluice.contracts.groups import Member
from sluice.contracts.objects import AnyObject
from sluice.dataplane.tc.content import Content
from sluice.dataplane.tc.engine import Change, InterfaceKey
from sluice.dataplane.tc.filter import Hook
from sluice.drivers.tc.capabilities import Capabilities
from sluice.services.node_tc.settings import NodeTcSettings
from sluice.services.node_tc.upkeep import Upkeep
from sluice.testkit import builders
from sluice.testkit.tc_node import HERE, TcNode

SYSFS = Path("/run/card")
FUNCTION = "0000:03:00.1"
"""Which `builders.attached` gives the first interface of a Pod."""


class Lent(NamedTuple):
    """Whether b, and c, reach whoever is behind the virtual function, at each time."""

    not_told: tuple[bool, bool]
    nobodys: tuple[bool, bool]
    asked_for: tuple[bool, bool]
    """By a Pod whose interface is not reported yet."""

    policed: tuple[bool, bool]
    freed: tuple[bool, bool]
    after_restart: tuple[bool, bool]
    """Of node-tc, which is not told anything yet."""

    unpoliced: tuple[bool, bool]


class _Told:
    """What the bus says, or nothing."""

    def __init__(self) -> None:
        self.node: TcNode | None = None

    @property
    def interfaces(self) -> Mapping[InterfaceKey, Member]:
        return self.node.engine.interfaces if self.node else {}

    @property
    def claims(self) -> tuple[Member, ...] | None:
        return self.node.grouping.interfaces_on(HERE) if self.node else None

    def contents(self, key: InterfaceKey) -> Mapping[Hook, Content]:
        assert self.node is not None
        return self.node.engine.contents(key)

    def tell(self, upkeep: Upkeep, *objects: AnyObject) -> None:
        """These are all there are, and the kernel is brought to it."""
        before = set(self.interfaces)
        self.node = TcNode.of(*objects)
        upkeep.advance(dict.fromkeys({*before, *self.interfaces}, Change(True, {})), 0.0)
        assert upkeep.done
        assert (upkeep.failures, upkeep.errors) == ((), ())


def lend(policies: tuple[AnyObject, ...], zones: bool) -> Lent:
    """A virtual function goes from nobody to a Pod with these policies, to nobody, and to a Pod without any."""
    has = builders.pod("x/a", app="a", nets=[f"x/net={','.join(PODS['x/a'])}/via/rep-a"])
    waits = builders.pod("x/a", app="a", annotations={networks.NETWORKS: "x/net"})
    peers = [builders.pod(f"x/{one}", app=one, node="node-2", nets=[f"x/net={PODS[f'x/{one}'][0]}"]) for one in "bc"]
    base: tuple[AnyObject, ...] = (builders.namespace("x"), builders.network("x/net"), *peers)
    with scene(zones=zones) as found:
        found.upkeep.close()
        asked = []
        try:
            _make_card("rep-a")
            with _programmer(zones) as (told, upkeep):
                asked.append(_ask(found))
                for objects in (base, (*base, *policies, waits), (*base, *policies, has), (*base, *policies)):
                    told.tell(upkeep, *objects)
                    asked.append(_ask(found))
            with _programmer(zones) as (told, upkeep):
                asked.append(_ask(found))
                told.tell(upkeep, *base, has)
                asked.append(_ask(found))
        finally:
            found.begin()
    return Lent(*asked)


@contextmanager
def _programmer(zones: bool) -> Iterator[tuple[_Told, Upkeep]]:
    told = _Told()
    settings = NodeTcSettings(sysfs=str(SYSFS), state_dir="/run/lent")
    upkeep = Upkeep(settings, Capabilities(os.uname().release, zones), told)
    try:
        yield told, upkeep
    finally:
        upkeep.close()


def _ask(found: Scene) -> tuple[bool, bool]:
    to_b, to_c = found.network.ask(*(Probe(one, PODS["x/a"][0], "TCP", 80) for one in "bc"))
    return to_b, to_c


def _make_card(representor: str) -> None:
    """A card with one virtual function, and this interface for its representor."""
    shutil.rmtree(SYSFS, ignore_errors=True)
    devices, interface = SYSFS / "bus/pci/devices", SYSFS / "class/net" / representor
    parent = devices / "0000:03:00.0"
    for folder in (parent / "net", devices / FUNCTION, interface):
        folder.mkdir(parents=True)
    (devices / FUNCTION / "physfn").symlink_to(parent)
    (parent / "virtfn0").symlink_to(devices / FUNCTION)
    (parent / "net" / representor).symlink_to(interface)
    told = {"ifindex": socket.if_nametoindex(representor), "phys_port_name": "pf0vf0", "phys_switch_id": "c0ffee"}
    for attribute, value in told.items():
        (interface / attribute).write_text(f"{value}\n")
