"""Interfaces as the database has them, and what they are to TrafficControls."""

from typing import NamedTuple

import pytest

from sluice.dataplane.ovs.traffic_ports import Found
from sluice.drivers.ovsdb.monitor import View
from sluice.drivers.ovsdb.rows import Bridge, Interface, Port, RowId
from sluice.services.node_ovs.traffic_ports import found_ports


class Case(NamedTuple):
    name: str
    type: str
    ofport: int | None
    ifindex: int | None
    made_for: str
    gone: bool


CASES = [
    Case("a device", "", 5, 10, "10", False),
    Case("one that is being opened", "", None, None, "10", False),
    Case("one that has a number first", "", 5, None, "10", False),
    Case("one that was unplugged", "", 5, 0, "10", True),
    Case("another of its name", "", 5, 11, "10", True),
    Case("one that somebody attached", "", 5, 10, "", False),
    Case("one that somebody attached and unplugged", "", 5, 0, "", True),
    Case("a tunnel has no device", "vxlan", 5, 0, "", False),
    Case("nor has the switch's own port another", "internal", 5, 0, "", False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whether_its_device_has_gone(case: Case) -> None:
    ids = {"sluice.role": "traffic"} | ({"sluice.ifindex": case.made_for} if case.made_for else {})
    interface = Interface(
        id=RowId("i"),
        name="eno2",
        ofport=case.ofport,
        external_ids=ids,
        type=case.type,
        admin_state=None,
        link_state=None,
        error=None,
        ifindex=case.ifindex,
    )
    view = View()
    for row in (
        Bridge(RowId("b"), "br-int", frozenset({RowId("p")}), frozenset()),
        Port(RowId("p"), "eno2", frozenset({RowId("i")}), None),
        interface,
    ):
        view.rows[row.id] = row

    found = found_ports(view, "br-int")

    assert found == {"eno2": Found("eno2", case.type, "ours", case.ofport, None, "", case.gone)}
