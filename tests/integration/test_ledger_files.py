"""The ledger of a bus goes into a file and back into an empty bus, and tells the same of every moment as before."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.integration.conftest import Source
from tests.integration.test_bus_query_api import until

from sluice.cli import moments
from sluice.cli.main import main
from sluice.grouping.events import key_of
from sluice.runtime import past, streams
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.output import Output
from sluice.services.query_api.keeping import Keeper
from sluice.testkit.builders import namespace, netpol, pod

Sluice = Callable[..., Awaitable[Result]]
EVERY = 20


@pytest.fixture
def sluice(server: NatsServer) -> Sluice:
    """Runs the command against the bus."""

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, main, [*words], catch_exceptions=False)

    async def on_bus(*words: str) -> Result:
        return await run(*words, *(() if "-f" in words else ("--nats-url", server.url)))

    return on_bus


async def history(bus: Bus) -> None:
    """Tombstones, an entry that is missing, what has aged out, and entries since the last checkpoint."""
    async with await Output.open(bus, "LEDGER", ["objects.>"]) as output:
        await _told(Source(output), bus)


async def _told(source: Source, bus: Bus) -> None:
    await source.put(namespace("x"), *(pod(f"x/p{number}", ip=f"10.0.1.{number}") for number in range(1, 20)))
    await source.listed()
    await source.put(pod("x/web", ip="10.0.0.1"), pod("x/db", ip="10.0.0.2"))
    await asyncio.sleep(0.01)  # times are told in milliseconds
    for _ in range(3):
        await source.put(netpol("x/closed"))
        await source.delete(key_of(netpol("x/closed")))
    await source.spoil(key_of(pod("x/p3")))
    await source.put(netpol("x/closed"), *(pod(f"x/p{number}", ip=f"10.0.2.{number}") for number in range(4, 20)))
    here = await past.reach(bus)
    await bus.js.delete_msg("LEDGER", here.last - 5)
    keeping = asyncio.create_task(Keeper(bus, "query-api", "one", every=EVERY).run())

    async def kept() -> bool:
        made = await past.checkpoints(bus, here.epoch)
        return bool(made) and made[-1].last > here.last - EVERY

    await until(kept)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await source.put(netpol("x/late"))
    await bus.js.purge_stream("LEDGER", seq=30)


async def answers(sluice: Sluice, bus: Bus, at: list[str]) -> dict[str, str]:
    """What the command says of a packet at each sequence and time."""
    here = await past.reach(bus)
    asked = [("--seq", str(sequence)) for sequence in range(18, here.last + 1)] + [("--at", time) for time in at]
    ends = ("--from", "x/web", "--to", "x/db", "--port", "5432", "-o", "json")
    told = {" ".join(when): await sluice("verdict", *ends, *when) for when in asked}
    return {when: said.output for when, said in told.items()}


async def wiped(bus: Bus) -> None:
    for spec in bus.specs.values():
        await bus.js.delete_stream(spec.name)


async def test_a_ledger_goes_into_a_file_and_back(sluice: Sluice, bus: Bus, tmp_path: Path) -> None:
    await history(bus)
    here = await past.reach(bus)
    entries = await past.entries(bus, here.epoch, 0, here.last)
    at = sorted({moments.written(entry.time_ns) for entry in entries})
    before = await answers(sluice, bus, at)
    assert len({said for said in before.values() if '"outcome"' in said}) > 3
    file = tmp_path / "ledger.jsonl.gz"
    exported = await sluice("ledger", "export", str(file))
    assert exported.exit_code == 0, exported.output
    assert exported.output.startswith(f"{len(entries)} entries\n")
    refused = await sluice("ledger", "import", str(file))
    assert (refused.exit_code, "the bus already has a ledger" in refused.output) == (2, True)
    was = json.loads((await sluice("ledger", "verify", "-o", "json")).output)
    assert json.loads((await sluice("ledger", "verify", "-f", str(file), "-o", "json")).output) == was
    assert was["findings"] == []

    await wiped(bus)
    done = await sluice("ledger", "import", str(file))
    assert done.exit_code == 0, done.output
    there = await past.reach(bus)
    assert there.epoch > here.epoch
    assert (there.first, there.last) == (here.first, here.last)
    assert await past.entries(bus, there.epoch, 0, there.last) == entries
    assert json.loads((await sluice("ledger", "verify", "-o", "json")).output) == was
    assert await answers(sluice, bus, at) == before

    # It is a ledger like any other: its writer goes on, its mirror shows it, and its keeper keeps it.
    async with await Output.open(bus, "LEDGER", ["objects.>"]) as output:
        again = Source(output)
        await again.delete(key_of(netpol("x/late")))
        last = await again.put(netpol("x/closed"), netpol("x/late"), *(pod(f"x/q{number}") for number in range(EVERY)))
    assert last.sequence == there.last + EVERY + 2  # x/closed was as it is
    keeping = asyncio.create_task(Keeper(bus, "query-api", "one", every=EVERY).run())

    async def goes_on() -> bool:
        mirrored = (await streams.origin(bus, "OBJECTS")).last_sequence == last.sequence
        return mirrored and (await past.checkpoints(bus, there.epoch))[-1].last > there.last

    await until(goes_on)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert not (await past.verified(bus)).findings


async def test_a_file_with_faults_is_not_put_back_unless_told_so(sluice: Sluice, bus: Bus, tmp_path: Path) -> None:
    async with await Output.open(bus, "LEDGER", ["objects.>"]) as output:
        await Source(output).put(namespace("x"), pod("x/web", ip="10.0.0.1"))
    file = tmp_path / "ledger.jsonl"
    assert (await sluice("ledger", "export", str(file))).exit_code == 0
    file.write_bytes(file.read_bytes().replace(b"10.0.0.1", b"10.0.0.2"))
    await wiped(bus)
    for words, code in ((("verify", "-f"), 1), (("import",), 1), (("import", "--damaged"), 0)):
        said = await sluice("ledger", *words, str(file))
        assert (said.exit_code, said.output.splitlines()[0]) == (
            code,
            "2: altered: objects.pods.x.web: it was changed, or an entry before it was changed or removed",
        )
    assert (await past.reach(bus)).last == 2
    file.write_bytes(b"\n".join(file.read_bytes().splitlines()[:-1]))
    said = await sluice("ledger", "verify", "-f", str(file))
    assert (said.exit_code, "the export was not completed" in said.output) == (2, True)
