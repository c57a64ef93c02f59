"""The audit log at 5,000 events a second for 30 s: every one is accounted for, at under half a core.

Half of the packets are denied, four of them alike at a time, and half begin a connection each. The programmer is a
process of its own, on a real switch; it is asked at the default rate, and at one that lets all of them pass.
"""

import asyncio
import os
from pathlib import Path

from tests.bench.audit_flood import accounted, flood, handed_over, objects
from tests.bench.figures import Figure, show

from sluice.lab.lab import Lab

EVENTS_A_SECOND, SECONDS = 5_000, 30
RATES = (500, 10_000)
TARGET_CORES = 0.5
SETTLED_S = 20.0
RATE = "SLUICE_NODE_OVS_PACKET_IN_RATE"


def cpu_s(pid: int) -> float:
    """Seconds that the process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(rate: int) -> Figure:
    os.environ[RATE] = str(rate)
    async with await Lab.start() as lab:
        await lab.change(apply=objects())
        await lab.realised()
        (node,) = lab.nodes.values()
        pid = node.programmer.pid
        assert pid is not None
        to, sender = lab.sandboxes()["x/a"].pod.addresses[0], lab.sandboxes()["x/b"]
        before = cpu_s(pid)
        await asyncio.to_thread(flood, sender.netns, to, EVENTS_A_SECOND, SECONDS)
        cores = (cpu_s(pid) - before) / SECONDS
        deadline = asyncio.get_running_loop().time() + SETTLED_S
        while (counts := accounted(node)).total() != (events := handed_over(node)):
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.5)
        detail = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        missing = events - counts.total()
        return Figure(
            "AUDIT",
            f"cores of node-ovs at {EVENTS_A_SECOND} logged packets a second, rate {rate}",
            cores,
            "cores",
            target=TARGET_CORES,
            detail=f"{events} events in {SECONDS} s: {detail}; {missing} not accounted for",
        )


def main() -> list[Figure]:
    return [asyncio.run(measure(rate)) for rate in RATES]


if __name__ == "__main__":
    for figure in main():
        show(figure)
