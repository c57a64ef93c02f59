"""Lifelines, settings, the log, counts and the upkeep of the table, without a kernel or a bus."""

import socket
from pathlib import Path
from typing import Any

import pytest

from sluice.contracts.programs import Direction
from sluice.contracts.stats import RuleCount
from sluice.dataplane.audit import np_line
from sluice.dataplane.host import guard, wire
from sluice.dataplane.host.ids import RuleKey, rule_id
from sluice.dataplane.host.table import NOTHING, Table
from sluice.dataplane.host.wire import Held
from sluice.drivers.nftables.copies import Copy
from sluice.drivers.nftables.tables import Refused, Tables
from sluice.runtime import settings
from sluice.runtime.logfile import Limits
from sluice.runtime.settings import ConfigError
from sluice.services.node_host import lifelines
from sluice.services.node_host.audit import NAME, Audit
from sluice.services.node_host.counting import counted
from sluice.services.node_host.settings import NodeHostSettings
from sluice.services.node_host.upkeep import Upkeep
from sluice.testkit import builders
from sluice.testkit.expanders import story
from sluice.testkit.host_node import HERE, HostNode
from sluice.testkit.host_walker import carry_out

RULES = [
    {"action": "Allow", "enableLogging": True, "name": "In", "logLabel": "here", "ports": [{"port": 80}]},
    {"action": "Drop", "enableLogging": True},
]
NODE = HostNode(
    story(
        builders.node("node-1", ip=("192.168.77.10",)),
        builders.acnp("p", {"appliedTo": [{"nodeSelector": {}}], "ingress": RULES}),
    )
)
UNIT = next(iter(NODE.engine.rules.values())).program.unit
ALLOW, DROP = (rule_id(RuleKey(UNIT, Direction.INGRESS, number)) for number in (0, 1))


def load(**values: str) -> NodeHostSettings:
    given = {f"X_{field.upper()}": value for field, value in values.items()}
    return settings.load(NodeHostSettings, "X_", {"X_NODE_NAME": "n", **given})


# ------------------------------------------------------------------------------------------------------------ lifelines


def test_lifelines_are_those_that_are_written_and_those_that_the_machine_knows(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("search x\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n")
    made = load(
        nats_url="nats://u:p@192.0.2.4:4223,[2001:db8::4]",
        resolv_conf=str(conf),
        ssh_from="192.0.2.0/24, 2001:db8::/32",
        lifelines_egress="tcp:6443:192.0.2.1",
    )

    words = [one.words() for one in lifelines.found(made)]

    assert words == [
        "kubelet: ingress tcp 10250 from anywhere",
        "setting: egress tcp 6443 to 192.0.2.1",
        "SSH: ingress tcp 22 from 192.0.2.0/24",
        "SSH: ingress tcp 22 from 2001:db8::/32",
        "DHCP: egress udp 67 to anywhere",
        "DHCP: ingress udp 68 from anywhere",
        "DHCP: egress udp 547 to anywhere",
        "DHCP: ingress udp 546 from anywhere",
        "NATS: egress tcp 4223 to 192.0.2.4",
        "NATS: egress tcp 4222 to 2001:db8::4",
        "DNS: egress udp 53 to 192.0.2.53",
        "DNS: egress tcp 53 to 192.0.2.53",
    ]
    assert lifelines.found(load(lifelines="false")) == ()


def test_where_nobody_can_say_where_nats_is_its_lifeline_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    found = lifelines.found(load(nats_url="nats://nowhere.invalid:1", resolv_conf="/dev/null"))

    assert {one.title for one in found} == {"kubelet", "DHCP"}


@pytest.mark.parametrize("text", ["22", "tcp:", "tcp:0", "tcp:70000", "tcp:9-8", "icmp:8", "tcp:22:somewhere"])
def test_what_is_no_lifeline_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write PROTOCOL:PORT"):
        load(lifelines_ingress=text)


def test_a_lifeline_has_ports_and_an_end() -> None:
    made = guard.parse("x", Direction.EGRESS, "UDP:30000-30010:[fd00::/8]")

    assert made.words() == "x: egress udp 30000-30010 to fd00::/8"


# ------------------------------------------------------------------------------------------------------------------ log


def packet(proto: int = 6, length: int = 60) -> bytes:
    header = bytes((0x45, 0)) + length.to_bytes(2, "big") + bytes((0, 0, 0, 0, 64, proto, 0, 0))
    return header + bytes((192, 0, 2, 7, 192, 168, 77, 10)) + (40_000).to_bytes(2, "big") + bytes((0, 80)) + bytes(8)


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    limits = Limits(size_bytes=1_000_000, backups=1, age_s=0, compress=False)
    made = Audit(HERE, None, tmp_path, limits)
    made.rules_are(NODE.engine.rules)
    return made


def lines(audit: Audit, now_us: int) -> list[str]:
    return [line.partition(" ")[2].partition(" ")[2] for line in audit._due(now_us)]


def test_lines_look_as_those_of_pods_do(audit: Audit, tmp_path: Path) -> None:
    audit.take(Copy(ALLOW, packet(length=1_400)), 1_000_000)
    for at_us in (1_100_000, 1_200_000):
        audit.take(Copy(DROP, packet(17)), at_us)

    (allowed,) = lines(audit, 1_500_000)
    table, rest = "AntreaPolicyIngressRule AntreaClusterNetworkPolicy:p", "node-1 192.0.2.7 40000 192.168.77.10 80"
    assert allowed == f"{table} In Ingress Allow <nil> {rest} TCP 1400 here"
    (repeated,) = audit._due(2_200_000)
    assert f"{table} ingress-drop-" in repeated  # the name that a rule has where nobody gave it one
    assert repeated.endswith(f"Ingress Drop <nil> {rest} UDP 60 <nil> [2 packets in 100ms]")
    audit._put([repeated])
    assert np_line.read((tmp_path / NAME).read_text().strip()).__class__.__name__ == "FlowDecision"


def test_what_is_counted_and_does_not_come_is_told_as_lost(audit: Audit) -> None:
    audit.counted({ALLOW: (10, 0)})
    audit.take(Copy(ALLOW, packet()), 1)
    audit.counted({ALLOW: (14, 0)})  # the kernel has counted four more, and one came
    assert len(audit._due(0)) == 1
    audit.counted({ALLOW: (14, 0)})

    (loss,) = audit._due(0)
    assert loss.endswith("over-rate [3 packets in 1s]")
    audit.counted({ALLOW: (14, 0)})
    assert audit._due(0) == []


def test_packets_that_nobody_knows_are_no_lines(audit: Audit) -> None:
    for copy in (Copy("r0", packet()), Copy(ALLOW, b""), Copy(ALLOW, b"\x45"), Copy(ALLOW, b"\x60" + bytes(9))):
        audit.take(copy, 1)

    assert audit._due(10_000_000) == []


# --------------------------------------------------------------------------------------------------------------- counts


def test_counts_are_told_by_rule_and_others_counters_are_not() -> None:
    told = list(counted({DROP: (3, 180), ALLOW: (0, 0), "somebody": (9, 9)}, NODE.engine.rules))

    assert told == [
        RuleCount(unit=UNIT, direction=Direction.INGRESS, rule=1, sessions=3, packets=3, bytes=180),
    ]


# --------------------------------------------------------------------------------------------------------------- upkeep


class Kernel(Tables):
    def __init__(self) -> None:
        super().__init__()
        self.held: Held = wire.NOT_THERE
        self.reads = 0
        self.refuses = ""

    def read(self) -> Held:
        self.reads += 1
        return self.held

    def apply(self, commands: Any) -> None:
        if self.refuses and commands:
            raise Refused(self.refuses)
        self.held = carry_out(tuple(commands), self.held)


TABLE: Table = NODE.engine.table()


def test_the_table_is_read_once_and_brought_to_what_is_wanted() -> None:
    kernel = Kernel()
    upkeep = Upkeep(kernel)
    assert not upkeep.done
    for _ in range(2):
        upkeep.advance(TABLE)

    assert kernel.held == wire.encoded(TABLE)
    assert (upkeep.done, upkeep.repairs, kernel.reads) == (True, 0, 1)


def test_a_restart_changes_nothing_of_what_is_right() -> None:
    kernel = Kernel()
    Upkeep(kernel).advance(TABLE)
    kernel.refuses = "nothing is to be done"

    again = Upkeep(kernel)
    again.advance(TABLE)

    assert again.done


def test_what_somebody_else_did_is_a_repair() -> None:
    kernel = Kernel()
    upkeep = Upkeep(kernel)
    upkeep.advance(TABLE)
    kernel.held = wire.NOT_THERE
    upkeep.doubt()
    upkeep.advance(TABLE)
    upkeep.look_again()
    upkeep.advance(TABLE)

    assert kernel.held == wire.encoded(TABLE)
    assert upkeep.repairs == 1


def test_what_the_kernel_refuses_is_told_and_tried_again() -> None:
    kernel = Kernel()
    upkeep = Upkeep(kernel)
    kernel.refuses = "nft: no"
    upkeep.advance(TABLE)
    assert (upkeep.done, upkeep.failure) == (False, "nft: no")

    kernel.refuses = ""
    upkeep.advance(TABLE)
    assert (upkeep.done, upkeep.failure) == (True, "")


def test_no_table_is_wanted_where_none_is() -> None:
    kernel = Kernel()
    Upkeep(kernel).advance(NOTHING)

    assert kernel.held == wire.NOT_THERE
