"""The database of a real switch: what it holds, how it changes, and what cannot be done."""

import asyncio
from collections.abc import Mapping

import pytest

from sluice.contracts.ids import Address, Uid
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.ovsdb.client import NotApplied, Ovsdb, PortFailed, TransactionRefused
from sluice.drivers.ovsdb.monitor import Change
from sluice.drivers.ovsdb.operations import NewPort
from sluice.drivers.ovsdb.pods import BadPodIds, PodIds, from_external_ids, to_external_ids
from sluice.drivers.ovsdb.rows import Interface

pytestmark = pytest.mark.datapath

IDS = {"sluice.pod": "x/a", "sluice.uid": "u-1", "sluice.mac": "02:00:00:00:00:01", "sluice.ips": "10.0.0.1,fd00::1"}


def taps(*names, **fields):
    """Ports that need no device: Open vSwitch makes one."""
    return [NewPort(name=name, type="internal", **fields) for name in names]


async def until(monitor, seen):
    """Follow the monitor until `seen` says so of its view."""
    async with asyncio.timeout(60):
        while not (found := seen(monitor.view)):
            await anext(monitor)
    return found


async def test_a_bridge_is_closed_and_speaks_openflow_15(ovsdb, bridge):
    monitor = await ovsdb.monitor()

    found = await until(monitor, lambda view: view.bridge(bridge))

    columns = ["datapath_type", "fail_mode"]
    (asked,) = await ovsdb.transact(
        {"op": "select", "table": "Bridge", "where": [["name", "==", bridge]], "columns": columns}
    )
    assert asked["rows"] == [{"datapath_type": "netdev", "fail_mode": "secure"}]
    assert {"OpenFlow15", "OpenFlow13"} <= found.protocols
    assert [interface.name for interface in monitor.view.interfaces(bridge)] == [bridge]


async def test_ensuring_a_bridge_again_keeps_its_ports(node, ovsdb, bridge):
    ports = await ovsdb.add_ports(bridge, *taps("drvt1"))

    await node.ensure_bridge(bridge)

    assert await ovsdb.ofports("drvt1") == ports


async def test_a_port_is_told_with_its_ids_and_its_number(ovsdb, bridge):
    monitor = await ovsdb.monitor("Bridge", "Port", "Interface")

    assert await ovsdb.add_ports(bridge, *taps("drvt1", ofport=11, external_ids=IDS)) == {"drvt1": 11}

    def told(view):
        return next((one for one in view.interfaces(bridge) if one.name == "drvt1" and one.ofport), None)

    interface = await until(monitor, told)
    assert (interface.ofport, interface.external_ids, interface.type) == (11, IDS, "internal")
    assert (interface.error, interface.admin_state) == (None, "down")


async def test_first_everything_then_each_change(ovsdb, bridge):
    await ovsdb.add_ports(bridge, *taps("drvt1"))
    monitor = await ovsdb.monitor("Interface")

    first = await anext(monitor)
    assert all(change.before is None for change in first)
    assert {"drvt1", bridge} <= {change.after.name for change in first}

    await ovsdb.set_external_ids("drvt1", IDS)
    async with asyncio.timeout(60):
        (change,) = await anext(monitor)
    assert isinstance(change.before, Interface)
    assert (change.before.external_ids, change.after.external_ids) == ({}, IDS)

    await ovsdb.delete_ports(bridge, ["drvt1"])
    async with asyncio.timeout(60):
        assert Change(change.after, None) in await anext(monitor)
    assert [one.name for one in monitor.view.interfaces(bridge)] == []  # this monitor knows no bridges


async def test_a_hundred_ports_in_one_transaction(ovsdb, bridge):
    names = [f"drvt{number}" for number in range(100)]

    ports = await ovsdb.add_ports(bridge, *taps(*names))

    assert ports.keys() == set(names)
    assert len(set(ports.values())) == 100
    await ovsdb.delete_ports(bridge, names)
    monitor = await ovsdb.monitor()
    await anext(monitor)
    assert [one.name for one in monitor.view.interfaces(bridge)] == [bridge]


async def test_no_such_bridge(ovsdb):
    with pytest.raises(TransactionRefused, match=r"db\.sock: there is no Bridge called br-none: add it first"):
        await ovsdb.add_ports("br-none", *taps("drvt1"))


async def test_no_such_interface(ovsdb):
    with pytest.raises(TransactionRefused, match="there is no Interface called drvt-none"):
        await ovsdb.set_external_ids("drvt-none", {})


async def test_a_name_that_is_taken(ovsdb, bridge):
    await ovsdb.add_ports(bridge, *taps("drvt1"))

    with pytest.raises(TransactionRefused, match=r"commit: constraint violation: .*drvt1"):
        await ovsdb.add_ports(bridge, *taps("drvt2", "drvt1"))

    monitor = await ovsdb.monitor()
    await anext(monitor)
    assert {one.name for one in monitor.view.interfaces(bridge)} == {bridge, "drvt1"}


async def test_a_device_that_does_not_exist(ovsdb, bridge):
    with pytest.raises(PortFailed, match=r"interface drvt-none: could not open .*: is there a device drvt-none in"):
        await ovsdb.add_ports(bridge, NewPort(name="drvt-none"))


async def test_a_dead_vswitchd_is_told(node, ovsdb, bridge):
    await node.kill_vswitchd()

    with pytest.raises(NotApplied, match=r"ovs-vswitchd has not carried it out: is it alive\?"):
        await ovsdb.change(timeout_s=0.2)


async def test_a_monitor_ends_with_its_connection(ovsdb, bridge, node):
    own = await Ovsdb.connect(node.db_socket)
    monitor = await own.monitor()
    await anext(monitor)

    own.close()

    assert await own.closed == "closed by us"
    for _ in range(2):
        with pytest.raises(RpcGone, match="closed by us"):
            await anext(monitor)
    with pytest.raises(RpcGone):
        await own.transact()


async def test_a_monitor_can_be_stopped(ovsdb, bridge):
    monitor = await ovsdb.monitor()
    await anext(monitor)

    await ovsdb.stop(monitor)

    with pytest.raises(RpcGone, match="was stopped"):
        await anext(monitor)
    await ovsdb.add_ports(bridge, *taps("drvt1"))  # the connection goes on


# ---------------------------------------------------------------------------------------------------- Pods' ports

POD = PodIds("x/a", Uid("u-1"), "02:00:00:00:00:01", (Address("10.0.0.1"), Address("fd00::1")))


def test_a_pod_is_read_as_it_was_written():
    assert to_external_ids(POD) == IDS
    assert from_external_ids("p", to_external_ids(POD)) == POD
    assert from_external_ids("p", to_external_ids(POD._replace(addresses=()))) == POD._replace(addresses=())


def test_a_port_without_a_uid_is_no_pods():
    assert from_external_ids("gnv0", {"iface-id": "x"}) is None


def changed(ids: Mapping[str, str], **values: str) -> dict[str, str]:
    return {**ids, **{f"sluice.{name}": value for name, value in values.items()}}


BAD = [
    ("no mac", {name: IDS[name] for name in ("sluice.pod", "sluice.uid", "sluice.ips")}, "sluice.mac is missing"),
    ("no mac address", changed(IDS, mac="2:0:0:0:0:1"), "no MAC address: write it as"),
    ("a prefix", changed(IDS, ips="10.0.0.1/24"), "sluice.ips: .*: write plain addresses"),
    ("no address", changed(IDS, ips="localhost"), "sluice.ips: "),
]


@pytest.mark.parametrize(("ids", "said"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_ids_name_the_interface(ids, said):
    with pytest.raises(BadPodIds, match=f"interface p7: external_ids: .*{said}|interface p7: external_ids: {said}"):
        from_external_ids("p7", ids)


def test_addresses_become_canonical():
    found = from_external_ids("p", changed(IDS, ips="fd00:0::1,10.0.0.1", mac="02:00:00:00:00:0A"))

    assert found is not None
    assert (found.addresses, found.mac) == (("10.0.0.1", "fd00::1"), "02:00:00:00:00:0a")
