"""The switch of a node: it starts, is killed, starts again and leaves nothing behind."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from sluice.drivers.openflow.switch import Switch
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.operations import NewPort
from sluice.lab.ovs import OvsFailed, OvsNode

pytestmark = pytest.mark.datapath

NETNS = f"drvt-lab-{os.getpid()}"


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, timeout=60, capture_output=True, text=True).stdout


@pytest.fixture
def netns():
    ip("netns", "add", NETNS)
    yield NETNS
    ip("netns", "del", NETNS)


@pytest.fixture
async def node(netns, tmp_path):
    node = await OvsNode.start(netns, tmp_path / "ovs", variables={"DRVT_MARK": "here"})
    yield node
    await node.stop()


async def test_it_starts_and_leaves_nothing_behind(netns, tmp_path):
    node = await OvsNode.start(netns, tmp_path / "ovs")
    await node.ensure_bridge()
    pids = [node.vswitchd_pid, node.ovsdb_pid]
    assert sorted(ip("netns", "pids", netns).split()) == sorted(map(str, pids))

    await node.stop()

    assert ip("netns", "pids", netns) == ""
    assert (node.vswitchd_pid, node.ovsdb_pid) == (None, None)
    await node.stop()  # again


async def test_whoever_knows_the_folder_can_stop_it(node, netns):
    await OvsNode(netns, node.folder).stop()

    assert ip("netns", "pids", netns) == ""


async def test_the_daemons_have_the_variables(node):
    for pid in (node.vswitchd_pid, node.ovsdb_pid):
        assert b"DRVT_MARK=here" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


async def test_a_bridge_is_there_when_it_is_said_to_be(node):
    await node.ensure_bridge()
    await node.ensure_bridge()

    switch = await Switch.connect(node.mgmt_socket())
    assert await switch.dump() == {}
    switch.close()


@pytest.mark.parametrize("how", ["killed", "told to go"])
async def test_ports_outlive_vswitchd(node, how):
    await node.ensure_bridge()
    ovsdb = await Ovsdb.connect(node.db_socket)
    port = NewPort(name="drvt0", type="internal", ofport=42)
    assert await ovsdb.add_ports("br-int", port) == {"drvt0": 42}
    first = node.vswitchd_pid

    if how == "killed":
        await node.kill_vswitchd()
        assert node.vswitchd_pid is None
        await node.start_vswitchd()
    else:
        await node.restart_vswitchd()

    assert node.vswitchd_pid not in {None, first}
    assert await ovsdb.ofports("drvt0") == {"drvt0": 42}
    ovsdb.close()


async def test_a_watched_vswitchd_comes_back_by_itself_and_stays_away_when_told(netns, tmp_path):
    node = await OvsNode.start(netns, tmp_path / "ovs", monitor=True)
    await node.ensure_bridge()
    first = node.vswitchd_pid
    assert first is not None
    os.kill(first, 11)  # SIGSEGV: after a SIGKILL the watcher would go, too

    ovsdb = await Ovsdb.connect(node.db_socket)
    await ovsdb.change()
    ovsdb.close()
    assert node.vswitchd_pid not in {None, first}

    await node.stop()
    assert ip("netns", "pids", netns) == ""


async def test_a_folder_that_is_too_long_is_refused_at_once(netns, tmp_path):
    with pytest.raises(OvsFailed, match="take a shorter folder"):
        await OvsNode.start(netns, tmp_path / ("x" * 90))


async def test_what_the_program_said_is_in_the_error(netns, tmp_path):
    with pytest.raises(OvsFailed, match=r'exec of "drvt-nowhere"|Cannot open network namespace "drvt-nowhere"'):
        async with asyncio.timeout(60):
            await OvsNode.start("drvt-nowhere", tmp_path / "ovs")
