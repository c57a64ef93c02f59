"""Nodes and Pods as the kernel and a real switch see them, with flows of the test's own in place of a programmer."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sluice.contracts.ids import Address, NodeName, Uid
from sluice.drivers.openflow.errors import SwitchGone
from sluice.drivers.openflow.switch import Switch
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.pods import from_external_ids
from sluice.drivers.veth import mac_of
from sluice.lab import claim, sweep
from sluice.lab.checks import Question
from sluice.lab.node import LabNode
from sluice.lab.ovs import OvsNode
from sluice.lab.podhost import GATEWAY_MAC
from sluice.lab.probers import Probers, Result
from sluice.lab.processes import Program
from sluice.lab.world import Placed

pytestmark = pytest.mark.datapath

PODS = [
    Placed(
        f"x/{name}",
        Uid(f"uid-{name}"),
        NodeName("node-1"),
        (Address(f"10.64.0.{number}"), Address(f"fd00::{number}")),
        (80, 53),
        host_network=False,
    )
    for number, name in enumerate("abc", start=2)
]
A, B, C = PODS


class Alone:
    """A node without services."""

    def __init__(self, claimed: claim.Claim) -> None:
        variables = {sweep.MARK: claimed.name}
        self.node = LabNode(NodeName("node-1"), claimed.name, claimed.folder / "node-1", variables, {})
        self.node.programmer = Program(["sleep", "300"], variables, claimed.folder / "sleep.log")
        self.probers = Probers(claimed.folder / "probers", variables)

    def forward(self, *flows: str) -> None:
        """Every Pod is reached at its addresses, but for what these flows say before."""
        for name, sandbox in self.node.sandboxes.items():
            port = self.ports[sandbox.host_end]
            for address in sandbox.pod.addresses:
                field = "ipv6,ipv6_dst" if ":" in address else "ip,nw_dst"
                mac = mac_of(sandbox.pod.addresses[0])
                flows = (*flows, f"priority=10,{field}={address},actions=mod_dl_dst:{mac},output:{port}")
            assert name
        subprocess.run(
            ["ovs-ofctl", "-O", "OpenFlow15", "add-flows", f"unix:{self.node.ovs.mgmt_socket()}", "-"],
            input="\n".join(flows),
            text=True,
            check=True,
            timeout=10,
        )

    async def plug(self) -> None:
        await self.node.plug(PODS, self.probers)
        ovsdb = await Ovsdb.connect(self.node.ovs.db_socket)
        self.ports = await ovsdb.ofports(*(sandbox.host_end for sandbox in self.node.sandboxes.values()))
        ovsdb.close()

    async def ask(self, *protocols: str) -> dict[tuple[str, str, str], Result]:
        """Everybody asks everybody."""
        asked = [
            Question(
                kind="probe",
                from_=source.pod,
                to=target.pod,
                what=f"{protocol} {address}",
                expect="Allowed",
                protocol=protocol,  # type: ignore[arg-type]  # one of them
                source=source.addresses[0],
                address=address,
                port=80,
            )
            for source in PODS
            for target in PODS
            for address in target.addresses
            for protocol in protocols
            if source != target
        ]
        by_source = {pod.pod: [question for question in asked if question.from_ == pod.pod] for pod in PODS}
        answers = await asyncio.gather(
            *(self.node.sandboxes[pod].prober.ask(questions) for pod, questions in by_source.items())
        )
        return {
            (question.from_, question.to, question.what): result
            for questions, results in zip(by_source.values(), answers, strict=True)
            for question, result in zip(questions, results, strict=True)
        }


@pytest.fixture
async def alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Alone]:
    monkeypatch.setenv("SLUICE_LAB_ROOT", f"/tmp/sluice-{os.getpid()}")  # sockets need a short path
    claimed = await asyncio.to_thread(claim.claim)
    made = None
    try:
        made = Alone(claimed)
        await made.node.start()
        yield made
    finally:
        if made is not None:
            for sandbox in made.node.sandboxes.values():
                await sandbox.prober.disconnect()
            await made.probers.stop()
        stuck = await asyncio.to_thread(claimed.release)
        if made is not None:
            await made.node.programmer.ended()
        claim.root().rmdir()
    assert stuck == []
    assert sweep.processes(claimed.name) == []
    assert sweep.namespaces(claimed.name) == []


async def test_pods_reach_each_other_over_tcp_udp_and_icmp(alone: Alone) -> None:
    await alone.plug()
    nothing = await alone.ask("TCP", "UDP", "ICMP")
    alone.forward()
    everything = await alone.ask("TCP", "UDP", "ICMP")

    assert {result.result for result in nothing.values()} == {"Dropped"}
    assert [(key, result) for key, result in everything.items() if result.result != "Allowed"] == []
    assert len(everything) == 3 * 2 * 2 * 3


async def test_what_a_flow_drops_is_dropped(alone: Alone) -> None:
    await alone.plug()
    alone.forward(f"priority=20,ip,nw_src={A.addresses[0]},nw_dst={B.addresses[0]},actions=drop")
    results = await alone.ask("TCP")

    dropped = {key for key, result in results.items() if result.result == "Dropped"}
    # The answers of B to A are not dropped, but A's are, to what B asks.
    assert {(source, target) for source, target, what in dropped if ":" not in what} == {("x/a", "x/b"), ("x/b", "x/a")}
    assert {result.result for (_, _, what), result in results.items() if ":" in what} == {"Allowed"}


async def test_a_port_tells_whose_it_is(alone: Alone) -> None:
    await alone.plug()
    ovsdb = await Ovsdb.connect(alone.node.ovs.db_socket)
    monitor = await ovsdb.monitor()
    await anext(monitor)
    ids = {
        found.uid: found
        for interface in monitor.view.interfaces("br-int")
        if (found := from_external_ids(interface.name, interface.external_ids))
    }
    ovsdb.close()

    assert {(each.pod, each.mac, each.addresses) for each in ids.values()} == {
        (pod.pod, mac_of(pod.addresses[0]), pod.addresses) for pod in PODS
    }
    assert ids.keys() == {pod.uid for pod in PODS}


def inside(alone: Alone, pod: Placed, *words: str) -> str:
    netns = alone.node.sandboxes[pod.pod].netns.name
    done = subprocess.run(
        ["ip", "netns", "exec", netns, *words], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


async def test_a_pod_is_wired_as_the_switch_expects(alone: Alone) -> None:
    await alone.plug()

    link = inside(alone, A, "ip", "link", "show", "eth0")
    assert "mtu 1450" in link
    assert mac_of(A.addresses[0]) in link
    assert "10.64.0.2/32" in inside(alone, A, "ip", "address", "show", "eth0")
    assert "fd00::2/128" in inside(alone, A, "ip", "address", "show", "eth0")
    assert inside(alone, A, "ip", "route").split()[:6] == ["default", "via", "169.254.1.1", "dev", "eth0", "proto"]
    assert "default via fe80::1 dev eth0" in inside(alone, A, "ip", "-6", "route")
    assert f"169.254.1.1 dev eth0 lladdr {GATEWAY_MAC} PERMANENT" in inside(alone, A, "ip", "neighbour")
    assert "UP,LOWER_UP" in inside(alone, A, "ip", "link", "show", "lo")


async def test_a_pod_that_goes_leaves_neither_port_nor_namespace(alone: Alone) -> None:
    await alone.plug()
    gone = alone.node.sandboxes[A.pod]
    await alone.node.unplug([A.pod])

    ovsdb = await Ovsdb.connect(alone.node.ovs.db_socket)
    monitor = await ovsdb.monitor()
    await anext(monitor)
    names = {interface.name for interface in monitor.view.interfaces("br-int")}
    ovsdb.close()
    assert names == {"br-int", *(sandbox.host_end for sandbox in alone.node.sandboxes.values())}
    assert not gone.netns.exists()
    assert not Path(f"/proc/{gone.prober.pid}").exists()
    assert alone.node.sandboxes.keys() == {"x/b", "x/c"}


async def speaks_openflow(ovs: OvsNode) -> bool:
    try:
        switch = await Switch.connect(ovs.mgmt_socket())
    except (OSError, SwitchGone):
        return False
    switch.close()
    return True


@pytest.mark.parametrize("daemon", ["ovs-vswitchd", "ovsdb-server"])
async def test_a_switch_that_is_killed_is_started_again(alone: Alone, daemon: str) -> None:
    await alone.plug()
    (supervised, _) = alone.node.supervised()
    keeping = asyncio.create_task(supervised.run())
    ovs = alone.node.ovs
    try:
        before = ovs.vswitchd_pid if daemon == "ovs-vswitchd" else ovs.ovsdb_pid
        assert before
        os.kill(before, 9)
        async with asyncio.timeout(60):
            while not (supervised.restarts and ovs.ovsdb_pid and await speaks_openflow(ovs)):  # noqa: ASYNC110  # no event says so
                await asyncio.sleep(0.01)  # nothing tells that a daemon has started
        alone.forward()
        results = await alone.ask("TCP")
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])

    assert {result.result for result in results.values()} == {"Allowed"}
    assert supervised.restarts == 1
