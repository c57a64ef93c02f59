"""What is in force, from the bus: told when all streams are read, and all again when one is made anew."""

import asyncio
from contextlib import AsyncExitStack, aclosing

import pytest

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Mark
from sluice.contracts.ids import GroupId, NodeName, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.status import CompilerStatus, NodeStatus, Problem
from sluice.policy.realisation.report import Phase
from sluice.runtime import streams
from sluice.runtime.output import Output
from sluice.runtime.realising import realisations
from sluice.testkit.builders import acnp

PATIENCE_S = 30
KEY = (Kind.CLUSTER_NETWORK_POLICY, "", "p")
UNIT = subjects.unit(*KEY)
GROUP, NODE = GroupId("web"), NodeName("a")
SPEC = {"priority": 5, "appliedTo": [{"podSelector": {}}]}


@pytest.fixture
async def outputs(bus):
    """A writer for each stream, with one policy on one node on its way."""
    async with AsyncExitStack() as stack:
        made = {
            stream: await stack.enter_async_context(await Output.open(bus, stream, [f"{stream.lower()}.>"]))
            for stream in ("GROUPS", "PROGRAMS", "STATUS")
        }
        made["LEDGER"] = await stack.enter_async_context(await Output.open(bus, "LEDGER", ["objects.>"]))
        made["LEDGER"].put(subjects.object_(*KEY), acnp("p", SPEC))
        await made["LEDGER"].settled()
        at = made["LEDGER"].revision
        made["PROGRAMS"].put(subjects.program("ovs", GROUP, UNIT), b"{}", at)
        made["GROUPS"].put(subjects.page(GROUP, NODE), b"{}", at)
        made["GROUPS"].put(subjects.page(GROUP, NodeName("")), b"{}", at)  # blocks: no node
        mark = Mark(shard=0, shards=1, upto=Revision(at.epoch, at.sequence + 1))
        made["PROGRAMS"].mark(subjects.program_mark("ovs", 0), mark)
        made["GROUPS"].mark(subjects.group_mark(0), mark)
        made["STATUS"].put(subjects.status(NODE, "ovs"), NodeStatus(node=NODE, backend="ovs", applied=at, healthy=True))
        for output in made.values():
            await output.settled()
        async with asyncio.timeout(PATIENCE_S):  # the mirror is a moment behind
            while (await streams.origin(bus, "OBJECTS")).last_sequence < at.sequence:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield made


async def until(tellings, reached):
    """The fold once this is so."""
    async with asyncio.timeout(PATIENCE_S):
        async for fold in tellings:
            if reached(fold):
                return fold
    return None


def phase(wanted):
    return lambda fold: (found := fold.realised(UNIT)) is not None and found.phase is wanted


async def test_the_first_word_is_the_whole_truth(outputs, reader):
    async with aclosing(realisations(reader)) as tellings:
        fold = await anext(tellings)

        found = fold.realised(UNIT)
        assert found is not None
        assert (found.phase, found.current, found.desired) == (Phase.REALIZED, 1, 1)


async def test_what_comes_later_is_told(outputs, reader):
    async with aclosing(realisations(reader)) as tellings:
        await until(tellings, phase(Phase.REALIZED))
        status = NodeStatus(node=NODE, backend="ovs", applied=Revision(1, 1), healthy=False, detail="no switch")
        outputs["STATUS"].put(subjects.status(NODE, "ovs"), status)
        await until(tellings, phase(Phase.FAILED))
        outputs["GROUPS"].remove(subjects.page(GROUP, NODE))
        fold = await until(tellings, phase(Phase.REALIZED))
        assert fold.realised(UNIT).desired == 0
        outputs["LEDGER"].remove(subjects.object_(*KEY))
        await until(tellings, lambda fold: fold.realised(UNIT) is None)


async def test_a_stream_that_is_made_anew_is_read_from_the_beginning(outputs, bus, reader):
    async with aclosing(realisations(reader)) as tellings:
        before = await until(tellings, phase(Phase.REALIZED))
        await bus.js.delete_stream("PROGRAMS")  # its writer makes it again, with all that belongs in it

        after = await until(tellings, lambda fold: fold is not before and phase(Phase.REALIZED)(fold))

        assert after is not None


async def test_a_status_that_cannot_be_read_leaves_nothing_in_force(outputs, reader):
    async with aclosing(realisations(reader)) as tellings:
        await until(tellings, phase(Phase.REALIZED))
        good = NodeStatus(node=NODE, backend="ovs", applied=Revision(1 << 60, 1), healthy=True)
        problem = {"unit": UNIT, "state": "pondering", "reason": "later"}
        later = {**codec.decode(codec.encode(good), dict), "problems": [problem]}
        outputs["STATUS"].put(subjects.status(NODE, "ovs"), codec.encode(later))
        fold = await until(tellings, phase(Phase.FAILED))

        ((node, why),) = fold.realised(UNIT).failing
        assert node == NODE
        assert "cannot be read by this version" in why
        assert reader.rejects.total == 1
        outputs["STATUS"].put(subjects.status(NODE, "ovs"), good)
        await until(tellings, phase(Phase.REALIZED))


async def test_backends_that_only_another_version_has_are_nobodys_business(outputs, bus, reader):
    async with aclosing(realisations(reader)) as tellings:
        await until(tellings, phase(Phase.REALIZED))
        await bus.js.publish("status.node-1.later", b'{"later":1}')
        problem = Problem(unit=UNIT, state="failed", reason="partly")
        outputs["STATUS"].put(subjects.compiler_status(1), CompilerStatus(shard=1, problems=(problem,)))
        fold = await until(tellings, lambda fold: fold.realised(UNIT).obstacle is not None)

        assert fold.realised(UNIT).failing == ()
        assert reader.rejects.total == 0


async def test_what_does_not_decode_is_set_aside(outputs, reader):
    async with aclosing(realisations(reader)) as tellings:
        await until(tellings, phase(Phase.REALIZED))
        outputs["STATUS"].put(subjects.compiler_status(0), b'{"shard":"none"}')
        outputs["STATUS"].put(subjects.compiler_status(1), CompilerStatus(shard=1, problems=()))
        await until(tellings, lambda fold: reader.rejects.total == 1)
