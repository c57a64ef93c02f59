"""Who has a shard, on the real server."""

import asyncio

import pytest
from nats.js.errors import BucketNotFoundError, KeyNotFoundError
from nats.js.kv import KeyValue

from sluice.runtime import lease as module
from sluice.runtime.bus import Bus
from sluice.runtime.lease import BUCKET, Lease, LeaseLost


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Leases that end soon: the server allows a second and more."""
    monkeypatch.setattr(module, "TTL_S", 1.0)
    monkeypatch.setattr(module, "_RENEW_S", 0.1)


async def claim(bus: Bus, holder: str, shards: int = 1) -> Lease:
    async with asyncio.timeout(60):
        return await Lease.claim(bus, "resolver", shards, holder)


async def test_one_holder_at_a_time_and_the_next_when_it_ends(bus, reader):
    first = await claim(bus, "first")
    held = asyncio.create_task(first.hold())
    second = asyncio.create_task(claim(reader, "second"))
    await asyncio.sleep(1.5)  # longer than the lease: it is renewed
    assert not second.done()

    held.cancel()  # as by kill -9
    assert (await second).shard == 0


async def test_a_holder_that_lets_go_is_succeeded_at_once(bus, reader):
    first = await claim(bus, "first")
    second = asyncio.create_task(claim(reader, "second"))
    await asyncio.sleep(0)
    await first.release()

    await second
    with pytest.raises(LeaseLost, match="first"):
        await first.hold()


async def test_who_comes_back_has_its_shard_at_once(bus):
    await claim(bus, "me")

    assert (await claim(bus, "me")).shard == 0


async def test_each_takes_another_shard_and_its_own_again(bus):
    assert [(await claim(bus, name, 3)).shard for name in ("a", "b", "c")] == [0, 1, 2]
    assert (await claim(bus, "b", 3)).shard == 1


async def there(bus: Bus, key: str) -> bool:
    try:
        return (await (await bus.js.key_value(BUCKET)).get(key)).value == b"me"
    except (BucketNotFoundError, KeyNotFoundError):
        return False


async def test_a_lease_outlives_the_server_and_its_own_bucket(bus, server):
    lease = await claim(bus, "me")
    held = asyncio.create_task(lease.hold())
    await server.restart()
    await asyncio.sleep(0.5)
    await bus.connected.wait()
    await bus.js.delete_key_value(BUCKET)
    async with asyncio.timeout(60):
        while not await there(bus, lease._key):  # noqa: ASYNC110  # the server alone knows
            await asyncio.sleep(0.02)

    assert not held.done()
    held.cancel()
    other = asyncio.create_task(claim(bus, "other"))
    await asyncio.sleep(0.2)
    assert not other.done()  # it made its key again
    other.cancel()


async def test_a_replica_that_lags_behind_takes_no_lease_away(bus, monkeypatch):
    """It is renewed, but the answer was lost; and who is asked what is there has not heard of it yet."""
    lease = await claim(bus, "me")
    earlier = lease._revision
    bucket = await bus.js.key_value(BUCKET)
    await bucket.update(lease._key, b"me", last=earlier)
    read, lagging = KeyValue.get, [KeyNotFoundError(), KeyValue.Entry(BUCKET, lease._key, b"you", 0, None, None, None)]

    async def get(self, key, *args, **more):
        if not lagging:
            return await read(self, key, *args, **more)
        answer = lagging.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(KeyValue, "get", get)
    held = asyncio.create_task(lease.hold())
    async with asyncio.timeout(60):
        while lagging:  # noqa: ASYNC110  # nobody tells who asked
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)

    assert not held.done()
    held.cancel()
