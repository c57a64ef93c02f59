"""P1 from end to end: the objects are in the stream; until every page and every program is stored, by the services.

A nats-server, group-resolver and rule-compiler as processes, as in a deployment. The clock starts when the processes
do, so it holds their start; it ends when both marks say that all follows from the last object.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import workloads
from tests.bench.figures import Figure, show

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Mark
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Listed
from sluice.contracts.subjects import object_
from sluice.lab.processes import Program
from sluice.policy.backends import BACKENDS
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, follow
from sluice.runtime.message import Message
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.output import Output

TARGET_S = 10.0
TO_BEAT_S = 6.10
TIMEOUT_S = 120
SERVICES = ("group-resolver", "rule-compiler")
MARKS = [("GROUPS", subjects.group_mark(0)), *(("PROGRAMS", subjects.program_mark(one, 0)) for one in BACKENDS)]


async def store(bus: Bus) -> Revision:
    """The objects, in the stream, and the word that they are all there are."""
    async with await Output.open(bus, "LEDGER", ["objects.>"]) as ledger:
        for subject, body in workloads.small_namespaces(int(os.environ.get("N", "25000"))):
            ledger.put(object_(*subject), body)
            await ledger.room()
        for kind in Kind:
            ledger.mark(subjects.listed(kind), Listed(kind=kind, source="bench"))
        await ledger.settled()
        return ledger.revision


async def reached(bus: Bus, stream: str, mark: str, upto: Revision) -> None:
    """Return when the mark says that everything up to there is stored."""
    async with follow(bus, stream, [mark]) as events:
        async for event in events:
            if isinstance(event, Message) and event.body and codec.decode(event.body, Mark).upto >= upto:
                return


async def holds(bus: Bus, stream: str) -> int:
    """How many subjects have a value."""
    held: set[str] = set()
    async with follow(bus, stream) as events:
        async for event in events:
            if isinstance(event, CaughtUp):
                return len(held)
            if isinstance(event, Message):
                held.add(event.subject)
    raise AssertionError("a follower does not end")


def spent_s(pid: int) -> float:
    """CPU seconds of a process, its children aside."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


async def measure(folder: Path) -> tuple[float, str]:
    """Seconds, and what there is to say about them."""
    server = await NatsServer.start(folder / "nats")
    programs = []
    try:
        async with await Bus.connect(server.url, name="bench") as bus:
            upto = await store(bus)
            before_s = spent_s(server.pid)
            started = time.perf_counter()
            for service in SERVICES:
                name = service.replace("-", "_")
                variables = {f"SLUICE_{name.upper()}_NATS_URL": server.url, f"SLUICE_{name.upper()}_HEALTH_PORT": "-1"}
                command = [sys.executable, "-m", f"sluice.services.{name}"]
                programs.append(Program(command, variables, folder / f"{name}.log"))
                await programs[-1].start()
            async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as tasks:
                for stream, mark in MARKS:
                    tasks.create_task(reached(bus, stream, mark, upto))
            took = time.perf_counter() - started
            parts = [f"nats-server {spent_s(server.pid) - before_s:.1f} s"]
            for service, program in zip(SERVICES, programs, strict=True):
                assert program.pid is not None, program.last_words()
                parts.append(f"{service} {spent_s(program.pid):.1f} s, {peak_mb(program.pid):.0f} MB")
            counts = [f"{await holds(bus, stream):,} subjects in {stream}" for stream in ("GROUPS", "PROGRAMS")]
        return took, f"CPU: {', '.join(parts)}; {', '.join(counts)}"
    finally:
        for program in programs:
            program.kill()
            await program.ended()
        await server.stop()


def main() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        took, detail = asyncio.run(measure(Path(folder)))
    what = "the same, objects in the stream to every page and program stored"
    figure = Figure("P1", what, took, "s", TO_BEAT_S, TARGET_S)
    show(figure, detail)
    return [figure]


if __name__ == "__main__":
    main()
