"""The plugin, its daemon and a real switch, spoken to as a container runtime does."""

import array
import asyncio
import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sluice.drivers import veth
from sluice.drivers.namespaces import inside
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.lab.ovs import OvsNode
from sluice.services.cni.attaching import host_end
from sluice.services.cni.bridge import NODE_MAC
from sluice.services.cni.protocol import Code, Owner

pytestmark = pytest.mark.datapath

PODS = int(os.environ.get("SLUICE_PLUGGED_PODS", "100"))
NAMESPACES = Path("/run/netns")
ETHTOOL_GTXCSUM = 0x16
"""Source: linux/ethtool.h."""

ETH_P_ALL = socket.htons(3)
"""Source: linux/if_ether.h."""

START_S = 120.0


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, check=False, capture_output=True, text=True)


class Runtime:
    """What starts the plugin, and the daemon behind it."""

    def __init__(self, folder: Path, switch: OvsNode) -> None:
        self.folder, self.switch = folder, switch
        self.daemon: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """The daemon runs, in the namespace of the switch."""
        variables = {
            "NODE_NAME": "node-1",
            "POD_CIDRS": "10.64.0.0/24,fd00:64::/64",
            "CLUSTER_CIDRS": "10.64.0.0/16,fd00:64::/48",
            "NODE_ADDRESSES": "192.0.2.1,2001:db8::1",
            "RUN_DIR": str(self.switch.folder),
            "DATAPATH": "netdev",
            "SOCKET": str(self.folder / "cni.sock"),
            "STATE_DIR": str(self.folder / "state"),
            "INSTALL_BIN": str(self.folder / "bin"),
            "INSTALL_CONF": str(self.folder / "conf"),
            "CARRY_PYTHON": "false",
            "HEALTH_PORT": "-1",
        }
        words = ["ip", "netns", "exec", self.switch.netns, sys.executable, "-P", "-m", "sluice.services.cni"]
        environ = os.environ | {f"SLUICE_CNI_{name}": text for name, text in variables.items()}
        (self.folder / "cni.sock").unlink(missing_ok=True)
        with (self.folder / "daemon.log").open("ab") as said:
            self.daemon = await asyncio.create_subprocess_exec(*words, env=environ, stderr=said)
        async with asyncio.timeout(START_S):
            while not (self.folder / "conf" / "10-sluice.conflist").exists() or not (self.folder / "cni.sock").exists():
                assert self.daemon.returncode is None, (self.folder / "daemon.log").read_text()
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        assert self.daemon is not None
        if self.daemon.returncode is None:
            self.daemon.kill()
        await self.daemon.wait()

    async def ask(self, command: str, pod: str = "", version: str = "1.0.0", **more: Any) -> tuple[int, Any]:
        """Exit code and answer of the plugin."""
        conf = json.loads((self.folder / "conf" / "10-sluice.conflist").read_text())
        given = {"cniVersion": version, "name": conf["name"], **conf["plugins"][0], **more}
        variables = {"CNI_COMMAND": command, "CNI_PATH": str(self.folder / "bin"), "PATH": os.environ["PATH"]}
        if pod:
            variables |= {"CNI_CONTAINERID": f"c-{pod}", "CNI_IFNAME": "eth0", "CNI_NETNS": f"/run/netns/{space(pod)}"}
            names = f"K8S_POD_NAMESPACE=x;K8S_POD_NAME={pod};K8S_POD_UID=u-{pod}"
            variables["CNI_ARGS"] = f"IgnoreUnknown=1;{names}"
        program = self.folder / "bin" / conf["plugins"][0]["type"]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(program, env=variables, stdin=pipe, stdout=pipe)
        out, _ = await process.communicate(json.dumps(given).encode())
        assert process.returncode is not None
        return process.returncode, json.loads(out) if out.strip() else None

    def configure(self, *words: str) -> str:
        """What ovs-vsctl says."""
        done = ran("ovs-vsctl", f"--db=unix:{self.switch.db_socket}", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def flow(self, text: str) -> None:
        done = ran("ovs-ofctl", "-O", "OpenFlow15", "add-flow", f"unix:{self.switch.folder}/br-int.mgmt", text)
        assert done.returncode == 0, done.stderr

    async def ports(self) -> dict[str, dict[str, str]]:
        """The ports of Pods that the switch has, and what they say."""
        ovsdb = await Ovsdb.connect(self.switch.db_socket)
        try:
            monitor = await ovsdb.monitor()
            await anext(monitor)
            found = monitor.view.interfaces("br-int")
        finally:
            ovsdb.close()
        return {
            each.name: dict(each.external_ids) for each in found if "sluice.uid" in each.external_ids and each.ofport
        }

    def links(self) -> set[str]:
        """The node's ends of Pods' links."""
        told = json.loads(ip("-n", self.switch.netns, "-j", "link", "show", "type", "veth"))
        return {each["ifname"] for each in told}


def space(pod: str) -> str:
    return f"cni-test-{os.getpid()}-{pod}"


def transmit_checksums_offloaded() -> bool:
    value = array.array("B", struct.pack("II", ETHTOOL_GTXCSUM, 1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, veth.SIOCETHTOOL, struct.pack("16sP", b"eth0", value.buffer_info()[0]))
    return bool(struct.unpack("II", value)[1])


def heard(mac: str) -> int:
    """How many frames of a's, which has this address, come to b, by IPv4 and IPv6."""
    there = inside(NAMESPACES / space("b"), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, ETH_P_ALL))
    with there:
        for family, address in ((socket.AF_INET, "10.64.0.3"), (socket.AF_INET6, "fd00:64::3")):
            with inside(NAMESPACES / space("a"), partial(socket.socket, family, socket.SOCK_DGRAM)) as sock:
                sock.sendto(b"x", (address, 80))
        time.sleep(0.5)
        there.setblocking(False)
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                count += there.recv(2048)[6:12] == bytes.fromhex(mac.replace(":", ""))
    return count


@pytest.fixture
def spaces() -> Iterator[Any]:
    """Makes a network namespace for each Pod, as the runtime does before it asks."""
    made: list[str] = []

    def make(*pods: str) -> None:
        for pod in pods:
            ip("netns", "add", space(pod))
            made.append(space(pod))

    yield make
    for name in made:
        ip("netns", "delete", name)


@pytest.fixture
async def runtime(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runtime]:
    folder = tmp_path_factory.mktemp("cni")
    name = f"cni-node-{os.getpid()}"
    ip("netns", "add", name)
    switch = await OvsNode.start(name, folder / "ovs")
    found = Runtime(folder, switch)
    try:
        await found.start()
        yield found
    finally:
        if found.daemon is not None:
            await found.kill()
        await switch.stop()
        ip("netns", "delete", name)


async def test_a_pod_has_its_interface_and_the_switch_a_port_for_it_that_is_closed(
    runtime: Runtime, spaces: Any
) -> None:
    spaces("a", "b")

    code, said = await runtime.ask("ADD", "a")
    await runtime.ask("ADD", "b")

    assert code == 0
    assert [each["address"] for each in said["ips"]] == ["10.64.0.2/32", "fd00:64::2/128"]
    port = (await runtime.ports())[host_end(Owner("c-a", "eth0"))]
    assert port["sluice.pod"] == "x/a"
    assert port["sluice.uid"] == "u-a"
    assert port["sluice.mac"] == said["interfaces"][1]["mac"]
    assert port["sluice.ips"] == "10.64.0.2,fd00:64::2"
    shown = json.loads(ip("-n", space("a"), "-j", "addr", "show", "eth0"))[0]
    assert {each["local"] for each in shown["addr_info"] if each["scope"] == "global"} == {"10.64.0.2", "fd00:64::2"}
    assert (shown["mtu"], shown["operstate"]) == (1450, "UP")
    assert "169.254.1.1" in ip("-n", space("a"), "route")
    assert inside(NAMESPACES / space("a"), transmit_checksums_offloaded) is False
    assert heard(port["sluice.mac"]) == 0  # nobody has decided about them yet
    runtime.flow("actions=NORMAL")
    deadline = time.monotonic() + START_S
    while not heard(port["sluice.mac"]):  # the datapath remembers the old flows for a moment
        assert time.monotonic() < deadline

    assert await runtime.ask("CHECK", "a", prevResult=said) == (0, None)
    assert await runtime.ask("STATUS", version="1.1.0") == (0, None)


async def test_again_is_once_and_gone_is_gone(runtime: Runtime, spaces: Any) -> None:
    spaces("a")
    first = await runtime.ask("ADD", "a")

    assert await runtime.ask("ADD", "a") == first
    assert await runtime.ask("DEL", "a") == (0, None)
    assert await runtime.ask("DEL", "a") == (0, None)

    assert (await runtime.ports(), runtime.links()) == ({}, set())
    code, said = await runtime.ask("CHECK", "a")
    assert (code, said["code"]) == (1, Code.UNKNOWN_CONTAINER)


async def test_what_somebody_removed_is_found_by_a_check(runtime: Runtime, spaces: Any) -> None:
    spaces("a")
    await runtime.ask("ADD", "a")

    ip("-n", space("a"), "addr", "del", "10.64.0.2/32", "dev", "eth0")
    code, said = await runtime.ask("CHECK", "a")
    assert (code, said["code"]) == (1, Code.NOT_AS_IT_WAS)
    assert "lacks 10.64.0.2" in said["msg"]

    runtime.configure("del-port", host_end(Owner("c-a", "eth0")))
    code, said = await runtime.ask("CHECK", "a")
    assert (code, said["code"]) == (1, Code.NOT_AS_IT_WAS)
    assert "has no port" in said["msg"]


async def test_who_is_not_in_the_list_is_collected(runtime: Runtime, spaces: Any) -> None:
    spaces("a", "b", "c")
    for pod in ("a", "b", "c"):
        await runtime.ask("ADD", pod)

    valid: Any = [{"containerID": "c-b", "ifname": "eth0"}]
    assert await runtime.ask("GC", version="1.1.0", **{"cni.dev/valid-attachments": valid}) == (0, None)

    assert set(await runtime.ports()) == runtime.links() == {host_end(Owner("c-b", "eth0"))}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_hundred_at_once_with_the_daemon_killed_in_the_middle(runtime: Runtime, spaces: Any) -> None:
    names = [f"p{number}" for number in range(PODS)]
    spaces(*names)

    async def until_it_has_one(pod: str) -> Any:
        while True:
            code, said = await runtime.ask("ADD", pod)
            if code == 0:
                return said
            assert said["code"] in (Code.AGAIN, Code.IO), said
            await asyncio.sleep(0.5)
            await runtime.ask("DEL", pod)

    running = asyncio.gather(*(until_it_has_one(pod) for pod in names))
    for _ in range(3):
        had = len(await runtime.ports())
        while len(await runtime.ports()) < had + 10 and not running.done():  # noqa: ASYNC110  # others attach
            await asyncio.sleep(0.1)
        await runtime.kill()
        await runtime.start()
    results = await running

    given = [each["address"] for said in results for each in said["ips"]]
    assert len(set(given)) == 2 * PODS
    ports = await runtime.ports()
    assert set(ports) == runtime.links() == {host_end(Owner(f"c-{pod}", "eth0")) for pod in names}
    for pod, said in zip(names, results, strict=True):
        own = ports[host_end(Owner(f"c-{pod}", "eth0"))]
        assert own["sluice.ips"] == ",".join(each["address"].split("/")[0] for each in said["ips"])

    assert set(await asyncio.gather(*(runtime.ask("DEL", pod) for pod in names))) == {(0, None)}
    assert (await runtime.ports(), runtime.links()) == ({}, set())
    assert list((runtime.folder / "state").iterdir()) == []


async def test_the_node_is_set_up_once_and_reaches_its_pods_by_the_switch(runtime: Runtime) -> None:
    def told() -> tuple[str, str, str]:
        return (
            runtime.configure("show"),
            ip("-n", runtime.switch.netns, "-4", "route"),
            ip("-n", runtime.switch.netns, "-6", "route"),
        )

    before = told()
    assert "sluice-tun0" in before[0]
    assert "fail_mode: secure" in before[0]
    assert "10.64.0.0/16 via 169.254.1.1 dev sluice-gw0 proto static src 10.64.0.1 onlink" in before[1]
    assert "fd00:64::/48 via fe80::1 dev sluice-gw0" in before[2]

    await runtime.kill()
    await runtime.start()

    assert told() == before


async def test_what_comes_to_a_node_port_is_handed_to_the_switch_as_it_is(runtime: Runtime, spaces: Any) -> None:
    """From a client beyond the node, whose own address the Pod sees; the flows are what node-ovs makes of a Service."""
    spaces("a", "client")
    await runtime.ask("ADD", "a")
    node, port = runtime.switch.netns, host_end(Owner("c-a", "eth0"))
    ip("-n", node, "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", space("client"))
    for where, name, address in ((node, "up0", "192.0.2.1/24"), (space("client"), "eth0", "192.0.2.9/24")):
        ip("-n", where, "addr", "add", address, "dev", name)
        ip("-n", where, "link", "set", name, "up")
    mac = (await runtime.ports())[port]["sluice.mac"]
    runtime.flow("table=0,in_port=sluice-gw0,tcp,tp_dst=30080,actions=ct(commit,nat(dst=10.64.0.2:8080),table=1)")
    runtime.flow(f"table=1,actions=set_field:{mac}->eth_dst,output:{port}")
    runtime.flow(f"table=0,in_port={port},tcp,actions=ct(nat,table=2)")
    runtime.flow(f"table=2,actions=set_field:{NODE_MAC}->eth_dst,output:sluice-gw0")

    def listen() -> socket.socket:
        return socket.create_server(("10.64.0.2", 8080))

    def connect() -> socket.socket:
        return socket.create_connection(("192.0.2.1", 30_080), timeout=START_S)

    with inside(NAMESPACES / space("a"), listen) as server, inside(NAMESPACES / space("client"), connect) as client:
        served, peer = server.accept()
        with served:
            served.sendall(b"here")
            assert client.recv(4) == b"here"

    assert peer[0] == "192.0.2.9"


async def test_a_bridge_that_forwards_by_itself_is_refused(runtime: Runtime, spaces: Any) -> None:
    spaces("a")
    runtime.configure("set-fail-mode", "br-int", "standalone")

    code, said = await runtime.ask("ADD", "a")

    assert (code, said["code"]) == (1, Code.NOT_AVAILABLE)
    assert "set-fail-mode br-int secure" in said["msg"]
    assert runtime.links() == set()
    code, said = await runtime.ask("STATUS", version="1.1.0")
    assert (code, said["code"]) == (1, Code.NOT_AVAILABLE)


async def test_a_namespace_that_has_gone_and_a_switch_that_is_away_are_told(runtime: Runtime, spaces: Any) -> None:
    code, said = await runtime.ask("ADD", "nobody")
    assert (code, said["code"]) == (1, Code.UNKNOWN_CONTAINER)
    assert list((runtime.folder / "state").iterdir()) == []

    spaces("a")
    await runtime.switch.stop()
    code, said = await runtime.ask("ADD", "a")
    assert (code, said["code"]) == (1, Code.AGAIN)
    assert "is Open vSwitch running?" in said["msg"]


async def test_without_a_daemon_the_plugin_asks_for_another_try(runtime: Runtime) -> None:
    await runtime.kill()
    plugin = runtime.folder / "bin" / ".sluice" / "plugin.py"
    plugin.write_text(plugin.read_text().replace("WAIT_S = 10.0", "WAIT_S = 0.1"))

    code, said = await runtime.ask("ADD", "a")

    assert (code, said["code"]) == (1, Code.AGAIN)
    assert "does not answer" in said["msg"]


def test_a_host_without_python_has_the_one_that_was_brought(tmp_path: Path) -> None:
    from sluice.services.cni.install import install
    from sluice.services.cni.settings import CniSettings

    there = tmp_path / "bin"
    settings = CniSettings(node_name="n", install_bin=str(there), install_conf=str(tmp_path / "conf"))
    install(settings)

    asked = subprocess.run(
        [there / "sluice"],
        env={"CNI_COMMAND": "VERSION", "PATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )

    assert (asked.returncode, json.loads(asked.stdout)["supportedVersions"][-1]) == (0, "1.1.0"), asked.stderr
