"""One of several replicas holds a Lease: who gets it, when it is over, and what clocks have to do with it."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from sluice.drivers.kubernetes.access import Access
from sluice.drivers.kubernetes.client import Client
from sluice.drivers.kubernetes.lease import Lease, LeaseLost, Timing
from sluice.testkit.apiserver.server import ApiServer

PATIENCE_S = 60
TIMING = Timing(duration_s=3.0, deadline_s=2.0, retry_s=0.02)


class World:
    """The double, and a clock for each replica that the test turns."""

    def __init__(self, api, client):
        self.api, self.client = api, client
        self.now = {}

    def lease(self, holder, timing=TIMING):
        self.now[holder] = 1000.0
        return Lease(
            self.client,
            namespace="x",
            name="sluice",
            holder=holder,
            timing=timing,
            clock=lambda: self.now[holder],
        )

    @property
    def spec(self):
        return msgspec.json.decode(self.api.store.shelf("leases").objects["x", "sluice"].body)["spec"]

    @property
    def holder(self):
        return self.spec.get("holderIdentity", "")


@pytest.fixture
async def world():
    async with ApiServer.run() as api, Client(Access(master=api.url), "test") as client:
        yield World(api, client)


async def taken(lease):
    return await lease._take()


async def test_the_first_has_it_and_the_second_waits(world):
    one, two = world.lease("one"), world.lease("two")

    assert await taken(one)
    assert not await taken(two)
    assert (one.held, two.held) == (True, False)
    assert world.holder == "one"
    assert world.spec["leaseDurationSeconds"] == 3


async def test_it_is_taken_over_when_it_was_not_renewed_for_its_duration(world):
    one, two = world.lease("one"), world.lease("two")
    await taken(one)
    await taken(two)  # sees it for the first time, and counts from now

    world.now["two"] += 2.9
    assert not await taken(two)
    await taken(one)  # renewed: two begins to count anew
    world.now["two"] += 2.9
    assert not await taken(two)
    world.now["two"] += 3.1
    assert await taken(two)

    assert world.holder == "two"
    assert world.spec["leaseTransitions"] == 1


async def test_clocks_that_differ_do_not_matter(world):
    one, two = world.lease("one"), world.lease("two")
    world.now["two"] += 1_000_000
    await taken(one)

    assert not await taken(two)


async def test_the_holder_is_out_before_another_is_in(world):
    one, two = world.lease("one"), world.lease("two")
    await taken(one)
    await taken(two)

    for second in range(1, 10):
        world.now["one"] = world.now["two"] = 1000.0 + second * 0.5
        took_over = await taken(two)
        assert not (one.held and two.held)
        if took_over:
            break
    assert two.held
    with pytest.raises(LeaseLost, match="another may hold it"):
        one.check()


async def test_of_two_at_once_one_gets_it(world):
    leases = [world.lease(str(number)) for number in range(8)]

    got = await asyncio.gather(*map(taken, leases))

    assert sum(got) == 1
    assert [lease.held for lease in leases] == got


async def test_what_is_given_back_is_free_at_once(world):
    one, two = world.lease("one"), world.lease("two")
    await taken(one)
    assert not await taken(two)

    await one.release()

    assert not one.held
    assert await taken(two)


async def test_one_who_comes_back_under_its_name_has_it_at_once(world):
    await taken(world.lease("one"))

    assert await taken(world.lease("one"))
    assert world.spec.get("leaseTransitions", 0) == 0


@asynccontextmanager
async def holding(lease):
    task = asyncio.create_task(lease.hold())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_holding_renews_it_over_trouble_and_ends_when_it_is_anothers(world):
    one = world.lease("one")
    await one.claim()
    world.api.faults.fail(3, code=500)
    async with holding(one) as task:
        first = world.spec["renewTime"]
        async with asyncio.timeout(PATIENCE_S):
            while world.spec["renewTime"] == first:  # noqa: ASYNC110  # the double tells nobody
                await asyncio.sleep(0.01)
        shelf = world.api.store.shelf("leases")
        stolen = msgspec.json.decode(shelf.objects["x", "sluice"].body)
        stolen["spec"] |= {"holderIdentity": "thief", "renewTime": "later"}
        world.api.store.put(shelf, stolen)

        with pytest.raises(LeaseLost, match="thief holds it"):
            async with asyncio.timeout(PATIENCE_S):
                await task


async def test_who_only_touches_the_object_takes_nothing(world):
    one = world.lease("one")
    await one.claim()
    shelf = world.api.store.shelf("leases")
    async with holding(one) as task:
        for number in range(40):
            touched = msgspec.json.decode(shelf.objects["x", "sluice"].body)
            touched["metadata"]["annotations"] = {"touched": str(number)}
            world.api.store.put(shelf, touched)
            await asyncio.sleep(0.005)
        assert not task.done()

    assert world.holder == "one"


async def test_holding_ends_when_the_server_is_away_for_too_long(world):
    one = world.lease("one")
    await one.claim()
    await world.api.close()
    async with holding(one) as task:
        await asyncio.sleep(0.05)
        assert not task.done()
        world.now["one"] += 2.1

        with pytest.raises(LeaseLost, match="not renewed for 2 s"):
            async with asyncio.timeout(PATIENCE_S):
                await task


async def test_claiming_waits_for_the_server_and_the_holder(world):
    one, two = world.lease("one"), world.lease("two")
    await world.api.close()
    claims = asyncio.create_task(one.claim())
    await asyncio.sleep(0.05)
    await world.api.open()
    async with asyncio.timeout(PATIENCE_S):
        await claims

    claims = asyncio.create_task(two.claim())
    await asyncio.sleep(0.1)
    assert not claims.done()
    await one.release()
    async with asyncio.timeout(PATIENCE_S):
        await claims
    assert world.holder == "two"
