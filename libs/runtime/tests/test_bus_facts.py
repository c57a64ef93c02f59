"""OBJECTS in batches, on the real server."""

import asyncio

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Listed, Namespace, ObjectMeta
from sluice.contracts.streams import STREAMS
from sluice.grouping import bystanders
from sluice.grouping.bystanders import Bystander
from sluice.grouping.events import ObjectEvent, ObjectKey, read
from sluice.runtime import streams
from sluice.runtime.facts import BATCH, Facts, facts
from sluice.testkit.builders import pod

SPACES = frozenset((Kind.NAMESPACE,))


def namespace(name: str) -> tuple[str, bytes]:
    value = Namespace(api_version="v1", kind="Namespace", metadata=ObjectMeta(name=name))
    return subjects.object_(Kind.NAMESPACE, "", name), codec.encode(value)


LISTED = subjects.listed(Kind.NAMESPACE), codec.encode(Listed(kind=Kind.NAMESPACE, source="test"))


async def until(told, reached) -> list[Facts]:
    seen = []
    async with asyncio.timeout(60):
        async for batch in told:
            seen.append(batch)
            if reached(batch):
                return seen
    raise AssertionError("it ended")


def names(batches: list[Facts]) -> list[str]:
    return [event.key.name for batch in batches for event in batch.events]


async def test_in_sync_means_listed_and_caught_up(bus):
    told = facts(bus, SPACES)
    (empty,) = await until(told, lambda batch: True)
    assert (empty.afresh, empty.in_sync, empty.events) == (True, False, ())

    await bus.js.publish(*namespace("a"))
    (one,) = await until(told, lambda batch: batch.events)
    assert (one.afresh, one.in_sync) == (False, False)

    await bus.js.publish(*LISTED)
    (listed,) = await until(told, lambda batch: batch.in_sync)
    assert listed.upto == listed.seen == Revision(one.upto.epoch, 2)
    await told.aclose()


async def test_a_heartbeat_behind_the_last_fact_does_not_hold_it_back(bus):
    told = facts(bus, SPACES)
    await bus.js.publish(*LISTED)
    await until(told, lambda batch: batch.in_sync)
    await bus.js.publish(*namespace("a"))
    await asyncio.sleep(1.2)  # nobody reads; two heartbeats come
    (one,) = await until(told, lambda batch: batch.events)

    assert names([one]) == ["a"]
    await told.aclose()


async def test_a_large_beginning_comes_in_batches_and_is_in_sync_at_its_end_alone(bus, stored):
    count = 3 * BATCH + 7
    for number in range(count):
        await bus.nc.publish(*namespace(f"n{number}"))
    await bus.nc.publish(*LISTED)
    await stored("OBJECTS", count + 1)
    told = facts(bus, SPACES)
    batches = await until(told, lambda batch: batch.in_sync)
    await told.aclose()

    assert [batch.in_sync for batch in batches] == [False] * (len(batches) - 1) + [True]
    assert [batch.afresh for batch in batches] == [True] + [False] * (len(batches) - 1)
    assert max(len(batch.events) for batch in batches) == BATCH
    assert names(batches) == [f"n{number}" for number in range(count)]
    assert batches[-1].upto.sequence == count + 1


async def test_other_kinds_move_the_mark_and_tell_nothing(bus):
    await bus.js.publish(*LISTED)
    told = facts(bus, SPACES)
    await until(told, lambda batch: batch.in_sync)
    await bus.js.publish("objects.pods.x.a", b"{}")
    (batch,) = await until(told, lambda batch: True)
    await told.aclose()

    assert (batch.events, batch.upto.sequence, batch.unreadable) == ((), 2, {})


async def test_each_is_told_as_the_reader_reads_it(bus, stored):
    def take(key: ObjectKey, body: bytes, revision: Revision) -> ObjectEvent | Bystander | None:
        if key.name == "c":
            return None
        return bystanders.read(key, body, revision) if key.name == "b" and body else read(key, body, revision)

    told = facts(bus, frozenset((Kind.POD,)), take)
    await bus.nc.publish(subjects.listed(Kind.POD), codec.encode(Listed(kind=Kind.POD, source="test")))
    for name in "abc":
        await bus.nc.publish(subjects.object_(Kind.POD, "x", name), codec.encode(pod(f"x/{name}", ip="10.0.0.1")))
    await stored("OBJECTS", 4)
    batches = await until(told, lambda batch: batch.upto.sequence == 4)
    await bus.js.publish(subjects.object_(Kind.POD, "x", "b"), b"")
    (gone,) = await until(told, lambda batch: batch.events)
    await told.aclose()

    assert names(batches) == ["a"]
    assert [one.key.name for batch in batches for one in batch.bystanders] == ["b"]
    assert [(event.key.name, event.object) for event in gone.events] == [("b", None)]


async def test_what_cannot_be_read_is_said_until_it_can(bus):
    await bus.js.publish(*namespace("a"))
    await bus.js.publish(*LISTED)
    told = facts(bus, SPACES)
    await until(told, lambda batch: batch.in_sync)
    subject, body = namespace("a")
    await bus.js.publish(subject, b'{"kind":7}')
    (bad,) = await until(told, lambda batch: True)
    await bus.js.publish(subject, body)
    (good,) = await until(told, lambda batch: True)
    await bus.js.publish(subject, b"[]")
    await bus.js.publish(subject, b"")
    gone = (await until(told, lambda batch: batch.events))[-1]
    await bus.js.publish("objects.martians.x.y", b"{}")
    await until(told, lambda batch: True)
    await told.aclose()

    assert list(bad.unreadable) == [ObjectKey(Kind.NAMESPACE, "", "a")]
    assert bad.events == ()
    assert "apiVersion" in bad.unreadable[ObjectKey(Kind.NAMESPACE, "", "a")] or "$.kind" in str(bad.unreadable)
    assert good.unreadable == gone.unreadable == {}
    assert gone.events[0].object is None
    assert bus.rejects.total == 3  # and what has no name that we know


async def test_a_new_epoch_begins_afresh_and_is_in_sync_when_listed_again(bus):
    await bus.js.publish(*namespace("a"))
    await bus.js.publish(*LISTED)
    told = facts(bus, SPACES)
    await until(told, lambda batch: batch.in_sync)
    for spec in STREAMS:
        await bus.js.delete_stream(spec.name)
    await streams.ensure(bus)
    await bus.js.publish(*namespace("b"))
    await asyncio.sleep(0.1)
    await bus.js.publish(*LISTED)
    batches = await until(told, lambda batch: batch.in_sync)
    await told.aclose()

    assert [batch.afresh for batch in batches] == [True] + [False] * (len(batches) - 1)
    assert names(batches) == ["b"]
    assert batches[-1].upto == Revision(await streams.epoch(bus, "LEDGER"), 2)
