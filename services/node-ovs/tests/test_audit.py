"""From copies of packets to np.log: every one has a line, or is told as lost, whatever the disk does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from struct import pack

import pytest
from msgspec.structs import replace

from sluice.contracts.audit import Decision, FlowDecision, Loss
from sluice.contracts.ids import Address, Revision, Uid, Unit
from sluice.dataplane.audit import attribution, np_line
from sluice.dataplane.audit.attribution import Decided, Deciding, Toward
from sluice.dataplane.ovs.audit import RULE_ID
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Term
from sluice.dataplane.ovs.ports import LocalPort
from sluice.dataplane.ovs.registers import OUT_PORT
from sluice.drivers.openflow.packets import PacketIn
from sluice.runtime.logfile import Limits
from sluice.services.node_ovs import audit as audit_module
from sluice.services.node_ovs.audit import Audit

HOUR_NS = 3_600 * 10**9
LIMITS = Limits(size_bytes=1 << 20, backups=1, age_s=0, compress=False)
PORTS = [
    LocalPort(f"x/{name}", Uid(name), number, f"02:00:00:00:00:0{number}", (Address(f"10.0.0.{number}"),))
    for number, name in enumerate("ab", start=1)
]


def rule(number: int, action: Decision, direction: Toward = "Ingress") -> Deciding:
    return Deciding(
        id=number,
        table=f"AntreaPolicy{direction}Rule",
        policy="AntreaNetworkPolicy:x/p",
        rule=f"rule-{number}",
        direction=direction,
        action=action,
        priority=100,
        unit=Unit("annps:x:p"),
        index=number,
        revision=Revision(1, 2),
    )


RULES = (rule(1, "Allow"), rule(2, "Drop"), rule(3, "Allow", "Egress"))


def copy(number: int, ethernet_type: int = 0x0800, source_port: int = 4000, ct_state: int = 0x21) -> PacketIn:
    """UDP from x/b to x/a, for this rule."""
    ends = bytes((10, 0, 0, 2)), bytes((10, 0, 0, 1))
    packet = pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, *ends) + pack("!HHHH", source_port, 53, 8, 0)
    metadata = (Term(Field.IN_PORT, 2), Term(OUT_PORT, 1), Term(RULE_ID, number), Term(Field.CT_STATE, ct_state))
    return PacketIn(bytes(12) + ethernet_type.to_bytes(2, "big") + packet, b"\2", 0, 0, metadata, False, b"")


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "log"
        self.audit = Audit(self.folder, folder, LIMITS)
        self.audit.ports_are(PORTS)
        self._socket = folder / "no-switch"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Audit]:
        task = asyncio.create_task(self.audit.run(self._socket))
        try:
            yield self.audit
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def written(self) -> list[FlowDecision | Loss]:
        path = self.folder / "np.log"
        return [np_line.read(line) for line in path.read_text().splitlines()] if path.exists() else []

    def losses(self) -> dict[str, int]:
        return {one.reason: one.lines for one in self.written() if isinstance(one, Loss)}

    async def until(self, count: int) -> list[FlowDecision | Loss]:
        async with asyncio.timeout(60):
            while len(self.written()) < count:  # noqa: ASYNC110  # files have no such event
                await asyncio.sleep(0.02)
        return self.written()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_copies_have_lines_with_the_pod_that_the_rule_is_about(world: World):
    async with world.running() as audit:
        await audit.attribute(RULES)
        for number in (1, 3, 2, 2):
            audit.take(copy(number))
        found = await world.until(3)

    told = [(one.rule, one.applied_to, one.packets) for one in found if isinstance(one, FlowDecision)]
    assert told == [("rule-1", "x/a", 1), ("rule-3", "x/b", 1), ("rule-2", "x/a", 2)]
    assert (world.folder / "attribution.jsonl").read_text().count('"rule"') > 2


async def test_a_stream_that_is_no_connection_has_a_line_a_second(world: World):
    async with world.running() as audit:
        await audit.attribute(RULES)
        for _ in range(50):
            audit.take(copy(1, ct_state=0))
        (found,) = await world.until(1)

    assert isinstance(found, FlowDecision)
    assert (found.action, found.packets) == ("Allow", 50)


async def test_copies_that_come_before_the_rules_are_known_wait_for_them(world: World):
    async with world.running() as audit:
        audit.take(copy(1))
        await asyncio.sleep(0.3)
        assert world.written() == []
        await audit.attribute(RULES)
        (found,) = await world.until(1)

    assert isinstance(found, FlowDecision)
    assert found.rule == "rule-1"


async def test_what_is_held_back_is_written_when_the_programmer_ends(world: World):
    async with world.running() as audit:
        await audit.attribute(RULES)
        audit.take(copy(2))

    (found,) = world.written()
    assert isinstance(found, FlowDecision)
    assert found.rule == "rule-2"


async def test_a_clock_that_is_set_back_holds_nothing_up(world: World, monkeypatch: pytest.MonkeyPatch):
    clock = [2 * HOUR_NS]
    monkeypatch.setattr(audit_module, "time_ns", lambda: clock[0])
    async with world.running() as audit:
        await audit.attribute(RULES)
        audit.take(copy(2))
        clock[0] = HOUR_NS
        await world.until(1)
        audit.take(copy(1))
        found = await world.until(2)

    assert [one.at_us * 1_000 for one in found] == [2 * HOUR_NS, HOUR_NS + 1_000]


async def test_what_makes_no_line_is_told(world: World):
    async with world.running() as audit:
        await audit.attribute(RULES)
        audit.take(copy(99))
        audit.take(copy(1, ethernet_type=0x88CC))
        await world.until(2)

    assert world.losses() == {"not-known": 1, "not-ip": 1}


async def test_what_the_disk_does_not_take_is_told_when_it_does_again(world: World):
    world.folder.write_text("no folder")
    async with world.running() as audit:
        await audit.attribute(RULES)  # policy goes on
        for port in range(5):
            audit.take(copy(1, source_port=port))
        async with asyncio.timeout(60):
            while audit._lost.total() < 5:  # noqa: ASYNC110  # nobody tells that a disk took nothing
                await asyncio.sleep(0.02)
            world.folder.unlink()
            while not world.losses():  # noqa: ASYNC110  # files have no such event
                await asyncio.sleep(0.02)
        audit.take(copy(1))
        found = await world.until(2)

    assert world.losses() == {"not-written": 5}
    assert isinstance(found[-1], FlowDecision)


async def test_rules_whose_lines_look_alike_are_told_apart_by_the_microsecond(world: World):
    async with world.running() as audit:
        await audit.attribute([replace(rule(number, "Allow"), rule="") for number in (1, 2)])
        audit.take(copy(1))
        audit.take(copy(2))
        found = await world.until(2)

    entries = [attribution.read(line) for line in (world.folder / "attribution.jsonl").read_bytes().splitlines()]
    decided = [(one.at_us, one.what.id) for one in entries if isinstance(one.what, Decided)]
    assert decided == [(found[0].at_us, 1), (found[1].at_us, 2)]
    assert found[0].at_us < found[1].at_us
