"""The walker and Open vSwitch agree: the same flows, the same packets, `ofproto/trace` for a verdict.

Law 3, between its pure half and its real one. The switch runs in a network namespace of its own, with the userspace
datapath; nothing is sent, so a trace stands for the first packet of a connection.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.contracts.programs import Program
from sluice.dataplane.ovs.detour import EnginePorts, lower_detour
from sluice.dataplane.ovs.errand import Meter
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Conjunction, FlowBody, FlowKey, Flows, OutputField, SetField, match
from sluice.dataplane.ovs.fqdn_values import HOLDING
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.lower import Inputs, lower
from sluice.dataplane.ovs.parse import read_all
from sluice.dataplane.ovs.text import write_all, write_groups, write_match
from sluice.dataplane.protocols import EthType, IpProto
from sluice.testkit import worlds
from sluice.testkit.clashes import CLASHES
from sluice.testkit.meaning import allowed, packet, probes
from sluice.testkit.walker import Walk, Walker
from sluice.testkit.worlds import PODS, port

pytestmark = pytest.mark.datapath

BRIDGE = "br-int"
WAIT_S = "10"
"""For any command to the switch: a hundred times what it takes."""

EXACT = {
    IpProto.TCP: {"tp_": "tcp_", "tcp_flags=+syn": "tcp_flags=0x2"},
    IpProto.UDP: {"tp_": "udp_"},
    IpProto.ICMPV6: {"icmp_type": "icmpv6_type"},
}
"""A trace wants the exact name of a field, where flows may say what several protocols have."""


def run(*command: str, stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


class Switch:
    """A real Open vSwitch with one port for each Pod of the test worlds."""

    def __init__(self) -> None:
        self.netns = f"ovst-{os.getpid()}"
        self.folder = Path(tempfile.mkdtemp(prefix="ovst-"))
        self.manage = f"unix:{self.folder}/{BRIDGE}.mgmt"

    def start(self) -> None:
        run("ip", "netns", "add", self.netns)
        db = f"{self.folder}/db.sock"
        schema = "/usr/share/openvswitch/vswitch.ovsschema"
        run("ovsdb-tool", "create", f"{self.folder}/conf.db", schema)
        self._daemon("ovsdb-server", f"{self.folder}/conf.db", f"--remote=punix:{db}")
        run("ovs-vsctl", f"--db=unix:{db}", "--no-wait", "init")
        self._daemon("ovs-vswitchd", f"unix:{db}")
        bridge = f"add-br {BRIDGE} -- set bridge {BRIDGE} datapath_type=netdev fail_mode=secure protocols=OpenFlow15"
        for pod in PODS:
            number = port(pod).ofport
            bridge += (
                f" -- add-port {BRIDGE} p{number} -- set interface p{number} type=internal ofport_request={number}"
            )
        run("ovs-vsctl", f"--db=unix:{db}", f"--timeout={WAIT_S}", *bridge.split())
        ofctl = ("ovs-ofctl", "-O", "OpenFlow15", f"--timeout={WAIT_S}")
        for meter in Meter:  # flows of the worlds name meters and a group, and must find them
            bands = f"meter={meter.value},pktps,burst,bands=type=drop,rate=1000,burst_size=1000"
            run(*ofctl, "add-meter", self.manage, bands)
        run(*ofctl, "add-groups", self.manage, "-", stdin=write_groups(HOLDING))

    def _daemon(self, program: str, *arguments: str) -> None:
        where = (f"--pidfile={self.folder}/{program}.pid", f"--log-file={self.folder}/{program}.log")
        control = f"--unixctl={self.folder}/{program}.ctl"
        environ = {f"OVS_{name}": str(self.folder) for name in ("RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR")}
        command = ("ip", "netns", "exec", self.netns, program, "-vconsole:off", *arguments, *where, control)
        subprocess.run((*command, "--detach", "--no-chdir"), env=os.environ | environ, timeout=30, check=True)

    def stop(self) -> None:
        for pid in self.folder.glob("*.pid"):
            os.kill(int(pid.read_text()), signal.SIGKILL)
        subprocess.run(("ip", "netns", "del", self.netns), timeout=30, check=False)
        shutil.rmtree(self.folder)

    def hold(self, flows: Flows) -> None:
        """Exactly these flows, in one bundle."""
        command = ("ovs-ofctl", "-O", "OpenFlow15", "--bundle", f"--timeout={WAIT_S}")
        run(*command, "replace-flows", self.manage, "-", stdin=write_all(flows))

    def dump(self) -> str:
        return run("ovs-ofctl", "-O", "OpenFlow15", f"--timeout={WAIT_S}", *OPTIONS, "dump-flows", self.manage)

    def trace(self, sent: Mapping[Field, int]) -> tuple[tuple[int, ...], bool]:
        """Where the switch would send the first packet of a connection, and whether it would hand it over to us."""
        flow = write_match(match(*sent.items()))
        for name, exact in EXACT.get(sent.get(Field.IP_PROTO, 0), {}).items():
            flow = flow.replace(name, exact)
        # A TTL that is not given is 0, which dec_ttl refuses.
        said = self._control("ofproto/trace", BRIDGE, f"{flow},nw_ttl=64", "--ct-next", "trk,new")
        assert "Final flow" in said, said
        handed_over = "controller(reason=1," in said.partition("Datapath actions: ")[2]
        return tuple(int(number) for number in re.findall(r"-> output port is (\d+)", said)), handed_over

    def _control(self, method: str, *params: str) -> str:
        """Ask ovs-vswitchd, as ovs-appctl(8) does: JSON-RPC 1.0 over its control socket."""
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(float(WAIT_S))
            asked.connect(f"{self.folder}/ovs-vswitchd.ctl")
            asked.sendall(json.dumps({"id": 0, "method": method, "params": params}).encode())
            answer = b""
            while True:
                answer += asked.recv(1 << 16)
                try:
                    said = json.loads(answer)
                except ValueError:
                    continue
                assert said["error"] is None, said["error"]
                return str(said["result"])


OPTIONS = ("--no-names", "--no-stats")


@pytest.fixture(scope="module")
def switch() -> Iterator[Switch]:
    made = Switch()
    try:
        made.start()
        yield made
    finally:
        made.stop()


def seen(walk: Walk) -> tuple[tuple[int, ...], bool]:
    """As a trace has it."""
    return walk.ports, bool(walk.punted)


def agree(switch: Switch, world: Inputs, rules_per_lane: int) -> None:
    """Three witnesses: what policy means, the walker, and the switch."""
    flows = lower(world, RuleIds(rules_per_lane))
    switch.hold(flows)
    walker = Walker(flows)
    for pod in PODS:
        for probe in probes(pod):
            walked = seen(walker.walk(packet(probe)))
            assert switch.trace(packet(probe)) == walked, probe
            assert bool(walked[0]) == allowed(world, probe), probe


def test_the_switch_shows_the_flows_as_they_were_written(switch: Switch):
    for world in CLASHES.values():
        flows = lower(world, RuleIds()) | lower_detour(EnginePorts(200, 201), frozenset((7,)), 3, (8,))
        switch.hold(flows)

        shown = switch.dump()
        assert read_all(shown) == flows
        assert sorted(map(str.strip, shown.splitlines())) == sorted(write_all(flows).splitlines())


@pytest.mark.parametrize("rules_per_lane", [1, 1024])
@pytest.mark.parametrize("name", CLASHES)
def test_policies_whose_flows_clash(switch: Switch, name: str, rules_per_lane: int):
    agree(switch, CLASHES[name], rules_per_lane)


FEW = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Each example costs a tenth of a second; shrinking would cost minutes, and the walker's own tests shrink."""


@FEW
@given(worlds.inputs(), st.sampled_from([1, 2, 1024]))
def test_random_policies(switch: Switch, world: Inputs, rules_per_lane: int):
    agree(switch, world, rules_per_lane)


@FEW
@given(worlds.inputs(), worlds.odd_programs())
def test_random_policies_of_which_some_cannot_be_lowered(switch: Switch, world: Inputs, odd: Program):
    flows = lower(replace(world, programs={**world.programs, (odd.applied_to, odd.unit): odd}), RuleIds())
    switch.hold(flows)
    walker = Walker(flows)
    for pod in PODS:
        for probe in probes(pod):
            assert switch.trace(packet(probe)) == seen(walker.walk(packet(probe))), probe


# ------------------------------------------------------------------------------------------------- one table, by itself

IP = (Field.ETH_TYPE, EthType.IPV4)
MATCHES = [
    (),
    match((Field.IN_PORT, 11)),
    match(IP),
    *(match(IP, (Field.IPV4_SRC, 0x0A000000, (1 << 32) - (1 << 32 - length))) for length in (24, 30, 31)),
    *(match(IP, (Field.IPV4_SRC, 0x0A000000 + number)) for number in (1, 2)),
    *(match(IP, (Field.IPV4_DST, 0x0A000000 + number)) for number in (1, 2)),
    match(IP, (Field.IP_PROTO, IpProto.TCP), (Field.TCP_DST, 80)),
    match(IP, (Field.IP_PROTO, IpProto.TCP), (Field.TCP_DST, 80, 0xFFF0)),
]
"""Matches that overlap in every way that ours do, and in some more."""


def to(number: int) -> FlowBody:
    """A trace tells where a packet went only if the port was in a register."""
    return FlowBody((SetField(Field.REG1, number), OutputField(Field.REG1)), 0)


@st.composite
def tables(draw: st.DrawFn) -> Flows:
    """Flows of one table, soft ones and others; what is not soft has a priority of its own, and so has each id.

    Where OpenFlow leaves the choice open, there is none.
    """
    flows: Flows = {}
    for priority in draw(st.sets(st.integers(1, 9), max_size=4)):
        wanted = draw(st.sampled_from(MATCHES))
        flows[FlowKey(0, 10 * priority, wanted)] = to(12 + priority % 4)
    for number in draw(st.sets(st.integers(1, 3), max_size=3)):
        priority = 10 * draw(st.integers(1, 3)) + number
        clauses = draw(st.integers(2, 3))
        for clause in range(1, clauses + 1):
            for wanted in draw(st.sets(st.sampled_from(MATCHES), min_size=1, max_size=3)):
                key = FlowKey(0, priority, wanted)
                actions = flows.get(key, FlowBody((), 0)).actions
                if not any(isinstance(action, Conjunction) for action in actions):
                    flows[key] = FlowBody((Conjunction(number, clause, clauses),), 0)
        if draw(st.booleans()):
            flows[FlowKey(0, priority + 5, match((Field.CONJ_ID, number)))] = to(12 + number)
    return flows


@settings(FEW, max_examples=30)
@given(tables())
def test_random_conjunctions(switch: Switch, flows: Flows):
    """Also those that have no conj_id flow, and soft flows over others of equal match."""
    switch.hold(flows)
    walker = Walker(flows)
    for source in range(5):
        for target in range(3):
            for number in (80, 81, 443):
                fields = {Field.IN_PORT: 11, Field.ETH_TYPE: EthType.IPV4, Field.IP_PROTO: IpProto.TCP}
                fields |= {Field.IPV4_SRC: 0x0A000000 + source, Field.IPV4_DST: 0x0A000000 + target}
                fields |= {Field.TCP_DST: number}
                assert switch.trace(fields) == seen(walker.walk(fields)), (write_all(flows), fields)
