"""Reading a stream from the beginning, on the real server."""

import asyncio
import itertools

import pytest

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Object, ObjectMeta
from sluice.runtime import streams
from sluice.runtime.follow import CaughtUp, Event, Follower, NewEpoch, follow
from sluice.runtime.message import Message

ALL = ["LEDGER", "OBJECTS", "GROUPS", "PROGRAMS", "STATUS"]


async def until_caught_up(events: Follower) -> list[Event]:
    seen: list[Event] = []
    async with asyncio.timeout(60):
        async for event in events:
            seen.append(event)
            if isinstance(event, CaughtUp):
                return seen
    raise AssertionError("it ended")


def names(events: list[Event]) -> list[str]:
    return [event.subject for event in events if isinstance(event, Message)]


@pytest.mark.parametrize("stream", ALL)
async def test_an_empty_stream_is_caught_up_with_at_once(bus, stream):
    async with follow(bus, stream) as events:
        assert await until_caught_up(events) == [CaughtUp(Revision(await streams.epoch(bus, stream), 0))]


async def test_everything_stored_comes_first_then_what_is_new(bus, reader):
    for number in range(3):
        await bus.js.publish(f"groups.g.n{number}", b"{}")
    async with follow(reader, "GROUPS") as events:
        seen = await until_caught_up(events)
        await bus.js.publish("groups.g.n9", b"{}", headers={"Sluice-Cause": "12.34"})
        async with asyncio.timeout(60):
            live = await anext(events)

    assert names(seen) == ["groups.g.n0", "groups.g.n1", "groups.g.n2"]
    assert seen[-1] == CaughtUp(Revision(await streams.epoch(bus, "GROUPS"), 3))
    assert isinstance(live, Message)
    assert live.subject == "groups.g.n9"
    assert live.revision.sequence == 4
    assert live.cause == Revision(12, 34)
    assert live.time_ns > 0


async def test_only_the_patterns_come_and_it_is_caught_up_with_all_of_the_stream(bus):
    for number in range(5):
        await bus.js.publish(f"groups.g{number}.n", b"{}")
    async with follow(bus, "GROUPS", ["groups.g1.*", "groups.g3.*"]) as events:
        seen = await until_caught_up(events)
    async with follow(bus, "GROUPS", ["groups.none.*"]) as events:
        nothing = await until_caught_up(events)

    assert names(seen) == ["groups.g1.n", "groups.g3.n"]
    assert nothing == seen[-1:]
    assert nothing == [CaughtUp(Revision(await streams.epoch(bus, "GROUPS"), 5))]


async def test_the_ledger_has_history_and_its_revisions_are_those_of_objects(bus, stored):
    for body in (b"1", b"2", b""):
        await bus.js.publish("objects.pods.a.b", body)
    async with follow(bus, "LEDGER") as events:
        history = await until_caught_up(events)
    async with follow(bus, "LEDGER", last_only=True) as events:
        last = await until_caught_up(events)
    await stored("OBJECTS", 3)
    async with follow(bus, "OBJECTS") as events:
        current = [event for event in await until_caught_up(events) if isinstance(event, Message)]

    messages = [event for event in history if isinstance(event, Message)]
    assert [message.body for message in messages] == [b"1", b"2", b""]
    assert [event for event in last if isinstance(event, Message)] == messages[-1:]
    assert current == messages[-1:]


async def test_a_name_with_dots_goes_there_and_back(bus):
    subject = subjects.object_(Kind.POD, "", "web-0.v1.example.com")
    await bus.js.publish(subject, b"{}")
    async with follow(bus, "LEDGER", [subject]) as events:
        (message, _) = await until_caught_up(events)

    assert isinstance(message, Message)
    assert subjects.parse(message.subject) == subjects.ObjectSubject(Kind.POD, "", "web-0.v1.example.com")


async def test_what_does_not_decode_is_set_aside_and_counted(bus):
    await bus.js.publish("objects.pods.a.bad", b'{"apiVersion":1}')
    good = Object(api_version="v1", kind="Pod", metadata=ObjectMeta(name="b", namespace="a"))
    await bus.js.publish("objects.pods.a.good", codec.encode(good))
    async with follow(bus, "LEDGER") as events:
        messages = [event for event in await until_caught_up(events) if isinstance(event, Message)]

    assert [bus.rejects.decode(message, Object) for message in messages] == [None, good]
    assert bus.rejects.total == 1
    (reject,) = bus.rejects.last
    assert reject.subject == "objects.pods.a.bad"
    assert "$.apiVersion" in reject.reason
    assert reject.body == b'{"apiVersion":1}'


async def test_the_server_is_killed_and_nothing_is_missed_nor_told_twice(bus, reader, server, stored):
    await bus.js.publish("objects.pods.a.n0", b"0")
    await stored("OBJECTS", 1)
    async with follow(reader, "OBJECTS") as events:
        seen = names(await until_caught_up(events))
        for number in range(1, 4):
            await server.restart()
            async with asyncio.timeout(60):
                await bus.connected.wait()
                await _publish(bus, f"objects.pods.a.n{number}")
                seen += names([await anext(events)])

    assert seen == [f"objects.pods.a.n{number}" for number in range(4)]


async def _publish(bus, subject):
    while True:
        try:
            await bus.js.publish(subject, b"{}", timeout=1, headers={"Nats-Msg-Id": subject})
            return
        except Exception:
            await asyncio.sleep(0.05)


async def test_all_streams_deleted_under_way_is_a_new_epoch(bus, reader, stored):
    await bus.js.publish("objects.pods.a.old", b"{}")
    await stored("OBJECTS", 1)
    async with follow(reader, "OBJECTS") as events:
        await until_caught_up(events)
        for name in ALL:
            await bus.js.delete_stream(name)
        await streams.ensure(bus)
        await bus.js.publish("objects.pods.a.new", b"{}")
        await stored("OBJECTS", 1)
        seen = await until_caught_up(events)

    epoch = await streams.epoch(bus, "LEDGER")
    assert seen[0] == NewEpoch(epoch)
    assert [event.revision for event in seen if isinstance(event, Message)] == [Revision(epoch, 1)]
    assert names(seen) == ["objects.pods.a.new"]


async def test_the_ledger_alone_made_anew_is_a_new_epoch_of_objects(bus, reader, stored):
    for number in range(3):
        await bus.js.publish(f"objects.pods.a.old{number}", b"{}")
    await stored("OBJECTS", 3)
    async with follow(reader, "OBJECTS") as events:
        await until_caught_up(events)
        await bus.js.delete_stream("LEDGER")
        await streams.ensure(bus)
        await bus.js.publish("objects.pods.a.new", b"{}")
        await stored("OBJECTS", 1)
        seen = await until_caught_up(events)

    assert isinstance(seen[0], NewEpoch)
    assert names(seen) == ["objects.pods.a.new"]


async def test_a_stream_that_is_not_there_is_waited_for(bus, reader):
    await bus.js.delete_stream("STATUS")
    async with follow(reader, "STATUS") as events:
        waiting = asyncio.ensure_future(until_caught_up(events))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await streams.ensure(bus)

        assert await waiting == [CaughtUp(Revision(await streams.epoch(bus, "STATUS"), 0))]


async def test_a_large_replay_is_whole_and_in_order(bus, reader, stored):
    count = 20_000
    for number in range(count):
        await bus.nc.publish(f"groups.g.n{number}", b"x" * 200)
    await stored("GROUPS", count)
    async with follow(reader, "GROUPS") as events:
        seen = await until_caught_up(events)

    sequences = [event.revision.sequence for event in seen if isinstance(event, Message)]
    assert len(sequences) == count
    assert all(later > earlier for earlier, later in itertools.pairwise(sequences))


async def test_waiting_says_whether_more_has_come(bus, reader):
    async with follow(reader, "GROUPS") as events:
        await until_caught_up(events)
        for number in range(3):
            await bus.js.publish(f"groups.g.n{number}", b"{}")
        async with asyncio.timeout(60):
            await anext(events)
            assert events.waiting <= 2
            await anext(events)
            assert events.waiting <= 1
            await anext(events)
        assert events.waiting == 0


async def test_heartbeats_are_not_waited_for(bus, reader):
    """Else a reader that gathers what is waiting would hold the last change back until the next one."""
    async with follow(reader, "GROUPS") as events:
        await until_caught_up(events)
        events._inbox.arrived.clear()
        async with asyncio.timeout(60):
            await events._inbox.arrived.wait()

        assert events._inbox.items
        assert events.waiting == 0


async def test_an_object_that_changes_during_the_replay_is_known_before_it_is_caught_up(bus, reader, stored):
    """It leaves its place in the stream before that place is delivered: until it comes again, nothing is complete."""
    count = 5_000
    for number in range(count):
        await bus.nc.publish(f"groups.g.n{number}", b"x" * 1000)
    await stored("GROUPS", count)
    async with follow(reader, "GROUPS") as events:
        first = await anext(events)
        for number in range(count - 1, count - 11, -1):  # far behind what flow control let through so far
            await bus.js.publish(f"groups.g.n{number}", b"changed")
        seen = [first, *await until_caught_up(events)]
        assert seen[-1] == CaughtUp(events.complete)

    bodies = {event.subject: event.body for event in seen if isinstance(event, Message)}
    assert len(bodies) == count
    assert [bodies[f"groups.g.n{number}"] for number in range(count - 10, count)] == [b"changed"] * 10


async def test_what_is_complete_grows_with_what_comes(bus, reader):
    async with follow(reader, "GROUPS") as events:
        (caught_up,) = await until_caught_up(events)
        start = events.complete
        assert caught_up == CaughtUp(start)
        for number in range(1, 4):
            await bus.js.publish(f"groups.g.n{number}", b"{}")
            async with asyncio.timeout(60):
                await anext(events)
            assert events.complete == Revision(start.epoch, number)


async def test_a_replica_that_lags_behind_is_not_believed_to_have_all(bus, reader, monkeypatch):
    """It has nothing pending, and the leader says that there is more. On one server: a leader is made up."""
    made_up = 5

    async def last_of(*_: object) -> int:
        return made_up

    monkeypatch.setattr("sluice.runtime.follow.last_of", last_of)
    monkeypatch.setattr("sluice.runtime.streams._replicated", lambda _: True)
    for number in range(3):
        await bus.js.publish(f"groups.g.n{number}", b"{}")
    async with follow(reader, "GROUPS") as events:
        told = [await anext(events) for _ in range(3)]
        early = asyncio.ensure_future(anext(events))
        await asyncio.wait([early], timeout=2)
        waits, complete = not early.done(), events.complete
        for number in range(3, made_up):
            await bus.js.publish(f"groups.g.n{number}", b"{}")
        rest = [await early, *await until_caught_up(events)]

    assert waits
    assert complete < Revision(await streams.epoch(bus, "GROUPS"), 1)
    assert names([*told, *rest]) == [f"groups.g.n{number}" for number in range(made_up)]
    assert rest[-1] == CaughtUp(Revision(await streams.epoch(bus, "GROUPS"), made_up))
