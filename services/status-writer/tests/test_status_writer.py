"""Statuses written to the double of an API server: what is sent, how often, and what of others' is left alone."""

import asyncio
import contextlib
import time

import msgspec
import pytest

from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.drivers.kubernetes.access import Access
from sluice.drivers.kubernetes.client import Client
from sluice.grouping.events import ObjectKey
from sluice.policy.realisation.report import WARNINGS, Obstacle, Phase, Realised, Warned, policy_status
from sluice.services.status_writer import tiers
from sluice.services.status_writer.pace import Pace
from sluice.services.status_writer.writer import Writer
from sluice.testkit.apiserver.server import ApiServer

PATIENCE_S = 60
KIND = Kind.CLUSTER_NETWORK_POLICY


def policy(name="p", **spec):
    return {"metadata": {"name": name}, "spec": {"priority": 5, **spec}}


def realised(current=1, desired=1, generation=1, **fields):
    phase = Phase.REALIZED if current == desired else Phase.REALIZING
    return policy_status(Realised(phase=phase, generation=generation, current=current, desired=desired, **fields))


async def until(reached):
    async with asyncio.timeout(PATIENCE_S):
        while not reached():  # noqa: ASYNC110  # nobody tells when the double was written to
            await asyncio.sleep(0.005)


class World:
    def __init__(self, api, client, writer, times):
        self.api, self.client, self.writer, self.times = api, client, writer, times
        self.shelf = api.store.shelf(RESOURCES[KIND].plural)

    def put(self, document):
        return msgspec.json.decode(self.api.store.put(self.shelf, document))

    def held(self, name="p"):
        return msgspec.json.decode(self.shelf.objects["", name].body)

    def want(self, status, name="p", uid="", kept=frozenset()):
        self.writer.want(ObjectKey(KIND, "", name), uid, status, kept)

    async def settled(self):
        """The writer has nothing to do."""
        await until(lambda: not self.writer._wanted and not self.writer._woken.is_set())

    def writes(self):
        return [name for verb, plural, (_, name) in self.api.store.writes if verb == "status"]

    def patches(self):
        return [path for method, path, _ in self.api.requests if method == "PATCH"]


@contextlib.asynccontextmanager
async def running(per_s=10_000.0, burst=10_000):
    async with ApiServer.run() as api, Client(Access(master=api.url), "test") as client:
        times = ["2026-01-01T00:00:00Z"]
        writer = Writer(client, Pace(per_s, burst, time.monotonic()), lambda: times[0])
        task = asyncio.create_task(writer.run())
        try:
            yield World(api, client, writer, times)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_an_object_says_what_it_should():
    async with running() as world:
        before = world.put(policy())
        world.want(realised(), uid=before["metadata"]["uid"])
        await world.settled()

        assert world.held()["status"] == {
            "phase": "Realized",
            "observedGeneration": 1,
            "currentNodesRealized": 1,
            "desiredNodesRealized": 1,
            "conditions": [{"type": "Realizable", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }
        assert world.held()["spec"] == before["spec"]
        assert world.held()["metadata"]["generation"] == 1


async def test_what_it_says_already_is_not_written():
    async with running() as world:
        world.put(policy())
        world.want(realised())
        await world.settled()
        world.times[0] = "2026-01-02T00:00:00Z"
        world.want(realised())
        world.writer._live.clear()  # as after a restart
        await world.settled()

        assert len(world.patches()) == 1


async def test_all_objects_are_learnt_at_once():
    async with running() as world:
        for number in range(600):
            world.put({**policy(f"p{number}"), "status": msgspec.to_builtins(realised())})
        await world.writer.learn([KIND])
        asked = len(world.api.requests)
        assert asked == 2
        for number in range(600):
            world.want(realised(), f"p{number}")
        await world.settled()

        assert len(world.patches()) == 600  # only their conditions have no time yet
        assert {method for method, _, _ in world.api.requests[asked:]} == {"PATCH"}


async def test_a_condition_keeps_its_time_while_it_stays():
    async with running() as world:
        world.put(policy())
        world.want(realised())
        await world.settled()
        world.times[0] = "2026-01-02T00:00:00Z"
        world.want(realised(current=0, obstacle=Obstacle(reason="Why", message="because")))
        await world.settled()
        world.times[0] = "2026-01-03T00:00:00Z"
        world.want(realised(current=1, obstacle=Obstacle(reason="Why", message="because")))
        await world.settled()

        (condition,) = world.held()["status"]["conditions"]
        assert (condition["status"], condition["reason"]) == ("False", "Why")
        assert condition["lastTransitionTime"] == "2026-01-02T00:00:00Z"


async def test_a_warning_stays_with_its_time_until_somebody_has_looked():
    def conditions(world):
        return [(one["type"], one["lastTransitionTime"][:10]) for one in world.held()["status"]["conditions"]]

    warned = realised(warning=Warned(reason="AboutNobody", message="p applies to no Pod"))
    async with running() as world:
        world.put(policy())
        world.want(warned)
        await world.settled()
        world.times[0] = "2026-01-02T00:00:00Z"
        world.want(realised(generation=2), kept=frozenset((WARNINGS,)))  # as after a restart
        await world.settled()
        assert world.held()["status"]["observedGeneration"] == 2
        assert conditions(world) == [("Realizable", "2026-01-01"), ("Warnings", "2026-01-01")]
        world.want(realised(generation=2))
        await world.settled()

        assert conditions(world) == [("Realizable", "2026-01-01")]


async def test_a_conflict_is_tried_again_on_the_newer_version():
    async with running() as world:
        world.put(policy())
        world.want(realised(current=0))
        await world.settled()
        world.put(policy(tier="emergency"))  # the version that the writer knows is old now
        world.want(realised())
        await world.settled()

        assert world.held()["status"]["phase"] == "Realized"
        assert world.held()["spec"]["tier"] == "emergency"
        assert len(world.patches()) == 3


async def test_another_object_of_the_name_is_left_alone():
    async with running() as world:
        world.put(policy())
        world.want(realised(), uid="of the one before")
        await world.settled()

        assert "status" not in world.held()


async def test_an_object_that_is_gone_is_forgotten():
    async with running() as world:
        world.want(realised(), "never")
        world.put(policy())
        world.want(realised())
        await world.settled()

        assert world.writes() == ["p"]


async def test_a_policy_that_was_never_taken_in_is_about_the_object_there_is():
    async with running() as world:
        world.put(policy())
        world.put(policy(tier="emergency"))
        obstacle = Obstacle(reason="NetworkPolicyNotTakenIn", message="bad")
        world.want(policy_status(Realised(phase=Phase.PENDING, generation=0, obstacle=obstacle)))
        await world.settled()

        assert world.held()["status"]["observedGeneration"] == 2


async def test_what_others_wrote_there_is_replaced():
    async with running() as world:
        world.put({**policy(), "status": {"phase": 7, "conditions": [{"type": "Realizable", "status": "Maybe"}, 7]}})
        world.want(realised())
        await world.settled()

        assert [one["status"] for one in world.held()["status"]["conditions"]] == ["True"]


@pytest.mark.parametrize("fault", ["throttled", "failing", "forbidden", "away"])
async def test_trouble_is_waited_out(fault):
    async with running() as world:
        world.put(policy())
        match fault:
            case "throttled":
                world.api.faults.throttle(1, retry_after_s=1, path="/status")
            case "failing":
                world.api.faults.fail(4, code=503)
            case "forbidden":
                world.api.faults.forbidden.add(RESOURCES[KIND].plural)
            case "away":
                await world.api.close()
        world.want(realised(current=0))
        await asyncio.sleep(0.2)
        await until(lambda: world.writer._wanted)  # it waits for another try: none is under way
        world.want(realised())  # only the last one matters
        world.api.faults.forbidden.clear()
        if fault == "away":
            await world.api.open()
        await world.settled()

        await until(lambda: world.held().get("status", {}).get("phase") == "Realized")
        assert world.writes() == ["p"]


async def test_of_quick_changes_the_last_is_written():
    async with running(per_s=20, burst=1) as world:
        world.put(policy())
        began = time.monotonic()
        for number in range(1000):
            world.want(realised(current=number, desired=1000))
            if number % 100 == 0:
                await asyncio.sleep(0.01)
        world.want(realised(current=1000, desired=1000))
        await world.settled()

        await until(lambda: world.held().get("status", {}).get("phase") == "Realized")
        assert len(world.writes()) <= 2 + 20 * (time.monotonic() - began)


def test_writes_are_bounded_over_time():
    pace = Pace(10, 5, 0.0)

    waits = [pace.wait_s(0.0) for _ in range(8)]

    assert waits == [0, 0, 0, 0, 0, pytest.approx(0.1), pytest.approx(0.2), pytest.approx(0.3)]
    assert pace.wait_s(100.0) == 0


# --------------------------------------------------------------------------------------------------------------- tiers


def tier_priorities(world):
    shelf = world.api.store.shelf("tiers")
    return {name: msgspec.json.decode(held.body)["spec"]["priority"] for (_, name), held in shelf.objects.items()}


async def until_tiers(world, wanted):
    await until(lambda: tier_priorities(world) == wanted)


async def test_the_system_tiers_are_made_and_put_right():
    async with running() as world:
        shelf = world.api.store.shelf("tiers")
        world.api.store.put(shelf, {"metadata": {"name": "platform"}, "spec": {"priority": 7}})
        world.api.store.put(shelf, {"metadata": {"name": "mine"}, "spec": {"priority": 8}})
        wanted = {**STATIC_TIERS, "mine": 8}
        keeping = asyncio.create_task(tiers.keep(world.client, 0.05))
        await until_tiers(world, wanted)
        world.api.store.delete(shelf, ("", "baseline"))
        await until_tiers(world, wanted)
        writes = len(world.api.store.writes)
        await asyncio.sleep(0.15)
        keeping.cancel()

        assert len(world.api.store.writes) == writes
        assert msgspec.json.decode(shelf.objects["", "baseline"].body)["spec"]["description"].startswith("[READ-ONLY]")


async def test_tiers_wait_for_their_kind():
    async with running() as world:
        shelf = world.api.store.shelf("tiers")
        world.api.uninstall(shelf)
        keeping = asyncio.create_task(tiers.keep(world.client, 0.05))
        await asyncio.sleep(0.15)
        world.api.install(shelf)
        await until_tiers(world, STATIC_TIERS)
        keeping.cancel()
