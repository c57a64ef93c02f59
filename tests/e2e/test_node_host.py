"""node-host in a lab of one node: what it counts, what is left of it when it dies, and what others do to its table."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from time import time_ns

import pytest
import pytest_asyncio

from sluice.contracts.ids import Address, NodeName
from sluice.contracts.stats import NodeStats
from sluice.contracts.status import NodeStatus
from sluice.lab.checks import Question
from sluice.lab.lab import Lab
from sluice.lab.trains import ask_again
from sluice.runtime import stats
from sluice.testkit.manifests import read

pytestmark = [pytest.mark.datapath, pytest.mark.asyncio(loop_scope="module")]

NODE = NodeName("node-1")
OUTSIDE = Address("192.0.2.10")
PATIENCE_S = 60.0

POLICY = """\
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: shut}
spec:
  priority: 5
  appliedTo: [{nodeSelector: {}}]
  egress: [{action: Drop, to: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{protocol: TCP, port: 80}]}]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with await Lab.start() as running:
        await running.use([NODE], {"outside": OUTSIDE})
        await running.change(apply=read(POLICY))
        await running.realised(PATIENCE_S)
        yield running


async def fate(lab: Lab, port: int) -> str:
    """What becomes of a connection from the node to the host beyond the cluster."""
    ends = {"from_": f"node:{NODE}", "to": "external:outside", "source": Address("10.64.0.1"), "address": OUTSIDE}
    expect = "Dropped" if port == 80 else "Allowed"
    question = Question(kind="probe", what="", expect=expect, protocol="TCP", port=port, **ends)  # type: ignore[arg-type]  # texts
    (answer,) = await ask_again(lab, [question])
    return answer.result


async def until(lab: Lab, holds: Callable[[NodeStatus], bool]) -> NodeStatus:
    """The status of node-host, once this holds of it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status = lab.statuses.guards.get(NODE)
            if status is not None and holds(status):
                return status
            await asyncio.sleep(0.05)


async def test_what_a_rule_denies_is_counted(lab: Lab) -> None:
    assert [await fate(lab, port) for port in (80, 443)] == ["Dropped", "Allowed"]

    async with asyncio.timeout(PATIENCE_S):
        while True:  # it may have told of the first packet before there was another
            (rule,) = (await told_since(lab, 0)).rules
            assert (rule.unit, rule.direction, rule.rule) == ("acnps:_:shut", "egress", 0)
            assert rule.packets == rule.sessions
            if rule.packets >= 2:  # two tries, and the kernel's own
                break
            await asyncio.sleep(0.2)


async def test_its_status_tells_the_lifelines(lab: Lab) -> None:
    status = await until(lab, lambda status: status.healthy)

    assert "kubelet: ingress tcp 10250 from anywhere" in status.lifelines
    assert "loopback" in status.lifelines


async def test_what_somebody_else_does_to_the_table_is_put_right(lab: Lab) -> None:
    node = lab.nodes[NODE]
    before = (await until(lab, lambda status: status.healthy)).repairs
    words = ["ip", "netns", "exec", node.netns.name, "nft", "flush", "chain", "inet", "sluice", "output.rules"]
    await asyncio.to_thread(subprocess.run, words, check=True)
    status = await until(lab, lambda status: status.repairs > before and status.healthy)

    assert status.repairs == before + 1
    assert await fate(lab, 80) == "Dropped"


async def test_what_was_in_force_stays_and_is_left_alone_by_the_next_life(lab: Lab) -> None:
    guard, before = lab.nodes[NODE].guard, listed(lab)
    restarts = lab.running.supervised[f"node-host on {NODE}"].restarts
    guard.kill()
    killed_us = time_ns() // 1_000
    assert [await fate(lab, port) for port in (80, 443)] == ["Dropped", "Allowed"]
    told = await told_since(lab, killed_us)  # it counts once it has read the bus and the table

    assert lab.running.supervised[f"node-host on {NODE}"].restarts > restarts
    assert told.rules
    assert listed(lab) == before
    assert [await fate(lab, port) for port in (80, 443)] == ["Dropped", "Allowed"]


async def told_since(lab: Lab, at_us: int) -> NodeStats:
    """What the node has counted, as it says after this."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            told = [one for one in await stats.newest(lab.bus, "host") if one.at_us > at_us and one.rules]
            if told:
                return told[0]
            await asyncio.sleep(0.2)


def listed(lab: Lab) -> str:
    """Lines of the table with their handles: one that is made anew has another."""
    netns = lab.nodes[NODE].netns.name
    words = ["ip", "netns", "exec", netns, "nft", "--handle", "--stateless", "list", "table", "inet", "sluice"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
