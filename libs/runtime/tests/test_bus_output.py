"""A writer on the real server: fences, marks, tombstones, and what happens when the server goes."""

import asyncio
import itertools

import msgspec
import pytest

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Mark, Member, Page
from sluice.contracts.ids import GroupId, NodeName, Revision, Uid
from sluice.contracts.streams import STREAMS
from sluice.runtime import streams
from sluice.runtime.bus import Bus, Limits
from sluice.runtime.follow import CaughtUp, Event, NewEpoch, follow
from sluice.runtime.message import Message
from sluice.runtime.output import Fenced, Output

GROUPS = ("GROUPS", ["groups.>"])
MARK = subjects.group_mark(0)


def page(group: str, cause: int, pod: str = "a/b", padding: int = 0) -> Page:
    members = (Member(pod=pod + "x" * padding, uid=Uid("u")),)
    return Page(group=GroupId(group), node=NodeName("n.1"), cause=Revision(1, cause), members=members)


def mark(upto: int) -> Mark:
    return Mark(shard=0, shards=1, upto=Revision(1, upto))


def at(group: str) -> str:
    return subjects.page(GroupId(group), NodeName("n.1"))


async def settled(output: Output) -> None:
    async with asyncio.timeout(60):
        await output.settled()


async def everything(bus: Bus, stream: str) -> list[Message]:
    seen = []
    async with follow(bus, stream) as events, asyncio.timeout(60):
        async for event in events:
            match event:
                case Message():
                    seen.append(event)
                case CaughtUp():
                    return seen
    raise AssertionError("it ended")


async def test_a_then_b_then_a_within_a_second_are_three_messages(bus, reader):
    async with await Output.open(bus, *GROUPS) as output, follow(reader, "GROUPS") as events:
        await anext(events)
        for pod in ("a/1", "a/2", "a/1"):
            output.put(at("g"), page("g", 7, pod))  # the same cause, the same content: a deduplicated id would lose it
            await settled(output)
        async with asyncio.timeout(60):
            seen = [await anext(events) for _ in range(3)]

    pods = [codec.decode(event.body, Page).members[0].pod for event in seen if isinstance(event, Message)]
    assert pods == ["a/1", "a/2", "a/1"]


async def test_objects_without_a_cause_come_back_too(bus):
    async with await Output.open(bus, "LEDGER", ["objects.>"]) as output:
        for body in (b'{"v":1}', b'{"v":2}', b'{"v":1}', b'{"v":1}'):
            output.put("objects.pods.a.b", body)
            await settled(output)

    assert [message.body for message in await everything(bus, "LEDGER")] == [b'{"v":1}', b'{"v":2}', b'{"v":1}']


async def test_what_differs_in_its_cause_alone_is_not_sent(bus):
    async with await Output.open(bus, *GROUPS) as output:
        output.put(at("g"), page("g", 1))
        await settled(output)
        assert output.put(at("g"), page("g", 2)) is None
    async with await Output.open(bus, *GROUPS) as again:
        assert again.put(at("g"), page("g", 3)) is None
        assert again.put(at("g"), page("g", 4, "a/other")) is not None
        await settled(again)

    (message,) = await everything(bus, "GROUPS")
    assert codec.decode(message.body, Page) == page("g", 4, "a/other")
    assert message.cause == Revision(1, 4)


async def test_a_writer_that_comes_back_tombstones_what_it_no_longer_derives(bus):
    async with await Output.open(bus, *GROUPS) as output:
        for group in ("kept", "vanished"):
            output.put(at(group), page(group, 1))
        output.mark(MARK, mark(1))
        await settled(output)
    async with await Output.open(bus, *GROUPS) as again:
        derived = {at("kept"): page("kept", 2), at("new"): page("new", 2)}
        assert sorted(again.stored) == sorted([at("kept"), at("vanished"), MARK])
        for subject, value in derived.items():
            again.put(subject, value)
        for subject in again.stored.keys() - derived.keys() - {MARK}:
            again.remove(subject, Revision(1, 2))
        assert again.remove(at("never was")) is None
        again.mark(MARK, mark(2))
        await settled(again)
        assert sorted(again.stored) == sorted([*derived, MARK])

    messages = await everything(bus, "GROUPS")
    assert [message.subject for message in messages] == [at("kept"), at("new"), at("vanished"), MARK]
    assert (messages[2].body, messages[2].cause) == (b"", Revision(1, 2))


async def test_a_tombstone_lives_for_its_time_and_then_the_subject_is_free(server, until):
    specs = tuple(msgspec.structs.replace(spec, tombstone_ttl_s=1) for spec in STREAMS)
    limits = Limits(max_bytes=8 << 20)
    async with (
        await Bus.connect(server.url, name="short", specs=specs, limits=limits) as bus,
        await Output.open(bus, *GROUPS) as output,
    ):
        output.put(at("g"), page("g", 1))
        await settled(output)
        output.remove(at("g"))
        await settled(output)
        raw = await bus.js.get_msg("GROUPS", subject=at("g"))
        assert (raw.headers or {})["Nats-TTL"] == "1"
        await until(lambda: _is_empty(bus, "GROUPS"))

        output.put(at("g"), page("g", 2))  # expects the tombstone's sequence; there is nothing any more
        await settled(output)
        assert codec.decode(output.stored[at("g")], Page).cause == Revision(1, 2)


async def _is_empty(bus: Bus, stream: str) -> bool:
    return not (await bus.js.stream_info(stream)).state.messages


async def test_what_the_ledger_aged_out_can_be_written_again(server, until):
    limits = Limits(max_bytes=8 << 20, max_age_s=1)
    async with (
        await Bus.connect(server.url, name="short", limits=limits) as bus,
        await Output.open(bus, "LEDGER", ["objects.>"]) as output,
    ):
        output.put("objects.pods.a.b", b"1")
        await settled(output)
        await until(lambda: _is_empty(bus, "LEDGER"))

        output.put("objects.pods.a.b", b"2")
        await settled(output)
        assert [message.body for message in await everything(bus, "LEDGER")] == [b"2"]
        assert [message.body for message in await everything(bus, "OBJECTS")] == [b"2"]


async def test_the_second_of_two_writers_is_fenced_off(bus, reader):
    async with await Output.open(bus, *GROUPS) as first, await Output.open(reader, *GROUPS) as second:
        first.put(at("g"), page("g", 1, "a/first"))
        await settled(first)
        guard = asyncio.ensure_future(second.guard())
        second.put(at("g"), page("g", 1, "a/second"))
        second.mark(MARK, mark(9))

        with pytest.raises(Fenced, match="another writer"):
            await settled(second)
        with pytest.raises(Fenced):
            await guard
        with pytest.raises(Fenced):
            second.put(at("h"), page("h", 1))
        with pytest.raises(Fenced):
            await second.room()

    assert [codec.decode(message.body, Page) for message in await everything(bus, "GROUPS")] == [
        page("g", 1, "a/first")
    ]


async def test_two_writers_of_the_same_are_no_conflict(bus, reader):
    async with await Output.open(bus, *GROUPS) as first, await Output.open(reader, *GROUPS) as second:
        for output in (first, second):
            output.put(at("g"), page("g", 1))
            await settled(output)
        for output in (first, second):
            output.remove(at("g"))
            await settled(output)


async def test_what_nobody_read_at_the_start_must_not_be_written(bus):
    async with await Output.open(bus, "GROUPS", [subjects.pages(GroupId("g"))]) as output:
        with pytest.raises(AssertionError, match="not covered"):
            output.put(at("h"), page("h", 1))
        with pytest.raises(AssertionError, match="not covered"):
            output.mark(MARK, mark(1))


async def test_order_is_kept_where_it_is_asked_for(bus):
    async with await Output.open(bus, *GROUPS) as output:
        output.put(at("old"), page("old", 1))
        await settled(output)
        new = output.put(at("new"), page("new", 2))
        own = output.put("groups._own.n.0", b'{"groups":["new","old"]}', after=[new] if new else [])
        output.remove(at("old"), Revision(1, 2), after=[own] if own else [])
        output.mark(MARK, mark(2))
        await settled(output)

    assert [message.subject for message in await everything(bus, "GROUPS")] == [
        at("new"),
        "groups._own.n.0",
        at("old"),
        MARK,
    ]


async def test_marks_never_overtake_their_pages_under_a_flood(bus, reader, monkeypatch):
    """10,000 changes, a mark asked for after each; a mark `n` must come after every page up to `n`."""
    monkeypatch.setattr("sluice.runtime.sending._LOOK_S", 0.005)  # looking at the stream disturbs nothing
    count, groups = 10_000, 100
    marks, behind = [], []
    latest = dict.fromkeys(range(groups), -1)
    done = asyncio.Event()

    async def take(raw) -> None:  # one subscription: republished messages come in the order in which they were stored
        if subjects.stored(raw.subject) == MARK:
            upto = codec.decode(raw.data, Mark).upto.sequence
            marks.append(upto)
            for group, cause in latest.items():
                promised = upto - (upto - group) % groups
                behind.extend([(upto, group)] if cause < promised else [])
            if upto == count - 1:
                done.set()
        else:
            value = codec.decode(raw.data, Page)
            latest[int(value.group)] = value.cause.sequence

    await reader.nc.subscribe(subjects.live("groups.>"), cb=take)
    for _ in range(2):  # nats-py's first ping overtakes what waits to be sent
        await reader.nc.flush()
    async with await Output.open(bus, *GROUPS) as output, asyncio.timeout(60):
        for number in range(count):
            output.put(at(f"{number % groups}"), page(f"{number % groups}", number, f"a/{number}"))
            output.mark(MARK, mark(number))
            if number % 50 == 0:
                await asyncio.sleep(0)
        await output.settled()
        await done.wait()

    assert behind == []
    assert marks == sorted(marks)
    assert 2 <= len(marks) < count / 10  # coalesced


async def test_a_full_stream_refuses_and_drops_nothing_and_takes_overwrites(server, until):
    async with await Bus.connect(server.url, name="small", limits=Limits(max_bytes=1 << 20)) as bus:
        async with await Output.open(bus, *GROUPS) as output:
            for number in range(40):
                output.put(at(f"{number}"), page(f"{number}", 1, padding=40_000))
            output.mark(MARK, mark(1))
            await until(lambda: _is(bool(output.refused)))
            held = {message.subject for message in await everything(bus, "GROUPS")}
            refused = set(output.refused)

            assert refused == {at(f"{number}") for number in range(40)} - held
            assert at("0") in held  # the oldest stays
            assert "maximum bytes" in next(iter(output.refused.values()))
            assert MARK not in held  # it vouches for what is not there

            output.put(at("0"), page("0", 2, "a/changed", padding=30_000))
            for subject in sorted(held - {at("0")})[:20]:
                output.remove(subject)
            async with asyncio.timeout(60):
                await output.settled()
            assert output.refused == {}

        stored = {message.subject: message for message in await everything(bus, "GROUPS")}
        assert stored[at("0")].cause == Revision(1, 2)
        assert refused <= {subject for subject, message in stored.items() if message.body}
        assert codec.decode(stored[MARK].body, Mark) == mark(1)


async def test_however_much_is_refused_the_writer_goes_on(server, until):
    """More than a window of refused values: what is still taken must not wait for them."""
    async with (
        await Bus.connect(server.url, name="small", limits=Limits(max_bytes=1 << 20)) as bus,
        await Output.open(bus, *GROUPS) as output,
        asyncio.timeout(60),
    ):
        for number in range(10_000):
            output.put(at(f"{number}"), page(f"{number}", 1, padding=500))
            await output.room()
        await until(lambda: _is(len(output.refused) > 5_000))
        before = await _stored_total(bus)
        await output.room()
        output.put(at("0"), page("0", 2, "a/changed"))
        await until(lambda: _is(b"changed" in output.stored[at("0")]))

        assert await _stored_total(bus) < before + 200  # retries are few while nothing is taken
        for number in range(10_000):
            output.remove(at(f"{number}"))
            await output.room()
        await output.settled()
        assert output.stored == {}
        assert output.refused == {}


async def _stored_total(bus: Bus) -> int:
    return (await streams.origin(bus, "GROUPS")).last_sequence


async def test_a_closed_output_says_so(bus):
    async with await Output.open(bus, *GROUPS) as output:
        output.put(at("g"), page("g", 1))
        guard = asyncio.ensure_future(output.guard())
        waiting = asyncio.ensure_future(output.settled())
        await asyncio.sleep(0)
    await guard
    with pytest.raises(RuntimeError, match="closed"):
        output.put(at("g"), page("g", 2))
    with pytest.raises(RuntimeError, match="closed"):
        await output.room()
    assert waiting.done() or not waiting.cancelled()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_message_too_large_is_refused_until_a_smaller_one_takes_its_place(bus, until):
    async with await Output.open(bus, *GROUPS) as output:
        output.put(at("g"), page("g", 1, padding=9 << 20))
        output.put(at("h"), page("h", 1))
        output.mark(MARK, mark(1))
        await until(lambda: _is(at("g") in output.refused and at("h") in output.stored))
        assert "max_payload" in output.refused[at("g")]

        output.put(at("g"), page("g", 2))
        await settled(output)
        assert sorted(output.stored) == sorted([MARK, at("g"), at("h")])
        assert output.refused == {}


def reflects(body: bytes) -> Revision:
    """How far the value goes: a page's cause, a mark's upto."""
    value = codec.decode(body, dict)
    epoch, sequence = value["cause"] if "cause" in value else value["upto"]
    return Revision(epoch, sequence)


async def test_the_server_is_killed_under_a_pipelined_writer(bus, reader, server):
    """Nothing acknowledged is lost, nothing hangs, nothing is stored twice with another content."""
    count, rounds = 2_000, 10
    acknowledged: dict[str, bytes] = {}

    async def killer() -> None:
        for _ in range(3):
            await asyncio.sleep(0.15)
            await server.restart()

    async with await Output.open(bus, *GROUPS) as output, asyncio.timeout(60):
        killing = asyncio.ensure_future(killer())
        for number in range(1, rounds + 1):
            for group in range(count):
                output.put(at(f"{group}"), page(f"{group}", number, f"a/{number}"))
            output.mark(MARK, mark(number))
            await output.room()
            await asyncio.sleep(0.03)
            acknowledged = dict(output.stored)
        while not killing.done():
            output.mark(MARK, mark(rounds))
            await asyncio.sleep(0.01)
        stored = {message.subject: message.body for message in await everything(reader, "GROUPS")}
        for subject, body in acknowledged.items():
            assert reflects(stored[subject]) >= reflects(body)
        await output.settled()
        await killing
        wanted = dict(output.stored)

    assert len(wanted) == count + 1
    final = {message.subject: message.body for message in await everything(reader, "GROUPS")}
    assert final == wanted
    assert codec.decode(final[MARK], Mark) == mark(rounds)
    assert {codec.decode(body, Page).cause for subject, body in final.items() if subject != MARK} == {
        Revision(1, rounds)
    }
    ends = ("UnexpectedEOF", "ConnectionResetError", "BrokenPipeError")  # by who notices: who reads, or who writes
    assert sum(bus.errors[end] for end in ends) >= 1


async def test_all_streams_deleted_under_way_and_everything_is_stored_again_marks_last(bus, reader):
    async with await Output.open(bus, *GROUPS) as output:
        for number in range(300):
            output.put(at(f"{number}"), page(f"{number}", 1))
        output.remove(at("7"))
        output.mark(MARK, mark(1))
        await settled(output)
        wanted = dict(output.stored)
        old = output.revision
        for spec in STREAMS:
            await bus.js.delete_stream(spec.name)
        output.put(at("0"), page("0", 2, "a/changed"))
        output.mark(MARK, mark(2))
        await settled(output)

        assert output.revision > old
        assert output.stored.keys() == wanted.keys()
    messages = await everything(reader, "GROUPS")
    assert {message.subject: message.body for message in messages} == dict(output.stored)
    assert messages[-1].subject == MARK
    assert codec.decode(messages[-1].body, Mark) == mark(2)
    assert [await streams.epoch(bus, spec.name) > old.epoch for spec in STREAMS] == [True] * len(STREAMS)


async def test_a_stream_made_anew_is_noticed_without_a_write(bus, monkeypatch, until):
    monkeypatch.setattr("sluice.runtime.sending._LOOK_S", 0.1)
    async with await Output.open(bus, *GROUPS) as output:
        output.put(at("g"), page("g", 1))
        output.mark(MARK, mark(1))
        await settled(output)
        await bus.js.delete_stream("GROUPS")
        await until(lambda: _holds(bus, 2))

    assert [message.subject for message in await everything(bus, "GROUPS")] == [at("g"), MARK]


async def _holds(bus: Bus, messages: int) -> bool:
    try:
        return (await streams.origin(bus, "GROUPS")).last_sequence >= messages
    except streams.Missing:
        return False


async def _is(condition: bool) -> bool:
    return condition


async def test_the_ledger_made_anew_is_filled_again_and_objects_shows_it(bus, reader, monkeypatch):
    monkeypatch.setattr("sluice.runtime.sending._LOOK_S", 0.1)
    async with await Output.open(bus, "LEDGER", ["objects.>"]) as output, follow(reader, "OBJECTS") as events:
        assert isinstance(await anext(events), CaughtUp)
        for number in range(5):
            output.put(f"objects.pods.a.{number}", b"%d" % number)
        await settled(output)
        await bus.js.delete_stream("LEDGER")
        seen: list[Event] = []
        async with asyncio.timeout(60):
            while not any(isinstance(event, NewEpoch) for event in seen):
                seen.append(await anext(events))
            while len(seen[seen.index(next(event for event in seen if isinstance(event, NewEpoch))) :]) < 7:
                seen.append(await anext(events))

    after = itertools.dropwhile(lambda event: not isinstance(event, NewEpoch), seen)
    assert sorted(event.body for event in after if isinstance(event, Message)) == [b"0", b"1", b"2", b"3", b"4"]
