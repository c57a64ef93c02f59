"""50,000 rules of distinct precedence stand on a switch, and one more moves few of them."""

import gc
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import median

import pytest

from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.pipeline import Table
from sluice.drivers.openflow.switch import Switch
from sluice.lab.ovs import OvsNode
from sluice.testkit import crowded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def full() -> Iterator[Engine]:
    gc.disable()  # a quarter of a million flows that stay: collecting among them doubles the time
    try:
        yield crowded.engine(RuleIds(), crowded.policies())
    finally:
        gc.enable()


def test_as_many_as_promised_stand_and_one_more_in_the_middle_moves_few(full: Engine):
    put, delete = full.drain()
    assert (full.problems(), delete) == ((), frozenset())
    tiers = {key.priority for key in put if key.table == Table.INGRESS_TIER}
    baseline = {key.priority for key in put if key.table == Table.INGRESS_DEFAULT}
    assert (len(tiers), len(baseline)) == (50_000 + 2, 150 + 1)  # and the tables' own flows

    chance, moved = Random(1), []
    for number in range(200):
        tier, priority = chance.choice(crowded.TIERS), chance.uniform(1, 10_000)
        full.put_program(crowded.policy("new", 20_000 + number, tier, priority))
        put, delete = full.drain()
        moved.append(len(put) + len(delete))

    assert median(moved) < 100
    assert full.problems() == ()


@pytest.fixture
def netns() -> Iterator[str]:
    name = f"cap-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=60)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True, timeout=60)


@pytest.mark.datapath
async def test_they_stand_on_a_switch(full: Engine, netns: str, tmp_path: Path):
    flows = full.flows
    node = await OvsNode.start(netns, tmp_path / "ovs")
    try:
        await node.ensure_bridge()
        switch = await Switch.connect(node.mgmt_socket())
        await switch.apply(flows)
        assert await switch.dump() == flows
        switch.close()
    finally:
        await node.stop()
