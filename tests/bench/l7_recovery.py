"""L7: an engine that is killed or stopped under load, with few tenants and with many; and what tenants take of memory.

A lab of one node. Two clients ask all the while for what is denied, and one for what is allowed: a denied request that
is answered fails the benchmark. Needs root, Open vSwitch and Suricata.
"""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

from tests.bench.figures import Figure, show
from tests.bench.l7_lab import NODE, policy
from tests.l7.load import Load

from sluice.lab.lab import Lab
from sluice.services.node_l7.patience import SETTLED_S
from sluice.testkit.manifests import read

TENANTS = (2, 200, 1000)
RECOVERY_S, RESTART_S = 3.0, 5.0
"""For up to 200 tenants, and for 1,000."""

PATIENCE_S = 240.0

CLIENT_S = 0.1
"""A client gives up and comes again."""

MOST_AT_ONCE, COMPILED_S = 200, 10.0
"""Beyond so many, the engine is not told of one after the other; and how long until they are on the bus."""

SCENERY = "".join(
    f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: x, labels: {{app: {name}}}}}\n"
    "spec: {containers: [{name: c, image: any, ports: [{containerPort: 80}]}]}\n---\n"
    for name in ("client", "inspected", "bystander")
)


def engine(lab: Lab) -> int:
    wanted = os.fsencode(lab.nodes[NODE].folder / "l7" / "suricata.yaml")
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "cmdline").read_bytes().split(b"\0"):
                return int(entry.name)
    raise LookupError("no engine runs")


def resident_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    """What the process and all its threads have had. Source: proc_pid_stat(5), utime and stime."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure() -> None:
    async with await Lab.start() as lab:
        await lab.change(apply=read(SCENERY))
        await lab.change(apply=policy("first", "inspected", "/public/*"))
        await lab.realised(PATIENCE_S)
        boxes = lab.sandboxes()
        load = Load(boxes["x/client"].netns, (boxes["x/inspected"].pod.addresses[0],), patience_s=CLIENT_S)
        there = 1
        with load.running():
            for count in TENANTS:
                await more(lab, range(there, count))
                # The switch takes in what is new, and the engine becomes one that did not fail soon.
                await asyncio.sleep(2 * SETTLED_S)
                there = count
                await ends(lab, load, count)
        assert load.counts["leaked"] == 0, load.counts
        print(f"     no denied request was answered: {dict(load.counts)}")


async def more(lab: Lab, numbers: range) -> None:
    """Policies that are written at once; where they are very many, node-l7 finds them when it starts."""
    began = time.perf_counter()
    some = [policy(f"p{number}", "bystander", f"/{number}") for number in numbers]
    await lab.change(apply=[one for each in some for one in each])
    if len(some) > MOST_AT_ONCE:
        await asyncio.sleep(COMPILED_S)
        lab.nodes[NODE].inspector.kill()
    await lab.realised(PATIENCE_S)
    took_s = time.perf_counter() - began
    what = f"{len(some)} policies written at once in force, {numbers.stop} in all"
    show(Figure("L7", what, took_s, "s"))


async def ends(lab: Lab, load: Load, count: int) -> None:
    """The engine ends in each way, and node-l7 does."""
    show(Figure("L7", f"memory of the engine, {count} tenants", resident_mb(engine(lab)), "MB"))
    target = RECOVERY_S if count < TENANTS[-1] else RESTART_S
    for what in ("kill -9 of the engine", "SIGSTOP of the engine", "kill -9 of node-l7"):
        old, load.longest_s = engine(lab), 0.0
        match what:
            case "kill -9 of the engine":
                os.kill(old, signal.SIGKILL)
            case "SIGSTOP of the engine":
                os.kill(old, signal.SIGSTOP)
            case _:
                lab.nodes[NODE].inspector.kill()
        new = await asyncio.to_thread(another, lab, old)
        await asyncio.to_thread(load.recovered, time.monotonic(), PATIENCE_S)
        longest_s = load.longest_s
        cost = f"the new engine had {cpu_s(new):.2f} s of CPU until then"
        await lab.realised(PATIENCE_S)
        show(Figure("L7", f"no request answered after {what}, {count} tenants", longest_s, "s", target=target), cost)
        await asyncio.sleep(SETTLED_S + 1)  # so that an engine that ends is not one that fails again and again


def another(lab: Lab, old: int) -> int:
    """The engine that comes after this one."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with contextlib.suppress(LookupError):
            if (new := engine(lab)) != old:
                return new
        time.sleep(0.05)
    raise TimeoutError(f"no other engine runs after {PATIENCE_S:g} s")


if __name__ == "__main__":
    asyncio.run(measure())
