"""A node's reading on the real server: order, answers, losses."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from nats.aio.msg import Msg

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Mark, Member, Page
from sluice.contracts.ids import GroupId, NodeName, Revision, Uid
from sluice.contracts.streams import STREAMS
from sluice.runtime import streams
from sluice.runtime.asking import Reading, Want
from sluice.runtime.bus import Bus
from sluice.runtime.interest import Answered, Event, Interest, Restarted
from sluice.runtime.message import Message
from sluice.runtime.output import Output
from sluice.runtime.snapshot import Answer

MARK = subjects.group_mark(0)
MARKS = subjects.GROUP_MARKS


def page(group: str, cause: int, pod: str = "a/b", node: str = "n") -> Page:
    members = (Member(pod=pod, uid=Uid("u")),)
    return Page(group=GroupId(group), node=NodeName(node), cause=Revision(1, cause), members=members)


def at(group: str, node: str = "n") -> str:
    return subjects.page(GroupId(group), NodeName(node))


def mark(upto: int) -> Mark:
    return Mark(shard=0, shards=1, upto=Revision(1, upto))


async def read(interest: Interest, last: Callable[[Event], bool]) -> list[Event]:
    """Events up to the one that is the last."""
    seen: list[Event] = []
    async with asyncio.timeout(60):
        async for event in interest:
            seen.append(event)
            if last(event):
                return seen
    raise AssertionError("it ended")


async def until_answered(interest: Interest, *patterns: str) -> list[Event]:
    open_ = set(patterns)

    def last(event: Event) -> bool:
        match event:
            case Answered(answered):
                open_.difference_update(answered)
            case Restarted():
                open_.update(patterns)
            case _:
                pass
        return not open_

    return await read(interest, last)


async def until_mark(interest: Interest, upto: int) -> list[Event]:
    def last(event: Event) -> bool:
        return isinstance(event, Message) and event.subject == MARK and codec.decode(event.body, Mark) == mark(upto)

    return await read(interest, last)


def messages(events: list[Event]) -> list[Message]:
    return [event for event in events if isinstance(event, Message)]


def names(events: list[Event]) -> list[str]:
    return [message.subject for message in messages(events)]


@pytest.fixture
async def output(bus: Bus):
    async with await Output.open(bus, "GROUPS", ["groups.>"]) as opened:
        yield opened


@pytest.fixture
async def interest(reader: Bus):
    async with Interest(reader, jitter_s=0.05) as opened:
        yield opened


async def store(output: Output, *pages: Page, upto: int) -> None:
    for value in pages:
        output.put(subjects.page(value.group, value.node), value)
    output.mark(MARK, mark(upto))
    async with asyncio.timeout(60):
        await output.settled()


async def test_nothing_stored_is_an_answer(interest, bus):
    interest.want([subjects.pages(GroupId("g")), "programs.ovs.g.*"])

    assert messages(await until_answered(interest, "groups.g.*", "programs.ovs.g.*")) == []


async def test_what_is_stored_comes_then_the_answer_then_what_is_new(interest, output):
    await store(output, page("g", 1), page("g", 1, node="m.example"), page("h", 1), upto=1)
    interest.want(["groups.g.*", MARKS])
    stored = await until_answered(interest, "groups.g.*", MARKS)
    output.remove(at("g"), Revision(1, 2))
    await store(output, page("h", 2, "a/x"), page("g", 2, "a/x", "m.example"), upto=2)
    live = await until_mark(interest, 2)

    assert sorted(names(stored)) == sorted([at("g"), at("g", "m.example"), MARK])
    assert [message.cause for message in messages(stored)] == [Revision(1, 1)] * 3
    assert names(live) == [at("g"), at("g", "m.example"), MARK]
    tombstone = messages(live)[0]
    assert (tombstone.body, tombstone.cause) == (b"", Revision(1, 2))
    assert {event.revision.epoch for event in messages(stored + live)} == {await streams.epoch(output._bus, "GROUPS")}


async def test_patterns_that_overlap_tell_once(interest, output):
    interest.want([at("g"), "groups.g.*"])
    await until_answered(interest, at("g"), "groups.g.*")
    interest.want([MARKS])
    await store(output, page("g", 1), upto=1)

    assert names(await until_mark(interest, 1)) == [at("g"), MARK]


async def test_wanted_again_is_told_again_and_answered_anew(interest, output):
    await store(output, page("g", 1), upto=1)
    interest.want(["groups.g.*"])
    await until_answered(interest, "groups.g.*")
    interest.unwant(["groups.g.*"])
    interest.want(["groups.g.*"])

    assert names(await until_answered(interest, "groups.g.*")) == [at("g")]


async def test_what_another_pattern_covers_stays_known(interest, output):
    await store(output, page("g", 1), page("g", 1, node="m"), upto=1)
    interest.want([at("g"), "groups.g.*"])
    await until_answered(interest, at("g"), "groups.g.*")
    interest.unwant(["groups.g.*"])
    interest.want(["groups.g.*"])

    assert names(await until_answered(interest, "groups.g.*")) == [at("g", "m")]


async def test_unwanted_before_it_was_answered_is_never_answered(interest, output):
    interest.want(["groups.g.*", "groups.h.*"])
    interest.unwant(["groups.g.*"])
    await store(output, page("g", 1), page("h", 1), upto=1)
    seen = await until_answered(interest, "groups.h.*")
    interest.want([MARKS])
    seen += await until_answered(interest, MARKS)

    assert all("groups.g.*" not in event.patterns for event in seen if isinstance(event, Answered))
    assert at("g") not in names(seen)


async def test_too_many_for_one_answer_are_asked_for_in_parts(interest, output):
    """413 for the request: halved. 413 for a single pattern: its subjects are listed and asked for."""
    count = 2_100
    pages = [page("big", 1, node=f"n{number}") for number in range(count)]
    small = [page(f"g{number}", 1, node=f"m{node}") for number in range(300) for node in range(5)]
    await store(output, *pages, *small, upto=1)
    patterns = ["groups.big.*", *(f"groups.g{number}.*" for number in range(300)), MARKS]
    interest.want(patterns)
    seen = await until_answered(interest, *patterns)

    assert len(names(seen)) == len(set(names(seen))) == count + 1_500 + 1


async def test_marks_never_overtake_their_pages_under_a_flood(interest, bus):
    """10,000 marks, each after a page of one of 200 groups, each group a subscription of its own."""
    count, groups = 10_000, 200
    patterns = [*(f"groups.g{number}.*" for number in range(groups)), MARKS]
    interest.want(patterns)
    await until_answered(interest, *patterns)
    for number in range(count):
        await bus.nc.publish(f"groups.g{number % groups}.n", b"%d" % number)
        await bus.nc.publish(MARK, b"%d" % number)
    seen = await read(interest, lambda event: isinstance(event, Message) and event.body == b"%d" % (count - 1))
    seen += await read(interest, lambda event: isinstance(event, Message) and event.subject == MARK)

    newest, early, marks = -1, 0, 0
    for message in messages(seen):
        if message.subject == MARK:
            marks += 1
            early += int(message.body) > newest
        else:
            newest = int(message.body)
    assert (marks, early) == (count, 0)


async def test_a_reconnect_reads_again_and_tells_no_mark_before(interest, output, server, reader):
    patterns = ["groups.g.*", "groups.h.*", MARKS]
    await store(output, page("g", 1), page("h", 1), upto=1)
    interest.want(patterns)
    await until_answered(interest, *patterns)
    for number in range(2, 5):
        await server.restart()
        assert not interest.sound
        await store(output, page("g", number, f"a/{number}"), page("h", number, f"a/{number}"), upto=number)
        seen = await until_mark(interest, number)
        answered = [event for event in seen if isinstance(event, Answered)]

        assert sorted(names(seen)) == sorted([at("g"), at("h"), MARK])
        assert frozenset(patterns) == frozenset().union(*(event.patterns for event in answered))
        assert seen[-1] is messages(seen)[-1]
        assert interest.sound


async def test_what_was_missed_while_away_is_told_on_return(output, reader, server):
    """The reader's connection breaks and the writer's does not."""
    async with Interest(reader, jitter_s=0.05) as interest:
        interest.want(["groups.g.*", MARKS])
        await store(output, page("g", 1), page("g", 1, node="m"), upto=1)
        await until_answered(interest, "groups.g.*", MARKS)
        reader.nc._transport.close()
        output.remove(at("g", "m"), Revision(1, 2))
        await store(output, page("g", 2, "a/changed"), upto=2)
        seen = await until_mark(interest, 2)

    latest = {message.subject: message for message in messages(seen)}
    assert codec.decode(latest[at("g")].body, Page).cause == Revision(1, 2)
    assert (latest[at("g", "m")].body, latest[at("g", "m")].cause) == (b"", Revision(1, 2))


async def test_what_vanished_with_its_tombstone_is_told_as_gone(interest, output, bus, reader):
    await store(output, page("g", 1), page("g", 1, node="m"), upto=1)
    interest.want(["groups.g.*"])
    await until_answered(interest, "groups.g.*")
    await bus.js.purge_stream("GROUPS", subject=at("g", "m"))  # as if its tombstone had come and gone
    reader.nc._transport.close()
    await asyncio.sleep(0)
    seen = await until_answered(interest, "groups.g.*")

    assert [(message.subject, message.body) for message in messages(seen)] == [(at("g", "m"), b"")]


async def test_a_reader_too_slow_reads_again_and_ends_up_right(output, reader, until):
    async with Interest(reader, jitter_s=0.05, room=100) as interest:
        interest.want(["groups.g.*", MARKS])
        await until_answered(interest, "groups.g.*", MARKS)
        pages = [page("g", 1, node=f"n{number}") for number in range(900)]
        await store(output, *pages, upto=1)  # nobody reads meanwhile: 800 of them are dropped
        await until(lambda: _is(reader.errors["SlowConsumerError"] > 0))
        seen = names(await until_mark(interest, 1))

    assert len(set(seen)) == 901
    assert seen[-1] == MARK


async def _is(condition: bool) -> bool:
    return condition


async def test_the_resync_interval_reads_again(reader, output):
    async with Interest(reader, resync_s=0.2) as interest:
        await store(output, page("g", 1), upto=1)
        interest.want(["groups.g.*"])
        first = await until_answered(interest, "groups.g.*")
        again = await until_answered(interest, "groups.g.*")

    assert names(first) == [at("g")]
    assert names(again) == []


async def test_all_streams_deleted_under_way_restarts_the_reader(interest, output, bus):
    patterns = ["groups.g.*", MARKS, "programs.ovs.g.*"]
    await store(output, *(page("g", 1, node=f"n{number}") for number in range(50)), upto=1)
    interest.want(patterns)
    await until_answered(interest, *patterns)
    old = await streams.epoch(bus, "GROUPS")
    for spec in STREAMS:
        await bus.js.delete_stream(spec.name)
    output.remove(at("g", "n7"))
    await store(output, page("g", 2, "a/new", "n0"), upto=2)
    seen = await read(interest, lambda event: isinstance(event, Restarted))
    seen = await until_answered(interest, *patterns)
    last = max(number for number, event in enumerate(seen) if isinstance(event, Restarted) or number == 0)
    told = {message.subject: message for message in messages(seen[last:]) if message.body}

    assert sorted(told) == sorted([MARK, *(at("g", f"n{number}") for number in range(50) if number != 7)])
    assert all(message.revision.epoch > old for message in told.values())
    assert codec.decode(told[MARK].body, Mark) == mark(2)


async def test_only_a_stream_is_believed(interest, output, bus):
    interest.want(["groups.g.*", MARKS])
    await until_answered(interest, "groups.g.*", MARKS)
    await bus.nc.publish("live." + at("g"), codec.encode(page("g", 9, "a/forged")))
    await bus.nc.publish("live." + at("g"), b"", headers={"Nats-Sequence": "many"})
    await store(output, page("g", 1), upto=1)

    assert [message.cause for message in messages(await until_mark(interest, 1))] == [Revision(1, 1)] * 2


async def test_streams_that_are_not_there_yet_are_waited_for(server, reader, bus):
    for name in ("GROUPS", "PROGRAMS"):
        await bus.js.delete_stream(name)
    async with Interest(reader) as interest:
        interest.want(["groups.g.*"])
        answered = asyncio.ensure_future(until_answered(interest, "groups.g.*"))
        await asyncio.sleep(0.2)
        assert not answered.done()
        await streams.ensure(bus)

        await answered


async def test_thousands_of_patterns(interest, output):
    await store(output, *(page(f"g{number}", 1) for number in range(0, 3000, 10)), upto=1)
    patterns = [f"groups.g{number}.*" for number in range(3000)]
    interest.want(patterns)
    seen = await until_answered(interest, *patterns)
    assert len(names(seen)) == 300

    interest.unwant(patterns[:1500])
    interest.want([MARKS])
    await store(output, page("g10", 2, "a/x"), page("g2000", 2, "a/x"), upto=2)
    assert names(await until_mark(interest, 2))[-2:] == [at("g2000"), MARK]


async def test_the_next_mark_tells_of_what_was_lost_while_the_connection_stood(interest, output, monkeypatch):
    """Servers that lost one another for a while pass on nothing of what was live meanwhile, and say nothing."""
    await store(output, page("g", 1), upto=1)
    interest.want(["groups.g.*", MARKS])
    await until_answered(interest, "groups.g.*", MARKS)
    take = interest._live
    lost: list[Msg] = []
    monkeypatch.setattr(interest, "_live", lost.append)
    await store(output, page("g", 2, "a/x"), upto=2)
    async with asyncio.timeout(60):
        while len(lost) < 2:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(interest)
    monkeypatch.setattr(interest, "_live", take)

    await store(output, upto=3)
    assert names(await until_mark(interest, 3)) == [at("g"), MARK]


@pytest.mark.parametrize(
    ("told", "upto", "lags"), [(True, 0, True), (True, 4, True), (True, 5, False), (False, 0, False), (False, 4, True)]
)
def test_an_answer_of_a_replica_that_lags_is_none(told, upto, lags):
    """One that has nothing yet answers that nothing is there; of what was told that is not believed."""
    want, answer = Want("groups.g.n", "GROUPS"), Answer()
    want.held = {"groups.g.n"} if told else set()
    answer.upto = upto
    assert Interest._lags(answer, Reading("GROUPS", [want], 5, 0)) is lags
