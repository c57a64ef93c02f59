"""What is asked of the API server: ranges that come late, addresses that change, a Node that is made anew."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sluice.lab.ovs import OvsNode
from sluice.services.cni import app, source
from sluice.services.cni.protocol import Code
from sluice.services.cni.settings import CniSettings
from sluice.services.cni.source import RangesChanged, Source
from sluice.testkit.apiserver.server import ApiServer

WAIT_S = 120.0
RANGE = "10.64.0.0/30"
"""Room for one Pod: network, gateway and broadcast are nobody's."""


def node(addresses: tuple[str, ...] = (), ranges: tuple[str, ...] = ()) -> dict[str, Any]:
    told = [{"type": "Hostname", "address": "node-1"}, *({"type": "InternalIP", "address": each} for each in addresses)]
    return {
        "metadata": {"name": "node-1"},
        "spec": {"podCIDRs": list(ranges)} if ranges else {},
        "status": {"addresses": told},
    }


class Cluster:
    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self._shelf = server.store.shelf("nodes")

    def make(self, *told: tuple[str, ...]) -> None:
        self.server.store.put(self._shelf, node(*told))

    change = make


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setattr(source, "AWAITED_S", 0.02)
    async with ApiServer.run() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "kubeconfig")))
        yield Cluster(server)


@pytest.fixture
def spaces() -> Iterator[str]:
    """The network namespace of a node; and that of its Pods, with `-pod` behind."""
    name = f"cni-source-{os.getpid()}"
    made = (name, f"{name}-pod")
    for each in made:
        subprocess.run(["ip", "netns", "add", each], check=True)
    yield name
    for each in made:
        subprocess.run(["ip", "netns", "delete", each], check=True)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not reached():  # noqa: ASYNC110  # what is looked at has no event
            await asyncio.sleep(0.02)


async def test_ranges_are_waited_for_and_it_is_said_why(cluster: Cluster) -> None:
    asked = Source(CniSettings(node_name="node-1"))
    waiting = asyncio.create_task(asked.first())

    await until(lambda: asked.waits.startswith("the Node cannot be read: 404"))
    cluster.make()
    await until(lambda: asked.waits == source.NO_RANGES)
    cluster.change((), (RANGE,))

    async with asyncio.timeout(WAIT_S):
        assert await waiting == asked.node
    assert (asked.node.ranges, asked.node.addresses) == ((RANGE,), ())
    await asked.aclose()


async def test_addresses_may_come_later_and_change_and_ranges_may_not(cluster: Cluster) -> None:
    asked = Source(CniSettings(node_name="node-1"))
    cluster.make((), (RANGE,))
    await asked.first()
    assert await asked.read_again() is False

    cluster.change(("192.0.2.1",), (RANGE,))
    assert await asked.read_again() is True
    assert asked.node.addresses == ("192.0.2.1",)
    cluster.change(("192.0.2.2", "2001:db8::2"), (RANGE,))
    assert await asked.read_again() is True
    held = asked.node
    assert held.addresses == ("192.0.2.2", "2001:db8::2")

    cluster.change()  # made anew: its ranges come
    assert await asked.read_again() is False
    assert asked.node == held
    cluster.change((), ("10.64.9.0/24",))
    with pytest.raises(RangesChanged, match=r"10\.64\.0\.0/30 before, 10\.64\.9\.0/24 now"):
        await asked.read_again()

    await cluster.server.close()
    with capture_logs() as logs:
        assert await asked.read_again() is False
    assert [line["event"] for line in logs] == ["node_not_read"]
    assert asked.node == held
    await asked.aclose()


async def test_what_is_set_has_the_last_word(cluster: Cluster) -> None:
    both = Source(CniSettings(node_name="node-1", pod_cidrs=RANGE, node_addresses="192.0.2.7"))
    assert (await both.first()).addresses == ("192.0.2.7",)
    assert both.asks is False

    one = Source(CniSettings(node_name="node-1", node_addresses="192.0.2.7"))
    cluster.make(("192.0.2.1",), (RANGE,))
    assert (await one.first()).addresses == ("192.0.2.7",)
    assert one.asks is True
    await one.aclose()


@pytest.mark.datapath
async def test_a_daemon_goes_by_the_node_as_it_is(cluster: Cluster, spaces: str, tmp_path: Path) -> None:
    """NodePorts move with its address, the second Pod hears that there is no room, other ranges are a new start."""
    name = spaces
    switch = await OvsNode.start(name, tmp_path / "ovs")
    settings = CniSettings(
        node_name="node-1",
        run_dir=str(switch.folder),
        datapath="netdev",
        socket=str(tmp_path / "cni.sock"),
        state_dir=str(tmp_path / "state"),
        netns=f"/run/netns/{name}",
        health_port=-1,
        node_interval_s=0.05,
    )

    def led() -> set[str]:
        done = subprocess.run(["ip", "-n", name, "route", "show", "table", "5100"], check=False, capture_output=True)
        return {line.split()[0] for line in done.stdout.decode().splitlines()}

    async def asked(pod: str) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(settings.socket)
        variables = {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": f"c-{pod}",
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": f"/run/netns/{name}-pod",
            "CNI_PATH": "/",
            "CNI_ARGS": f"K8S_POD_NAMESPACE=x;K8S_POD_NAME={pod};K8S_POD_UID=u-{pod}",
        }
        given = json.dumps({"cniVersion": "1.0.0", "name": "sluice", "type": "sluice"})
        writer.write(json.dumps({"variables": variables, "stdin": given}).encode())
        writer.write_eof()
        answer = json.loads(await reader.read())
        writer.close()
        return dict(json.loads(answer["out"]))

    cluster.make((), (RANGE,))
    daemon = asyncio.create_task(app._work(settings))
    try:
        await until(lambda: Path(settings.socket).exists() or daemon.done())
        assert led() == set()
        cluster.change(("192.0.2.1",), (RANGE,))
        await until(lambda: led() == {"192.0.2.1"} or daemon.done())
        cluster.change(("192.0.2.2",), (RANGE,))
        await until(lambda: led() == {"192.0.2.2"} or daemon.done())

        assert [each["address"] for each in (await asked("a"))["ips"]] == ["10.64.0.2/32"]
        refused = await asked("b")
        assert refused["code"] == Code.NO_ADDRESS
        assert "10.64.0.0/30: all addresses of this node are in use (1): delete Pods here" in refused["msg"]

        cluster.change(("192.0.2.2",), ("10.64.9.0/24",))
        with capture_logs() as logs, pytest.raises(ExceptionGroup) as ended:
            async with asyncio.timeout(WAIT_S):
                await daemon
        assert ended.group_contains(RangesChanged)
        assert "ranges_changed" in {line["event"] for line in logs}
    finally:
        daemon.cancel()
        await asyncio.gather(daemon, return_exceptions=True)
        await switch.stop()
