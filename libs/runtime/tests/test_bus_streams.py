"""The streams, on the real server."""

import asyncio
import json

import pytest
from nats.js import api
from nats.js.errors import NotFoundError

from sluice.contracts.streams import STREAMS
from sluice.runtime import streams
from sluice.runtime.bus import Bus, BusClosed, Limits


@pytest.mark.parametrize("spec", STREAMS, ids=lambda spec: spec.name)
async def test_a_stream_is_what_its_spec_says(bus, spec):
    raw = await bus.nc.request(f"$JS.API.STREAM.INFO.{spec.name}", b"")
    config = json.loads(raw.data)["config"]

    assert config.get("subjects", []) == list(spec.subjects)
    assert config.get("mirror", {}).get("name", "") == spec.mirror
    assert config["max_msgs_per_subject"] == (1 if spec.last_per_subject else -1)
    assert config["discard"] == spec.discard
    assert config["max_age"] == spec.max_age_s * 10**9
    assert config["max_bytes"] == 64 << 20
    assert config["allow_direct"] == spec.direct
    assert not config.get("mirror_direct")
    assert config["allow_msg_ttl"]
    assert ("republish" in config) == spec.republish
    assert "subject_delete_marker_ttl" not in config


async def test_ensuring_twice_changes_nothing(bus, reader):
    before = [await streams.origin(bus, spec.name) for spec in STREAMS]
    await asyncio.gather(streams.ensure(bus), streams.ensure(reader))

    assert [await streams.origin(bus, spec.name) for spec in STREAMS] == before


async def test_other_limits_are_taken_over(bus, server):
    before = await streams.origin(bus, "GROUPS")
    async with await Bus.connect(server.url, name="other", limits=Limits(max_bytes=32 << 20)) as other:
        await streams.ensure(other)

    info = await bus.js.stream_info("GROUPS")
    assert info.config.max_bytes == 32 << 20
    assert await streams.origin(bus, "GROUPS") == before


async def test_a_mirror_of_an_earlier_ledger_is_made_anew(bus, stored):
    for number in range(5):
        await bus.js.publish(f"objects.pods.a.old{number}", b"{}")
    old = await streams.epoch(bus, "OBJECTS")
    await bus.js.delete_stream("LEDGER")
    await bus.js.add_stream(streams.config(STREAMS[0], bus.limits))
    await bus.js.publish("objects.pods.a.new", b"{}")

    with pytest.raises(streams.Missing, match="mirror of an earlier LEDGER"):
        await streams.origin(bus, "OBJECTS")
    await streams.ensure(bus)

    await stored("OBJECTS", 1)
    here = await streams.origin(bus, "OBJECTS")
    assert here.epoch == await streams.epoch(bus, "LEDGER") > old
    info = await bus.js.stream_info("OBJECTS", subjects_filter=">")
    assert info.state.subjects == {"objects.pods.a.new": 1}


async def test_a_missing_stream_is_said_to_be_missing(bus):
    with pytest.raises(streams.Missing, match="NOPE"):
        await streams.epoch(bus, "NOPE")


async def test_errors_that_are_no_exceptions_are_counted(bus):
    slow = asyncio.Event()
    undo = bus.on_slow(slow.set)
    await bus.nc.subscribe("flood", pending_msgs_limit=1)
    for _ in range(10):
        await bus.nc.publish("flood", b"")
    async with asyncio.timeout(60):
        await slow.wait()
    undo()

    assert bus.errors["SlowConsumerError"] > 0


async def test_a_connection_that_the_server_ends_for_good_is_told(server):
    bus = await Bus.connect(server.url, name="broken")
    guard = asyncio.ensure_future(bus.guard())
    bus.nc._transport.write(b"NONSENSE\r\n")  # type: ignore[union-attr]  # it is connected
    async with asyncio.timeout(60):
        with pytest.raises(BusClosed, match="broken: closed by the server"):
            await guard
    await bus.close()


async def test_a_connection_that_we_end_is_nothing_to_tell(server):
    bus = await Bus.connect(server.url, name="done")
    guard = asyncio.ensure_future(bus.guard())
    await bus.close()
    async with asyncio.timeout(60):
        await guard


async def test_retention_of_the_ledger_is_that_of_its_tombstones(server):
    limits = Limits(max_bytes=8 << 20, max_age_s=60)
    async with await Bus.connect(server.url, name="short", limits=limits) as short:
        await streams.ensure(short)
        info = await short.js.stream_info("LEDGER")

        assert info.config.max_age == 60
        assert short.specs["LEDGER"].tombstone_ttl_s == 60
        assert short.specs["GROUPS"].tombstone_ttl_s == 3600
        assert info.config.storage == api.StorageType.FILE


@pytest.mark.parametrize(
    ("answers", "believed", "case"),
    [
        ([9, 9, 12], 12, "a leader that was cut off, then the new one"),
        ([9] * 99, 9, "its end was lost, and that is so"),
        ([12], 12, "it goes on"),
    ],
)
async def test_less_than_was_seen_is_asked_for_again(bus, monkeypatch, answers, believed, case):
    created = (await streams.origin(bus, "GROUPS")).created
    left = iter(answers)

    async def origin(*_: object) -> streams.Origin:
        return streams.Origin(created, created, next(left), replicated=True)

    monkeypatch.setattr("sluice.runtime.streams.origin", origin)
    monkeypatch.setattr("sluice.runtime.streams._LOOK_PAUSE_S", 0.0)
    assert (await streams.surely(bus, "GROUPS", created, 12)).last_sequence == believed, case


async def test_the_last_message_of_patterns(bus):
    for number in range(3):
        await bus.js.publish(f"groups.g{number}.n", b"{}")
    found = [await streams.last_of(bus, "GROUPS", patterns) for patterns in (["groups.g0.*", "groups.g1.*"], [">"])]
    assert found == [2, 3]
    assert await streams.last_of(bus, "GROUPS", ["groups.none.*"]) == 0
    with pytest.raises(NotFoundError):
        await streams.last_of(bus, "NONE", [">"])
