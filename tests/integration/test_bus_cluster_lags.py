"""A server that lost its disk learns everything anew, and JetStream lets it answer meanwhile: readers must not believe.

Measured: for seconds a consumer on such a replica has nothing pending, as if the stream were empty. Whoever took that
for the whole would derive that there are no policies.
"""

import asyncio

import pytest
from nats.js import api
from tests.integration.natscluster import LIMITS, NatsCluster

from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, follow
from sluice.runtime.message import Message
from sluice.runtime.patience import patiently

pytestmark = pytest.mark.slow

SUBJECTS, BODY = 20_000, b"x" * 2_000
AT_ONCE = 1_000


async def fill(bus: Bus) -> None:
    one_each = api.StreamConfig(name="LAGS", subjects=["lags.>"], num_replicas=3, max_msgs_per_subject=1)
    await patiently(bus, lambda: bus.js.add_stream(one_each))
    for begin in range(0, SUBJECTS, AT_ONCE):
        for number in range(begin, begin + AT_ONCE - 1):
            await bus.nc.publish(f"lags.{number}", BODY)
        await bus.js.publish(f"lags.{begin + AT_ONCE - 1}", BODY)


async def read(bus: Bus) -> set[str]:
    """What a new reader was told when it was told that this is all."""
    told: set[str] = set()
    async with follow(bus, "LAGS") as events:
        async for event in events:
            if isinstance(event, Message):
                told.add(event.subject)
            if isinstance(event, CaughtUp):
                break
    return told


@pytest.mark.timeout(300)
async def test_a_reader_is_told_everything_while_a_server_learns_it_anew(tmp_path):
    cluster = await NatsCluster.start(tmp_path)
    try:
        async with await Bus.connect(cluster.url, name="test", limits=LIMITS) as bus:
            await fill(bus)
            leader = await cluster.leader(bus, "LAGS")
            other = next(one for one in cluster.members if one is not leader)
            await other.wipe()
            await other.restart()
            learning = asyncio.create_task(other.whole())
            rounds = 0
            while not learning.done() or not rounds:
                for told in await asyncio.gather(*(read(bus) for _ in range(4))):
                    assert len(told) == SUBJECTS
                rounds += 1
            await learning
    finally:
        await cluster.stop()
