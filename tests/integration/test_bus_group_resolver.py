"""group-resolver on the real bus: what it stores, in which order, and what it does not do."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.integration.expected import groups_of

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Mark
from sluice.contracts.kinds import Kind
from sluice.contracts.streams import STREAMS
from sluice.grouping.events import ObjectKey
from sluice.runtime import streams
from sluice.runtime.bus import Bus, Limits
from sluice.runtime.sharding import Resharded
from sluice.services.group_resolver.app import opened
from sluice.services.group_resolver.settings import GroupResolverSettings
from sluice.testkit.builders import control, namespace, netpol, pod

MARK = subjects.group_mark(0)
WEB = {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": [{"podSelector": {}}]}]}


def policy(name: str = "x/np", app: str = "web"):
    return netpol(name, {**WEB, "podSelector": {"matchLabels": {"app": app}}})


@asynccontextmanager
async def resolver(bus: Bus, **settings: object) -> AsyncIterator[asyncio.Task[None]]:
    """The service in this process, until the end of the block."""
    async with opened(bus, GroupResolverSettings(holder="test", **settings)) as (shell, _):  # type: ignore[arg-type]  # settings of a row
        task = asyncio.create_task(shell.run())
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def recomputed(source, shards: int = 1) -> dict[str, object]:
    """What GROUPS must hold for these objects, from scratch."""
    return groups_of(source.objects.values(), shards)


async def test_nothing_is_stored_before_every_kind_is_listed(bus, source, watch):
    await source.put(namespace("x"), pod("x/a", ip="10.0.0.1", app="web"), policy())
    groups = watch("GROUPS")
    async with resolver(bus):
        await source.listed(*(set(Kind) - {Kind.K8S_NETWORK_POLICY}))
        upto = await source.put(pod("x/b", ip="10.0.0.2", app="web"))
        await asyncio.sleep(0.3)  # there is nothing that says that nothing happens
        assert await groups.caught_up() == {}

        upto = await source.listed(Kind.K8S_NETWORK_POLICY)
        assert await groups.until(MARK, upto) == recomputed(source)
        assert len(groups.values) == 4  # pages of two groups, the node's list, its Pods


async def test_a_restart_with_nothing_new_stores_nothing(bus, source, watch):
    await source.put(namespace("x"), pod("x/a", ip="10.0.0.1", app="web"), policy())
    upto = await source.listed()
    groups = watch("GROUPS")
    async with resolver(bus):
        await groups.until(MARK, upto)
    before = (await streams.origin(bus, "GROUPS")).last_sequence
    async with resolver(bus):
        upto = await source.put(namespace("y"))  # changes nothing, but the mark goes past it
        await groups.until(MARK, upto)

    assert (await streams.origin(bus, "GROUPS")).last_sequence == before + 1


async def test_what_went_while_it_was_away_goes(bus, source, watch):
    pods = [pod(f"x/p{number}", ip=f"10.0.0.{number}", node=f"node-{number % 3}", app="web") for number in range(9)]
    await source.put(namespace("x"), policy(), *pods)
    upto = await source.listed()
    groups = watch("GROUPS")
    async with resolver(bus):
        assert await groups.until(MARK, upto) == recomputed(source)
    await source.delete(*(ObjectKey(Kind.POD, "x", f"p{number}") for number in (1, 4, 7)))
    upto = await source.put(policy("x/np", app="api"))
    async with resolver(bus):
        assert await groups.until(MARK, upto) == recomputed(source)


async def test_a_new_page_comes_before_the_list_that_names_it_and_an_old_one_goes_after(bus, source, watch):
    groups = watch("GROUPS")
    async with resolver(bus):
        await source.put(namespace("x"), policy("x/web"), policy("x/api", app="api"))
        await source.put(pod("x/a", ip="10.0.0.1", app="web"))
        await groups.until(MARK, await source.listed())
        begin = len(groups.history)
        await groups.until(MARK, await source.put(pod("x/a", ip="10.0.0.1", app="api")))

    changes = [(subjects.parse(subject), held) for subject, held in groups.history[begin:]]
    kinds = [(type(subject).__name__, held) for subject, held in changes]
    assert kinds == [("PageSubject", True), ("OwnSubject", True), ("PageSubject", False)]


async def test_a_pod_that_moves_is_gone_from_its_old_node_last(bus, source, watch):
    groups = watch("GROUPS")
    async with resolver(bus):
        await source.put(namespace("x"), policy(), pod("x/a", ip="10.0.0.1", node="n.1", app="web"))
        await groups.until(MARK, await source.listed())
        begin = len(groups.history)
        assert await groups.until(
            MARK, await source.put(pod("x/a", ip="10.0.1.1", node="n.2", app="web"))
        ) == recomputed(source)

    pages = [(subject, held) for subject, held in groups.history[begin:] if "_own" not in subject]
    gone = [subject for subject, held in pages if not held]
    assert {subject.rpartition(".")[2] for subject in gone} == {"n_1"}
    assert pages.index((gone[0], False)) > max(
        pages.index(change) for change in pages if change[1] and "_local" not in change[0]
    )


async def test_a_random_story_with_restarts_ends_as_if_computed_at_once(bus, source, watch):
    chance = random.Random(7)
    groups = watch("GROUPS")
    await source.put(*(namespace(name, team=name) for name in "xyz"))
    await source.listed()

    async def step():
        name = f"{chance.choice('xyz')}/{chance.choice('abcdef')}"
        match chance.randrange(9):
            case 8:
                app = chance.choice(["web", "api"])
                return await source.put(control("tc", {"appliedTo": {"podSelector": {"matchLabels": {"app": app}}}}))
            case 0 | 1 | 2 | 3:
                ip, where = f"10.0.0.{chance.randrange(250)}", f"node-{chance.randrange(3)}"
                return await source.put(pod(name, ip=ip, node=where, app=chance.choice(["web", "api"])))
            case 4:
                return await source.delete(ObjectKey(Kind.POD, *name.split("/")))
            case 5 | 6:
                return await source.put(policy(name, app=chance.choice(["web", "api"])))
            case _:
                return await source.delete(ObjectKey(Kind.K8S_NETWORK_POLICY, *name.split("/")))

    for _ in range(6):
        async with resolver(bus):
            for _ in range(10):
                upto = await step()
                assert await groups.until(MARK, upto) == recomputed(source)
        for _ in range(5):
            await step()


async def test_all_streams_deleted_under_way_and_the_new_ones_hold_the_same(bus, source, watch):
    pods = [pod(f"x/p{number}", ip=f"10.0.0.{number}", node=f"node-{number % 3}", app="web") for number in range(9)]
    await source.put(namespace("x"), policy(), *pods)
    upto = await source.listed()
    groups = watch("GROUPS")
    async with resolver(bus):
        await groups.until(MARK, upto)
        begin = len(groups.history)
        for spec in STREAMS:
            await bus.js.delete_stream(spec.name)
        upto = await source.put(pod("x/new", ip="10.0.0.99", app="web"))
        assert await groups.until(MARK, upto) == recomputed(source)

    assert [subject for subject, held in groups.history[begin:] if not held] == []


async def test_two_shards_hold_together_what_one_does(bus, server, source, watch):
    of = [f"{('x', 'z')[number % 2]}/app{number}" for number in range(12)]  # a Namespace of each shard
    await source.put(namespace("x"), namespace("z"), *(policy(name, app=name[2:]) for name in of))
    await source.put(*(pod(name, ip=f"10.0.0.{n}", node=f"n{n % 3}", app=name[2:]) for n, name in enumerate(of)))
    upto = await source.listed()
    groups = watch("GROUPS")
    async with (
        await Bus.connect(server.url, name="other", limits=bus.limits) as other,
        resolver(bus, shards=2),
        opened(other, _settings("other", 2)) as (shell, lease),
        asyncio.TaskGroup() as tasks,
    ):
        assert lease.shard == 1
        running = tasks.create_task(shell.run())
        for shard in (0, 1):
            await groups.until(subjects.group_mark(shard), upto)
        running.cancel()

    assert groups.values == recomputed(source, shards=2)
    assert {subjects.parse(subject).shard for subject in groups.values if "_own" in subject} == {0, 1}  # type: ignore[union-attr]  # an OwnSubject


def _settings(holder: str, shards: int) -> GroupResolverSettings:
    return GroupResolverSettings(holder=holder, shards=shards)


async def test_another_number_of_shards_is_refused_with_the_way_out(bus, source, watch):
    upto = await source.listed()
    groups = watch("GROUPS")
    async with resolver(bus):
        await groups.until(MARK, upto)
    async with opened(bus, _settings("test", 3)) as (shell, _):
        with pytest.raises(Resharded, match="delete the stream GROUPS"):
            await shell.run()


async def test_a_policy_that_cannot_be_read_ends_nothing(bus, source, watch):
    """Not while it runs, and not after a restart; once it is written again or goes, all is as it should be."""
    await source.put(namespace("x"), policy("x/web"), policy("x/api", app="api"))
    await source.put(pod("x/a", ip="10.0.0.1", app="web"), pod("x/b", ip="10.0.0.2", app="api"))
    upto = await source.listed()
    groups = watch("GROUPS")
    web = ObjectKey(Kind.K8S_NETWORK_POLICY, "x", "web")
    async with resolver(bus):
        whole = await groups.until(MARK, upto)
        assert await groups.until(MARK, await source.spoil(web)) == whole
    async with resolver(bus):
        assert await groups.until(MARK, await source.put(namespace("y"))) == whole
        upto = await source.put(pod("x/c", ip="10.0.0.3", app="api"))
        now = await groups.until(MARK, upto)
        assert {subject for subject in whole if subject not in now} == set()
        assert bus.rejects.total == 1, "it is told once, though it was read twice"

        upto = await source.delete(web)
        assert await groups.until(MARK, upto) == recomputed(source)


async def test_a_full_stream_is_said_and_gives_no_mark(server, source, watch):
    names = [f"pod-with-a-rather-long-name-{number:04}" for number in range(2_000)]
    await source.put(namespace("x"), policy(), *(pod(f"x/{name}", node=f"n{name[-4:]}", app="web") for name in names))
    await source.listed()
    async with await Bus.connect(server.url, name="small", limits=Limits(max_bytes=2 << 20)) as small:
        async with opened(small, _settings("test", 1)) as (shell, _):
            running = asyncio.create_task(shell.run())
            async with asyncio.timeout(30):
                while not shell.refused:  # noqa: ASYNC110  # it is asked by a health check
                    await asyncio.sleep(0.05)
            running.cancel()
        groups = watch("GROUPS")
        assert len(await groups.caught_up()) > 100
        assert groups.reached == {}


async def test_marks_say_how_far_even_if_nothing_changes(bus, source, watch):
    groups = watch("GROUPS")
    async with resolver(bus):
        upto = await source.listed()
        await groups.until(MARK, upto)
        for number in range(3):
            upto = await source.put(namespace(f"y{number}"))
            await groups.until(MARK, upto)
    (raw,) = [await bus.js.get_msg("GROUPS", subject=MARK)]

    assert codec.decode(raw.data or b"", Mark) == Mark(shard=0, shards=1, upto=upto)
