"""rule-compiler on the real bus: what it stores, in which order, and what it does not do."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.integration.expected import programs_of

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Mark
from sluice.contracts.kinds import Kind
from sluice.contracts.status import CompilerStatus
from sluice.contracts.streams import STREAMS
from sluice.grouping.events import ObjectKey
from sluice.policy.backends import BACKENDS
from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.output import Fenced
from sluice.runtime.sharding import Resharded
from sluice.services.rule_compiler.app import opened
from sluice.services.rule_compiler.settings import RuleCompilerSettings
from sluice.testkit.builders import acnp, control, multi, namespace, netpol, pod, tier

MARK = subjects.program_mark("ovs", 0)
STATUS = subjects.compiler_status(0)


def policy(name: str = "x/np", app: str = "web", port: int = 80):
    rule = {"from": [{"podSelector": {}}], "ports": [{"port": port}]}
    return netpol(name, {"podSelector": {"matchLabels": {"app": app}}, "ingress": [rule]})


def followed(name: str = "tc", app: str = "web"):
    return control(name, {"appliedTo": {"podSelector": {"matchLabels": {"app": app}}}})


def settings(holder: str = "test", shards: int = 1) -> RuleCompilerSettings:
    return RuleCompilerSettings(holder=holder, shards=shards)


@asynccontextmanager
async def compiler(bus: Bus) -> AsyncIterator[asyncio.Task[None]]:
    """The service in this process, until the end of the block."""
    async with opened(bus, settings()) as (shell, _):
        task = asyncio.create_task(shell.run())
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def recomputed(source) -> dict[str, object]:
    """What PROGRAMS must hold for these objects, from scratch."""
    return programs_of(source.objects.values())


async def test_nothing_is_stored_before_the_policies_are_listed(bus, source, watch):
    await source.put(policy())
    programs = watch("PROGRAMS")
    async with compiler(bus):
        await source.listed(*(kind for kind in Kind if kind is not Kind.K8S_NETWORK_POLICY))
        await asyncio.sleep(0.3)  # there is nothing that says that nothing happens
        assert await programs.caught_up() == {}

        upto = await source.listed(Kind.K8S_NETWORK_POLICY)
        assert await programs.until(MARK, upto) == recomputed(source)
        assert len(programs.values) == 1


async def test_a_restart_with_nothing_new_stores_nothing(bus, source, watch):
    await source.put(policy("x/a"), policy("x/b"))
    upto = await source.listed()
    programs = watch("PROGRAMS")
    async with compiler(bus):
        await programs.until(MARK, upto)
    before = (await streams.origin(bus, "PROGRAMS")).last_sequence
    async with compiler(bus):
        upto = await source.put(namespace("x"))  # changes no program, but the marks go past it
        await programs.until(MARK, upto)

    assert (await streams.origin(bus, "PROGRAMS")).last_sequence == before + len(BACKENDS)


async def test_policies_on_nodes_go_to_the_host_and_those_on_both_to_both(bus, source, watch):
    both: list[dict[str, dict[str, str]]] = [{"nodeSelector": {}}, {"podSelector": {}}]
    await source.put(
        acnp("n", {"appliedTo": both, "ingress": [{"action": "Drop"}]}), acnp("p", {"appliedTo": both[1:]})
    )
    upto = await source.listed()
    programs = watch("PROGRAMS")
    async with compiler(bus):
        held = await programs.until(subjects.program_mark("host", 0), upto)

        assert held == recomputed(source)
        assert sorted(subject.split(".")[1] for subject in held) == ["host", "ovs"]


async def test_policies_of_secondary_networks_go_to_tc(bus, source, watch):
    await source.put(policy("x/a"), multi("x/m", about="n,y/n"))
    upto = await source.listed()
    programs = watch("PROGRAMS")
    async with compiler(bus):
        held = await programs.until(subjects.program_mark("tc", 0), upto)

        assert held == recomputed(source)
        assert sorted(subject.split(".")[1] for subject in held) == ["ovs", "tc", "tc"]

        upto = await source.delete(ObjectKey(Kind.MULTI_NETWORK_POLICY, "x", "m"))
        held = await programs.until(subjects.program_mark("tc", 0), upto)
        assert [subject.split(".")[1] for subject in held] == ["ovs"]


async def test_what_went_while_it_was_away_goes(bus, source, watch):
    await source.put(*(policy(f"x/np{number}") for number in range(5)))
    upto = await source.listed()
    programs = watch("PROGRAMS")
    async with compiler(bus):
        await programs.until(MARK, upto)
    await source.delete(ObjectKey(Kind.K8S_NETWORK_POLICY, "x", "np3"))
    upto = await source.put(policy("x/np1", app="api"), policy("x/np2", port=81))
    async with compiler(bus):
        assert await programs.until(MARK, upto) == recomputed(source)


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is away"])
@pytest.mark.parametrize("written", [policy, followed], ids=["a policy", "a TrafficControl"])
async def test_what_moves_to_another_group_is_in_one_of_them_at_any_time(bus, source, watch, running, written):
    await source.put(written())
    upto = await source.listed()
    programs = watch("PROGRAMS")
    async with compiler(bus):
        await programs.until(MARK, upto)
        begin = len(programs.history)
        if running:
            await programs.until(MARK, await source.put(written(app="api")))
    if not running:
        upto = await source.put(written(app="api"))
        async with compiler(bus):
            await programs.until(MARK, upto)

    assert [held for _, held in programs.history[begin:]] == [True, False]
    assert programs.values == recomputed(source)


async def test_a_random_story_with_restarts_ends_as_if_computed_at_once(bus, source, watch):
    chance = random.Random(11)
    programs = watch("PROGRAMS")
    await source.listed()

    async def step():
        name = f"{chance.choice('xyz')}/{chance.choice('abcd')}"
        if chance.random() < 0.3:
            own = chance.choice("ab")
            if chance.random() < 0.3:
                return await source.delete(ObjectKey(Kind.TRAFFIC_CONTROL, "", own))
            return await source.put(followed(own, chance.choice(["web", "api"])))
        if chance.random() < 0.3:
            return await source.delete(ObjectKey(Kind.K8S_NETWORK_POLICY, *name.split("/")))
        return await source.put(policy(name, chance.choice(["web", "api"]), chance.choice([80, 81])), pod("x/a"))

    for _ in range(6):
        async with compiler(bus):
            for _ in range(10):
                upto = await step()
                assert await programs.until(MARK, upto) == recomputed(source)
        for _ in range(5):
            await step()


async def test_all_streams_deleted_under_way_and_the_new_ones_hold_the_same(bus, source, watch):
    await source.put(*(policy(f"x/np{number}") for number in range(5)))
    upto = await source.listed()
    programs = watch("PROGRAMS")
    async with compiler(bus):
        await programs.until(MARK, upto)
        begin = len(programs.history)
        for spec in STREAMS:
            await bus.js.delete_stream(spec.name)
        upto = await source.put(policy("x/new"))
        assert await programs.until(MARK, upto) == recomputed(source)

    assert [subject for subject, held in programs.history[begin:] if not held] == []


async def test_the_ledger_alone_deleted_and_made_again(bus, source, watch):
    await source.put(*(policy(f"x/np{number}") for number in range(5)))
    upto = await source.listed()
    programs = watch("PROGRAMS")
    async with compiler(bus):
        await programs.until(MARK, upto)
        begin = len(programs.history)
        await bus.js.delete_stream("LEDGER")
        upto = await source.put(policy("x/new"))
        assert await programs.until(MARK, upto) == recomputed(source)

    assert [subject for subject, held in programs.history[begin:] if not held] == []


async def test_a_policy_that_cannot_be_read_stays_in_force_and_is_reported(bus, source, watch):
    await source.put(policy("x/bad"), policy("x/good"))
    upto = await source.listed()
    programs = watch("PROGRAMS")
    bad = ObjectKey(Kind.K8S_NETWORK_POLICY, "x", "bad")
    async with compiler(bus):
        both = await programs.until(MARK, upto)
        assert await programs.until(MARK, await source.spoil(bad)) == both
    async with compiler(bus):
        assert await programs.until(MARK, await source.put(pod("x/a"))) == both
        (problem,) = (await problems(bus)).problems
        assert (problem.unit, problem.state) == (subjects.unit(*bad), "failed")
        assert "cannot be read" in problem.reason
        assert "$.apiVersion" in problem.reason

        upto = await source.put(policy("x/bad", app="api"))
        assert await programs.until(MARK, upto) == recomputed(source)
        assert len(programs.values) == 2
        assert (await problems(bus)).problems == ()


async def problems(bus: Bus) -> CompilerStatus:
    raw = await bus.js.get_msg("STATUS", subject=STATUS)
    return codec.decode(raw.data or b"", CompilerStatus)


async def test_a_stranger_writes_into_our_subjects_and_we_stop(bus, source, watch):
    await source.put(policy())
    upto = await source.listed()
    programs = watch("PROGRAMS")
    async with opened(bus, settings()) as (shell, _):
        running = asyncio.create_task(shell.run())
        (subject,) = await programs.until(MARK, upto)
        guard = asyncio.create_task(shell.guard())
        await bus.js.publish(subject, b'{"cause":[1,1]}')
        await source.put(policy(port=81))

        with pytest.raises(Fenced, match="another writer"):
            async with asyncio.timeout(60):
                await guard
        running.cancel()


async def test_another_number_of_shards_is_refused_with_the_way_out(bus, source, watch):
    upto = await source.listed()
    programs = watch("PROGRAMS")
    async with compiler(bus):
        await programs.until(MARK, upto)
    async with opened(bus, settings(shards=2)) as (shell, _):
        with pytest.raises(Resharded, match="delete the stream PROGRAMS"):
            await shell.run()


async def test_the_mark_says_how_many_shards_there_are(bus, source, watch):
    upto = await source.listed()
    programs = watch("PROGRAMS")
    async with compiler(bus):
        await programs.until(MARK, upto)
    raw = await bus.js.get_msg("PROGRAMS", subject=MARK)

    assert codec.decode(raw.data or b"", Mark) == Mark(shard=0, shards=1, upto=upto)


async def test_a_policy_follows_its_tier_and_its_namespaces(bus, source, watch):
    """Programs of a policy change with what it looks up: the tier that it names, and Namespaces that come and go."""
    within = {"from": [{"namespaces": {"match": "Self"}}]}
    spec = {"tier": "mine", "appliedTo": [{"namespaceSelector": {}}], "ingress": [{"action": "Allow", **within}]}
    await source.put(tier("mine", 10), namespace("x"), acnp("p", spec))
    upto = await source.listed()
    programs = watch("PROGRAMS")
    async with compiler(bus):
        assert await programs.until(MARK, upto) == recomputed(source)
        assert len(recomputed(source)) == 1

        upto = await source.put(namespace("y"))
        assert await programs.until(MARK, upto) == recomputed(source)
        assert len(recomputed(source)) == 2

        upto = await source.delete(ObjectKey(Kind.TIER, "", "mine"))
        assert await programs.until(MARK, upto) == {}
        async with asyncio.timeout(60):
            while not (told := (await problems(bus)).problems):  # noqa: ASYNC110  # the bus alone knows when
                await asyncio.sleep(0.01)
        assert [problem.unit for problem in told] == ["acnps:_:p"]
        assert "there is no tier mine" in told[0].reason

        upto = await source.put(tier("mine", 11))
        assert await programs.until(MARK, upto) == recomputed(source)
        assert {program["tier"] for program in recomputed(source).values()} == {11}  # type: ignore[index]  # JSON
