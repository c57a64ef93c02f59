"""COUNT: what the rules of a node counted, read from a real switch beside many other flows, and added up."""

import asyncio
import gc
import os
import subprocess
import tempfile
from pathlib import Path

from tests.bench import ovs_p18
from tests.bench.figures import Figure, Took, Watch, show

from sluice.contracts import codec
from sluice.contracts.ids import GroupId, Unit
from sluice.contracts.programs import Direction
from sluice.dataplane.ovs.counting import count_flows
from sluice.dataplane.ovs.counts import Counts, Reading
from sluice.dataplane.ovs.flow import Flows
from sluice.dataplane.ovs.ids import RuleKey
from sluice.drivers.openflow.switch import Switch
from sluice.lab.ovs import OvsNode
from sluice.services.node_ovs.counting import readings

RULES = (1_000, 10_000)
REPEATS = 5
"""Of which the best counts: what else runs on the machine can only take time, never give it."""


def keys(count: int) -> dict[int, RuleKey]:
    return {
        number: RuleKey(Unit(f"acnps:_:policy-{number}"), GroupId("g"), Direction.INGRESS, 0)
        for number in range(1, count + 1)
    }


async def read(switch: Switch, held: dict[int, RuleKey]) -> Took:
    """One reading, and what is kept of it, as if one rule in ten had counted something since the last."""
    counts = Counts(held=held)
    busy = [Reading(number, begins, 1, 100) for number in list(held)[::10] for begins in (True, False)]
    watch = Watch()
    assert not await readings(switch)  # nobody sent anything
    counts.take(busy)
    codec.encode(counts.state())
    return watch.read()


async def measure(netns: str, folder: Path) -> list[tuple[int, Took]]:
    found = []
    node = await OvsNode.start(netns, folder / "ovs")
    try:
        await node.ensure_bridge()
        switch = await Switch.connect(node.mgmt_socket())
        await switch.apply(ovs_p18.flows())
        for count in RULES:
            held = keys(count)
            flows: Flows = {}
            for number in held:
                flows |= count_flows(number)
            await switch.apply(flows)
            gc.collect()
            took = [await read(switch, held) for _ in range(REPEATS)]
            found.append((count, min(took, key=lambda one: one.seconds)))
        switch.close()
    finally:
        await node.stop()
    return found


def main() -> list[Figure]:
    netns = f"bench-count-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", netns], check=True, timeout=10)
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(measure(netns, Path(folder)))
    finally:
        subprocess.run(["ip", "netns", "del", netns], check=True, timeout=10)
    figures = [
        Figure(
            "COUNT",
            f"what {count:,} rules counted (one in ten some), read beside {ovs_p18.FLOWS:,} flows, added up and kept",
            took.seconds * 1_000,
            "ms",
            cpu=took.cpu_s * 1_000,
        )
        for count, took in found
    ]
    for figure in figures:
        show(figure, f"best of {REPEATS}")
    return figures


if __name__ == "__main__":
    main()
