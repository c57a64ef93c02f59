"""Receivers at a real switch: tunnels to a host beyond, ports with an inline device, by flows of the test's own."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from sluice.contracts.ids import Address, NodeName, Uid
from sluice.drivers.veth import mac_of
from sluice.lab import claim, externals, sweep
from sluice.lab.capture.counting import Ends
from sluice.lab.checks import Got, Question
from sluice.lab.equipment import NOTHING, Equipment
from sluice.lab.externals import ExternalHost
from sluice.lab.forwarders import Forwarders
from sluice.lab.node import LabNode
from sluice.lab.probers import Probers, Result
from sluice.lab.processes import Program
from sluice.lab.receiving import Forwarder, Receiver, Tunnelled
from sluice.lab.scenario import Spec
from sluice.lab.underlay import Underlay, Wiring
from sluice.lab.world import Placed

pytestmark = [pytest.mark.datapath, pytest.mark.asyncio(loop_scope="module")]

NODE = NodeName("node-1")
A, B = (
    Placed(
        f"x/{name}",
        Uid(f"uid-{name}"),
        NODE,
        (Address(f"10.64.0.{number}"), Address(f"fd00::{number}")),
        (53,),
        host_network=False,
    )
    for number, name in enumerate("ab", start=2)
)
COLLECTORS = {4: Address("10.0.10.2"), 6: Address("fd77::2")}
OUTSIDE = (Address("192.168.77.10"), Address("fd77::10"))
TRAIN = 20
ATTEMPTS = 3

SIGNATURE = 'drop udp any any -> any 53 (msg:"not to be seen"; content:"sluice"; sid:1;)'

SPEC = Spec(
    nodes=(NODE,),
    devices=("eno2", "eno3", "eno4", "eno5", "eno6", "eno7"),
    forwarders=(
        Forwarder(from_="tap0", to="tap1"),
        Forwarder(from_="eno2", to="eno3"),
        Forwarder(from_="eno4", to="eno5", drop="sl.ice"),
        Forwarder(from_="eno6", to="eno7", suricata=(SIGNATURE,)),
        Forwarder(from_="collector", back=Tunnelled(proto="vxlan", vni=2)),
    ),
)


class Rig:
    """A node without services, a switch with flows by hand, and a host beyond for each IP version."""

    def __init__(self, claimed: claim.Claim) -> None:
        variables = {sweep.MARK: claimed.name}
        self.name = claimed.name
        self.node = LabNode(NODE, claimed.name, claimed.folder / "node-1", variables, {})
        self.node.programmer = Program(["sleep", "300"], variables, claimed.folder / "sleep.log")
        self.probers = Probers(claimed.folder / "probers", variables)
        self.hosts: dict[str, ExternalHost] = {}
        self.forwarders = Forwarders(claimed.folder / "forwarders", variables)
        self.equipment = Equipment(claimed.name, {NODE: self.node}, self.hosts, self.forwarders)
        self._next = 100

    async def start(self) -> None:
        underlay = Underlay(self.name)
        await self.node.start(underlay)
        await self.node.rewire(Wiring(OUTSIDE))
        for name, version in (("collector", 4), ("collector6", 6)):
            path = await externals.make(name, self.name, COLLECTORS[version], underlay)
            prober = await self.probers.start(f"external:{name}", path, ())
            self.hosts[name] = ExternalHost(COLLECTORS[version], path, prober)
        await self.node.plug([A, B], self.probers)
        await self.equipment.use(SPEC)

    async def stop(self) -> None:
        await self.forwarders.stop()
        probers = [sandbox.prober for sandbox in self.node.sandboxes.values()]
        for prober in (*probers, *(host.prober for host in self.hosts.values())):
            await prober.disconnect()
        await self.probers.stop()

    def port(self, name: str, *columns: str) -> int:
        """A port of the switch, which is its number."""
        self._next += 1
        words = ["--may-exist", "add-port", "br-int", name, "--", "set", "interface", name, *columns]
        self._vsctl(*words, f"ofport_request={self._next}")
        if "type=internal" in columns or not columns:
            subprocess.run(["ip", "-n", self.node.netns.name, "link", "set", name, "up"], check=True, timeout=60)
        return self._next

    def flows(self, *mirrors: int, way: tuple[int, int] | None = None) -> None:
        """What `a` sends is copied to these ports; or goes out by the first of `way` and comes back by the second."""
        (a, b) = (self._vsctl("get", "interface", self.node.sandboxes[pod.pod].host_end, "ofport") for pod in (A, B))
        to_a, to_b = (f"mod_dl_dst:{mac_of(pod.addresses[0])}" for pod in (A, B))
        copies = "".join(f"output:{port}," for port in mirrors)
        lines = [f"in_port={a},actions={copies}{to_b},output:{b}", f"in_port={b},actions={to_a},output:{a}"]
        if way is not None:
            lines[0] = f"in_port={a},actions=output:{way[0]}"
            lines.append(f"in_port={way[1]},actions={to_b},output:{b}")
        bridge = f"unix:{self.node.ovs.mgmt_socket()}"
        for words in (["del-flows", bridge], ["add-flows", bridge, "-"]):
            command = ["ovs-ofctl", "-O", "OpenFlow15", *words]
            subprocess.run(command, input="\n".join(lines), text=True, check=True, timeout=60)

    async def count(self, *receivers: Receiver, version: int = 4) -> tuple[set[Got], list[int]]:
        """What became of a train from `a` to `b`, and what each receiver counted; once more if a packet got lost."""
        attempts = 0
        while True:
            attempts += 1
            results, counts, short = await self._count(receivers, A.addresses[version == 6], B.addresses[version == 6])
            became = {result.result for result in results}
            if attempts == ATTEMPTS or (not short and len(became) == 1):
                return became, counts

    async def _count(
        self, receivers: tuple[Receiver, ...], source: Address, target: Address
    ) -> tuple[tuple[Result, ...], list[int], bool]:
        question = Question(
            kind="probe",
            from_=A.pod,
            to=B.pod,
            what="UDP 53",
            expect="Allowed",
            protocol="UDP",
            source=source,
            address=target,
            port=53,
        )
        asked = [(each, Ends(frozenset({source}), frozenset({target}))) for each in receivers]
        async with self.equipment.capture(asked) as capture:
            prober = self.node.sandboxes[A.pod].prober
            results = await prober.ask([question] * TRAIN, tries=1, try_s=1.0)
            counts = await capture.counts()
        return results, [count.got for count in counts], any(count.short for count in counts)

    def _vsctl(self, *words: str) -> str:
        command = ["ovs-vsctl", f"--db=unix:{self.node.ovs.db_socket}", "--timeout=10", *words]
        return subprocess.run(command, check=True, text=True, capture_output=True, timeout=60).stdout.strip()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[Rig]:
    os.environ["SLUICE_LAB_ROOT"] = f"/tmp/sluice-{os.getpid()}"  # sockets need a short path
    claimed = await asyncio.to_thread(claim.claim)
    made = Rig(claimed)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()
        stuck = await asyncio.to_thread(claimed.release)
        await made.node.programmer.ended()
        claim.root().rmdir()
        del os.environ["SLUICE_LAB_ROOT"]
    assert stuck == []
    assert sweep.processes(claimed.name) == []
    assert sweep.namespaces(claimed.name) == []


class Kind(NamedTuple):
    name: str
    columns: tuple[str, ...]
    fields: dict[str, object]
    other: dict[str, object]
    """Nothing of this comes."""


KINDS = [
    Kind("geneve", ("type=geneve", "options:key=77"), {"proto": "geneve", "vni": 77}, {"proto": "vxlan"}),
    Kind(
        "geneve6082",
        ("type=geneve", "options:key=16777215", "options:dst_port=6082"),
        {"proto": "geneve", "vni": 16_777_215, "destination_port": 6082},
        {"proto": "geneve", "vni": 77},
    ),
    Kind("vxlan", ("type=vxlan", "options:key=4242"), {"proto": "vxlan", "vni": 4242}, {"proto": "vxlan", "vni": 1}),
    Kind("gre", ("type=gre", "options:key=4294967295"), {"proto": "gre", "key": 4_294_967_295}, {"proto": "none"}),
    Kind("gre0", ("type=gre",), {"proto": "gre", "key": "none"}, {"proto": "gre", "key": 1}),
    Kind(
        "erspan1",
        ("type=erspan", "options:key=1023", "options:erspan_ver=1", "options:erspan_idx=0xfffff"),
        {"proto": "erspan", "version": 1, "session_id": 1023, "index": 0xFFFFF},
        {"proto": "erspan", "version": 1, "index": 1},
    ),
    Kind(
        "erspan2",
        ("type=erspan", "options:key=1", "options:erspan_ver=2", "options:erspan_dir=1", "options:erspan_hwid=4"),
        {"proto": "erspan", "version": 2, "session_id": 1, "dir": 1, "hardware_id": 4},
        {"proto": "erspan", "version": 2, "dir": 0},
    ),
]


@pytest.mark.parametrize(("outer", "host"), [(4, "collector"), (6, "collector6")])
async def test_copies_come_by_every_kind_of_tunnel(rig: Rig, outer: int, host: str) -> None:
    remote = f"options:remote_ip={COLLECTORS[outer]}" if outer == 4 else f'options:remote_ip="{COLLECTORS[outer]}"'
    rig.flows(*(rig.port(f"{kind.name}-{outer}", *kind.columns, remote) for kind in KINDS))
    wanted = [Receiver(on=host, packets=TRAIN, **kind.fields) for kind in KINDS]  # type: ignore[arg-type]  # a table
    others = [Receiver(on=host, packets=0, **kind.other) for kind in KINDS[2:]]  # type: ignore[arg-type]  # as above

    assert await rig.count(*wanted) == ({"Allowed"}, [TRAIN] * len(KINDS))
    assert await rig.count(*others) == ({"Allowed"}, [0] * len(others))


async def test_an_internal_port_and_its_forwarder(rig: Rig) -> None:
    way = rig.port("tap0", "type=internal"), rig.port("tap1", "type=internal")
    rig.flows(way=way)
    await rig.equipment.at_work()
    heard = Receiver(on="port:tap0", packets=TRAIN), Receiver(on="port:tap1@node-1", packets=TRAIN, into=True)

    for version in (4, 6):
        assert await rig.count(*heard, Receiver(on="port:tap1", packets=0), version=version) == (
            {"Allowed"},
            [TRAIN, TRAIN, 0],
        )


async def test_devices_one_of_which_drops_what_it_is_told(rig: Rig) -> None:
    ports = {name: rig.port(name) for name in SPEC.devices}
    heard = [Receiver(on=f"port:{name}", packets=0) for name in ("eno2", "eno4", "eno6")]
    await rig.equipment.at_work()

    rig.flows(way=(ports["eno2"], ports["eno3"]))
    assert await rig.count(*heard) == ({"Allowed"}, [TRAIN, 0, 0])
    rig.flows(way=(ports["eno4"], ports["eno5"]))
    assert await rig.count(*heard) == ({"Dropped"}, [0, TRAIN, 0])
    rig.flows(way=(ports["eno6"], ports["eno7"]))
    assert await rig.count(*heard) == ({"Dropped"}, [0, 0, TRAIN])  # Suricata has a signature for it


async def test_what_a_host_sends_back_by_a_tunnel(rig: Rig) -> None:
    remote = f"options:remote_ip={COLLECTORS[4]}"
    there, back = (rig.port(f"way{vni}", "type=vxlan", f"options:key={vni}", remote) for vni in (1, 2))
    rig.flows(way=(there, back))
    heard = Receiver(on="collector", packets=TRAIN, proto="vxlan", vni=1)

    assert await rig.count(heard) == ({"Allowed"}, [TRAIN])


async def test_devices_come_and_go(rig: Rig) -> None:
    await rig.equipment.change({"eno2": False})
    assert not _has(rig, "eno2")
    await rig.equipment.change({"eno2": True})
    assert _has(rig, "eno2")
    await rig.equipment.at_work()
    await rig.equipment.use(NOTHING)
    assert not _has(rig, "eno2")


def _has(rig: Rig, link: str) -> bool:
    words = ["ip", "-n", rig.node.netns.name, "link", "show", link]
    return subprocess.run(words, check=False, capture_output=True, timeout=60).returncode == 0
