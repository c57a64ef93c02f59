"""Three servers of NATS: one killed, one wiped, one cut off. Nothing acknowledged is lost, and nodes go on.

Both central services run as processes, and nodes with a dictionary for a switch: one that may talk to every server,
and one that sits with the server that is cut off.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import nats.errors
import pytest
from tests.integration.conftest import Source, Stored
from tests.integration.expected import groups_of, programs_of
from tests.integration.natscluster import LIMITS, Cell, NatsCluster
from tests.integration.running import FakeNode, Program, running

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NEVER, Revision
from sluice.dataplane.ovs.flow import FlowKey
from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.output import Output
from sluice.runtime.patience import TROUBLE, patiently
from sluice.testkit.builders import namespace, netpol, pod

pytestmark = [pytest.mark.datapath, pytest.mark.slow]

GROUP_MARK, PROGRAM_MARK = subjects.group_mark(0), subjects.program_mark("ovs", 0)
STAYS = netpol("x/stays", {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [{"podSelector": {}}]}]})
DB = pod("x/db", ip="10.0.0.1", node="n1", app="db")
FAR = pod("x/far", ip="10.0.0.2", node="n2", app="db")


@pytest.fixture
async def cluster(tmp_path) -> AsyncIterator[NatsCluster]:
    started = await NatsCluster.start(tmp_path, cell=Cell.of_this_process())
    yield started
    await started.stop()


@pytest.fixture
async def bus(cluster) -> AsyncIterator[Bus]:
    async with await Bus.connect(cluster.url, name="test", limits=LIMITS) as connected:
        yield connected


class Acknowledged:
    """Every version of an object that was acknowledged, by its sequence: LEDGER keeps them all."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.versions: dict[int, tuple[str, bytes]] = {}

    def look(self) -> None:
        """To be called when everything is acknowledged."""
        for subject, held in self._output._writes.held.items():
            self.versions[held.sequence] = subject, held.body

    async def missing(self, bus: Bus) -> list[int]:
        """Sequences at which LEDGER has something else, or nothing."""
        found = []
        for sequence, (subject, body) in self.versions.items():
            there = await patiently(bus, partial(bus.js.get_msg, "LEDGER", sequence))  # no leader is no loss
            if (there.subject, there.data or b"") != (subject, body):
                found.append(sequence)
        return found


class Story:
    """What is written, what follows from it, and what must not happen meanwhile."""

    def __init__(self, bus: Bus, source: Source, watch: Callable[[str], Stored], acknowledged: Acknowledged) -> None:
        self.bus, self.source, self.acknowledged = bus, source, acknowledged
        self.groups, self.programs = watch("GROUPS"), watch("PROGRAMS")
        self._number = 0

    async def write(self, count: int = 40) -> Revision:
        """New Pods, a new policy, and the Pods of before with other labels; returns when all is acknowledged."""
        self._number += 1
        upto = NEVER
        for begin in range(0, count, 10):
            pods = []
            for number in range(begin, min(begin + 10, count)):
                address, app = f"10.{self._number}.0.{number}", ("web", "api")[(self._number + number) % 2]
                pods.append(pod(f"x/p{number}", ip=address, node=f"n{number % 3}", app=app))
            policy = netpol(f"x/np{self._number}", {"podSelector": {"matchLabels": {"app": f"web{begin}"}}})
            upto = await self.source.put(*pods, policy)
            self.acknowledged.look()
        return upto

    async def follows(self, upto: Revision, *nodes: FakeNode) -> None:
        """Both streams and the nodes have what follows from everything up to there."""
        objects = self.source.objects.values()
        assert await self.groups.until(GROUP_MARK, upto) == groups_of(objects)
        assert await self.programs.until(PROGRAM_MARK, upto) == programs_of(objects)
        for node in nodes:
            await node.until(upto)


@pytest.fixture
async def story(bus, watch) -> AsyncIterator[Story]:
    async with await Output.open(bus, "LEDGER", ["objects.>"]) as output:
        yield Story(bus, Source(output), watch, Acknowledged(output))


def of_policy(node: FakeNode) -> set[FlowKey]:
    """The flows of the policy that never changes, by the ids of its rules."""
    numbers = {number for number in range(1, 10_000) if (key := node.ids.key(number)) and key.unit.endswith("stays")}
    return {key for key, body in node.switch.items() if body.cookie & 0xFFFFFFFF in numbers}


@pytest.mark.timeout(400)
async def test_servers_are_killed_wiped_and_cut_off(cluster, bus, story, tmp_path):
    programs = [
        Program(cluster.url, service, tmp_path / f"{service}.log", STREAM_REPLICAS="3")
        for service in ("group_resolver", "rule_compiler")
    ]
    cut = cluster.members[-1]
    assert cluster.cell is not None
    async with (
        running(*programs),
        await Bus.connect(cluster.url, name="near", limits=LIMITS) as near_bus,
        await Bus.connect(cut.url, name="far", limits=LIMITS) as far_bus,
        FakeNode(near_bus, "n1", {1: DB}) as near,
        FakeNode(far_bus, "n2", {1: FAR}) as far,
    ):
        await story.source.put(namespace("x"), STAYS, DB, FAR)
        await story.source.listed()
        await story.follows(await story.write(), near, far)
        stays = {near: of_policy(near), far: of_policy(far)}
        assert all(stays.values())
        created = (await streams.origin(bus, "OBJECTS")).created

        killed = await cluster.leader(bus, "LEDGER")
        await killed.kill()
        assert near.switch.keys() >= stays[near]
        await story.follows(await story.write(), near)

        await killed.wipe()
        await killed.restart()
        await killed.whole()
        other = next(one for one in cluster.members if one not in (killed, cut))
        await other.kill()
        await story.follows(await story.write(), near, far)
        await other.restart()
        await other.whole()

        await asyncio.to_thread(cluster.cell.connect, to_others=False)
        held, known = dict(far.switch), far.programmer.upto
        upto = await story.write()
        await story.follows(upto, near)
        async with FakeNode(far_bus, "n2", {1: FAR}) as late:
            with pytest.raises((*TROUBLE, nats.errors.Error)):
                await far_bus.js.publish("objects.pods.x.lost", codec.encode(FAR), timeout=1)
            assert (far.switch, far.programmer.upto) == (held, known)
            assert late.programmer.upto <= known  # a leader that is cut off may still tell what it knows
            await asyncio.to_thread(cluster.cell.connect, to_others=True)
            await late.until(upto)
            await story.follows(await story.write(), near, far, late)
            async with FakeNode(far_bus, "n2", {1: FAR}, far.ids) as fresh:
                upto = await story.write(4)
                await story.follows(upto, near, far, fresh)
                assert fresh.switch == far.switch

        for node, flows in stays.items():
            assert flows.isdisjoint(node.gone)
            assert node.switch.keys() >= flows
        assert await story.acknowledged.missing(bus) == []
        assert (await streams.origin(bus, "OBJECTS")).created == created
        assert all(program.runs for program in programs)
