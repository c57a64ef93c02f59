"""Every packet that a rule has logged is in np.log: in a line, in that of one that looks alike, or as lost."""

import asyncio
import os
import signal
from collections import Counter

import pytest
from tests.bench.audit_flood import accounted, begun, flood, handed_over, objects

from sluice.lab.lab import Lab
from sluice.lab.node import LabNode

pytestmark = pytest.mark.datapath

SETTLED_S = 120.0
"""In which all must be accounted for: denials are held for a second, and the meter is looked at each second."""


async def settled(node: LabNode, *, least: int) -> Counter[str]:
    """What became of the packets, as soon as it is all of them, and at least so many."""
    async with asyncio.timeout(SETTLED_S):
        while True:
            events, counts = await asyncio.to_thread(handed_over, node), accounted(node)
            if events >= least and counts.total() == events:
                return counts
            await asyncio.sleep(0.5)  # neither switch nor files have such an event


async def test_each_is_accounted_for_above_the_rate_and_while_the_programmer_is_away() -> None:
    async with await Lab.start("audit") as lab:
        await lab.change(apply=objects())
        await lab.realised()
        (node,) = lab.nodes.values()
        to, sender = lab.sandboxes()["x/a"].pod.addresses[0], lab.sandboxes()["x/b"]

        await asyncio.to_thread(flood, sender.netns, to, 200, 1.0)
        few = await settled(node, least=100)
        await asyncio.to_thread(flood, sender.netns, to, 4_000, 1.0, 200)
        many = await settled(node, least=1_000)
        logged, remembered = await asyncio.to_thread(begun, node)
        assert logged == remembered > many["written"]  # what is above the rate is let in all the same
        before = node.programmer.pid
        node.programmer.kill()
        while node.programmer.pid in (None, before):
            await asyncio.to_thread(flood, sender.netns, to, 100, 0.1)
        after = await settled(node, least=many.total() + 1)

        assert node.ovs.vswitchd_pid is not None
        os.kill(node.ovs.vswitchd_pid, signal.SIGKILL)
        async with asyncio.timeout(SETTLED_S):
            while accounted(node)["written"] == after["written"]:
                await asyncio.to_thread(flood, sender.netns, to, 100, 0.1)
                await asyncio.sleep(0.5)  # the switch comes back empty, and drops until it has its flows

    assert few["written"] > 0
    assert few["duplicate"] > 0
    assert few["over-rate"] == 0
    assert many["over-rate"] > 0
    assert after["not-running"] > 0
