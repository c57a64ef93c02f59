"""log-collector on the real bus: everything that is logged is published, once by its id, and losses are told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from sluice.contracts import codec, subjects
from sluice.contracts.audit import AuditBatch, AuditEvent, FlowDecision, Inspection, Loss
from sluice.contracts.groups import Local, Member
from sluice.contracts.ids import Address, NodeName, Revision, Uid, Unit
from sluice.dataplane.audit import attribution, np_line
from sluice.dataplane.audit.attribution import Begun, Deciding, Entry, What
from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.logfile import Limits, LogFile
from sluice.runtime.output import Output
from sluice.services.log_collector.settings import LogCollectorSettings
from sluice.services.log_collector.shell import Shell

EVE = (
    b'{"timestamp":"2024-09-05T22:49:24.788756+0000","event_type":"alert","src_ip":"10.10.1.4","dest_ip":"10.10.1.3",'
    b'"proto":"TCP","alert":{"action":"blocked","signature":"Reject by AntreaNetworkPolicy:x/p"}}\n'
)


def line(number: int) -> str:
    decision = FlowDecision(
        at_us=number,
        table="IngressDefaultRule",
        policy="AntreaNetworkPolicy:x/p",
        direction="Ingress",
        action="Drop",
        source=Address("10.0.0.1"),
        destination=Address("10.0.0.2"),
        protocol="TCP",
        length=60,
    )
    return np_line.write(decision) + "\n"


class World:
    def __init__(self, bus: Bus, folder: Path) -> None:
        self._bus = bus
        self.np, self.l7 = folder / "np", folder / "l7"
        for one in (self.np, self.l7):
            one.mkdir()
        self.settings = LogCollectorSettings(
            node_name="node-1",
            np_dir=str(self.np),
            l7_dir=str(self.l7),
            state_dir=str(folder / "state"),
            poll_ms=20,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Shell]:
        shell = Shell(self.settings, self._bus)
        task = asyncio.create_task(shell.run())
        try:
            yield shell
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def stored(self, log: str, count: int) -> list[AuditEvent]:
        """The log's events, each batch once by its id, as soon as there are so many."""
        async with asyncio.timeout(60):
            while len(found := await self._stored(log)) < count:  # noqa: ASYNC110  # streams have no such event
                await asyncio.sleep(0.05)
        return found

    async def _stored(self, log: str) -> list[AuditEvent]:
        upto = (await streams.origin(self._bus, "AUDIT")).last_sequence
        batches: dict[str, AuditBatch] = {}
        for sequence in range(1, upto + 1):
            raw = await self._bus.js.get_msg("AUDIT", seq=sequence)
            batch = codec.decode(raw.data or b"", AuditBatch)
            if batch.log == log:
                batches[batch.id] = batch
        return [event for batch in batches.values() for event in batch.events]


@pytest.fixture
async def world(bus: Bus, tmp_path: Path) -> World:
    await streams.ensure(bus)
    return World(bus, tmp_path)


async def test_both_logs_are_published(world: World) -> None:
    async with world.running():
        (world.np / "np.log").write_text("".join(map(line, range(1200))) + "this is no line\n")
        (world.l7 / "eve-2026-11-27.json").write_bytes(EVE)
        decisions = await world.stored("np", 1201)
        (inspection,) = await world.stored("l7", 1)

    assert [one.at_us for one in decisions if isinstance(one, FlowDecision)] == list(range(1200))
    assert isinstance(inspection, Inspection)
    assert inspection.unit == "annps:x:p"
    (bad,) = (one for one in decisions if isinstance(one, Loss))
    assert (bad.lines, bad.example) == (1, "this is no line")


async def test_inspections_name_the_pods_of_the_node(world: World, bus: Bus) -> None:
    pods = tuple(
        Member(pod=name, uid=Uid(name), addresses=(address,))
        for name, address in (("x/web", Address("10.10.1.3")), ("x/other", Address("10.0.0.99")))
    )
    async with await Output.open(bus, "GROUPS", [subjects.local(NodeName("node-1"))]) as output:
        local = Local(node=NodeName("node-1"), cause=Revision(1, 1), pods=pods)
        output.put(subjects.local(NodeName("node-1")), local)
        await output.settled()
    async with world.running():
        (world.l7 / "eve-2026-11-27.json").write_bytes(EVE)
        (inspection,) = await world.stored("l7", 1)

    assert isinstance(inspection, Inspection)
    assert (inspection.source_pod, inspection.destination_pod) == ("", "x/web")


RULE = Deciding(
    id=7,
    table="IngressDefaultRule",
    policy="AntreaNetworkPolicy:x/p",
    direction="Ingress",
    action="Drop",
    unit=Unit("annps:x:p"),
    index=2,
    revision=Revision(1, 10),
)


async def test_decisions_are_told_with_the_rule_and_the_object_of_then(world: World) -> None:
    hour_us = 3_600_000_000
    said: list[tuple[int, What]] = [
        (hour_us, Begun()),
        (hour_us, RULE),
        (2 * hour_us, replace(RULE, revision=Revision(1, 20))),
    ]
    entries = [attribution.write(Entry(at_us=at_us, what=what)) for at_us, what in said]
    (world.np / "attribution-2026.jsonl").write_bytes(b"".join(entries[:2]))
    (world.np / "attribution.jsonl").write_bytes(b"not one\n" + entries[2])
    async with world.running():
        with (world.np / "np.log").open("a") as log:
            log.write(line(5) + line(hour_us + 5) + line(2 * hour_us + 5))
        decisions = await world.stored("np", 3)

    by = [each.by for each in decisions if isinstance(each, FlowDecision)]
    assert [[(one.unit, one.index, one.revision.sequence) for one in each] for each in by] == [
        *([], [("annps:x:p", 2, 10)], [("annps:x:p", 2, 20)]),
    ]


async def test_a_log_that_its_writer_begins_anew_is_read_to_its_end(world: World) -> None:
    log = LogFile(world.np / "np.log", Limits(size_bytes=20_000, backups=5, age_s=0, compress=True))
    async with world.running():
        for number in range(1_000):
            log.append(line(number).encode())
            if number % 100 == 0:
                log.tidy()
                await asyncio.sleep(0.05)
        found = await world.stored("np", 1_000)

    assert [one.at_us for one in found] == list(range(1_000))


async def test_what_the_switch_lost_is_published_as_a_loss(world: World) -> None:
    loss = Loss(at_us=1_000_000, lines=1234, reason="over-rate")
    async with world.running():
        (world.np / "np.log").write_text(line(1) + np_line.write(loss) + "\n")
        found = await world.stored("np", 2)

    assert found[1] == loss


async def test_a_restart_publishes_what_came_meanwhile(world: World) -> None:
    log = world.np / "np.log"
    log.write_text(line(1))
    async with world.running():
        await world.stored("np", 1)
    with log.open("a") as file:
        file.write(line(2))
    log.rename(world.np / "np-old.log")
    log.write_text(line(3))
    async with world.running():
        found = await world.stored("np", 3)

    assert [one.at_us for one in found] == [1, 2, 3]


async def test_a_bus_that_goes_loses_nothing(world: World, server) -> None:
    log = world.np / "np.log"
    async with world.running():
        for number in range(60):
            with log.open("a") as file:
                file.write(line(number))
            if number == 20:
                await server.kill()
            if number == 40:
                await server.restart()
            await asyncio.sleep(0.01)
        found = await world.stored("np", 60)

    assert [one.at_us for one in found] == list(range(60))


async def test_what_is_lost_is_told(world: World) -> None:
    log = world.np / "np.log"
    log.write_text(line(1) + line(2))
    async with world.running():
        await world.stored("np", 2)
        log.write_text(line(3))
        found = await world.stored("np", 4)

    losses = [one for one in found if isinstance(one, Loss)]
    assert len(losses) == 1
    assert "truncated" in losses[0].reason
