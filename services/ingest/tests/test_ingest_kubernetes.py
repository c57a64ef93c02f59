"""From a Kubernetes API (the double, over a socket) to a real nats-server."""

import asyncio
import contextlib
import os
from collections import Counter
from random import Random

import msgspec
import pytest

from sluice.contracts import codec, subjects
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import Listed, Pod
from sluice.contracts.status import SourceStatus
from sluice.contracts.streams import WRITER_HEADER
from sluice.drivers.kubernetes.access import Access
from sluice.drivers.kubernetes.client import Client
from sluice.drivers.kubernetes.lease import LeaseLost
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message
from sluice.runtime.natsserver import NatsServer
from sluice.services.ingest import app
from sluice.services.ingest.kubernetes.reading import reader
from sluice.services.ingest.settings import IngestSettings
from sluice.services.ingest.stored import OtherSource
from sluice.testkit.apiserver.server import ApiServer
from sluice.testkit.apiserver.workloads import pod

PATIENCE_S = 120
STATUS = subjects.source_status("kubernetes")


def namespace(name, note="1"):
    return {"metadata": {"name": name, "labels": {"note": note}}}


def policy(name, **spec):
    return {"metadata": {"name": name, "namespace": "x"}, "spec": {"podSelector": {}, **spec}}


class World:
    """A nats-server, the double, a reader's view, and ingests that come and go."""

    def __init__(self, nats, bus, api):
        self.nats, self.bus, self.api = nats, bus, api
        self.history = []
        self.held = {}
        self.status = None
        self.expected_at, self.expected_then = -1, {}
        self.changed = asyncio.Event()
        self.readers = [asyncio.create_task(self.read(stream)) for stream in ("LEDGER", "STATUS")]

    async def read(self, stream):
        async with follow(self.bus, stream) as events:
            async for event in events:
                match event:
                    case Message(subject=subject) if subject == STATUS:
                        self.status = codec.decode(event.body, SourceStatus)
                    case Message(subject=subject) if stream == "LEDGER":
                        self.history.append((subject, event.body))
                        self.held.pop(subject, None)
                        if event.body:
                            self.held[subject] = event.body
                    case Message() | CaughtUp() | NewEpoch():
                        pass
                self.changed.set()

    async def until(self, reached):
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                self.changed.clear()
                await self.changed.wait()

    def settings(self, **fields):
        quick = {"retry_s": 0.3, "absent_s": 0.1, "silence_s": 5.0, "lease_duration_s": 15, "lease_namespace": "x"}
        return IngestSettings(source="kubernetes", master=self.api.url, **{**quick, **fields})

    @contextlib.asynccontextmanager
    async def ingest(self, holder="one", **fields):
        """Runs on connections of its own; fails the test if it ends by itself."""
        settings = self.settings(holder=holder, **fields)
        async with await Bus.connect(self.nats.url, name=holder) as bus:
            running = asyncio.create_task(self.run(bus, settings))
            try:
                yield running
                assert running.cancelled() or not running.done(), running.exception()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def run(self, bus, settings):
        async with Client(Access(master=settings.master), "test") as client:
            lease = app.lease_of(client, settings)
            await lease.claim()
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(lease.hold())
                    async with (
                        app.mirrored(bus, client, lease, settings) as (shell, source),
                        asyncio.TaskGroup() as work,
                    ):
                        work.create_task(source.run())
                        work.create_task(shell.guard())
                        work.create_task(shell.run())
            finally:
                await lease.release()

    def expected(self):
        """What the double holds, as it should be on the stream."""
        if self.expected_at == self.api.store.version:
            return self.expected_then
        found = {}
        for kind in Kind:
            resource = RESOURCES[kind]
            for stored in self.api.store.shelves[resource.api_version, resource.plural].objects.values():
                reading = reader(kind)(stored.body)
                if reading.key and reading.body:
                    found[subjects.object_(*reading.key)] = reading.body
        self.expected_at, self.expected_then = self.api.store.version, found
        return found

    def objects(self):
        return {subject: body for subject, body in self.held.items() if "._listed." not in subject}

    @property
    def listed(self):
        marks = {subject for subject in self.held if "._listed." in subject}
        return marks == {subjects.listed(kind) for kind in Kind}

    async def in_step(self):
        def reached():
            many = len(self.held) == len(self.expected()) + len(Kind)  # asked at each of thousands of messages
            return many and self.listed and self.objects() == self.expected()

        await self.until(reached)


@pytest.fixture
async def world(tmp_path):
    nats = await NatsServer.start(tmp_path / "nats")
    try:
        async with ApiServer.run() as api, await Bus.connect(nats.url, name="test") as bus:
            api.faults.bookmark_every_s = 0.2
            world = World(nats, bus, api)
            yield world
            for reading in world.readers:
                reading.cancel()
            await asyncio.gather(*world.readers, return_exceptions=True)
    finally:
        await nats.stop()


def shelf(world, kind):
    return world.api.store.shelf(RESOURCES[kind].kind, RESOURCES[kind].api_version)


def put(world, kind, document):
    world.api.store.put(shelf(world, kind), document)


async def test_everything_is_mirrored_and_marked(world):
    put(world, Kind.NAMESPACE, namespace("x"))
    put(world, Kind.K8S_NETWORK_POLICY, policy("p"))
    put(world, Kind.POD, pod("x", "a", ip="10.0.0.7"))
    put(world, Kind.TIER, {"metadata": {"name": "early"}, "spec": {"priority": 7}})

    async with world.ingest():
        await world.in_step()
        put(world, Kind.POD, pod("x", "b", ip="10.0.0.8"))
        world.api.store.delete(shelf(world, Kind.POD), ("x", "a"))
        await world.in_step()

    mark = codec.decode(world.held[subjects.listed(Kind.POD)], Listed)
    assert mark == Listed(kind=Kind.POD, source="kubernetes")
    stored = codec.decode(world.held[subjects.object_(Kind.POD, "x", "b")], Pod)
    assert stored.metadata.uid
    assert stored.addresses == ("10.0.0.8",)
    order = [subject.split(".")[1] for subject, _ in world.history]
    assert order.index("tiers") < order.index("k8snetworkpolicies") < order.index("pods") < order.index("_listed")


async def test_what_nobody_reads_is_not_published(world):
    put(world, Kind.POD, pod("x", "a", ip="10.0.0.7"))
    put(world, Kind.NAMESPACE, namespace("x"))

    async with world.ingest():
        await world.in_step()
        before = len(world.history)
        for number in range(50):
            beat = pod("x", "a", ip="10.0.0.7")
            beat["status"]["conditions"][0]["lastProbeTime"] = str(number)
            put(world, Kind.POD, beat)
        put(world, Kind.NAMESPACE, namespace("x", "2"))
        await world.in_step()

    assert [subject for subject, _ in world.history[before:]] == [subjects.object_(Kind.NAMESPACE, "", "x")]


async def test_a_restart_stores_only_the_difference(world):
    for name in ("a", "b", "c"):
        put(world, Kind.NAMESPACE, namespace(name))
    async with world.ingest():
        await world.in_step()
    before = len(world.history)
    put(world, Kind.NAMESPACE, namespace("b", "2"))
    world.api.store.delete(shelf(world, Kind.NAMESPACE), ("", "c"))

    async with world.ingest():
        await world.in_step()

    assert [(subject.rpartition(".")[2], bool(body)) for subject, body in world.history[before:]] == [
        ("b", True),
        ("c", False),
    ]


async def test_nothing_is_removed_while_a_kind_cannot_be_listed(world):
    for name in ("a", "b"):
        put(world, Kind.NAMESPACE, namespace(name))
    async with world.ingest():
        await world.in_step()
    before = len(world.history)
    world.api.store.delete(shelf(world, Kind.NAMESPACE), ("", "a"))
    world.api.faults.forbidden.add("pods")

    async with world.ingest():
        await world.until(lambda: world.status and any("403" in reason for reason in world.status.waiting))
        assert len(world.history) == before
        world.api.faults.forbidden.clear()
        await world.in_step()

    assert len(world.history) == before + 1


async def test_an_object_that_does_not_decode_is_told_and_the_others_go_on(world):
    put(world, Kind.POD, pod("x", "good", ip="10.0.0.7"))
    put(world, Kind.POD, pod("x", "turns", ip="10.0.0.8"))
    pods = shelf(world, Kind.POD)
    spoilt = b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s","namespace":"x"},"status":{"podIP":7}}'
    world.api.store.put_raw(pods, ("x", "bad"), spoilt % b"bad")

    async with world.ingest():
        await world.until(lambda: world.listed)
        world.api.store.put_raw(pods, ("x", "turns"), spoilt % b"turns")
        put(world, Kind.POD, pod("x", "late", ip="10.0.0.9"))
        await world.until(lambda: subjects.object_(Kind.POD, "x", "late") in world.held)
        await world.until(lambda: world.status and len(world.status.problems) == 2)
        assert sorted(problem.file for problem in world.status.problems) == ["pods/x/bad", "pods/x/turns"]
        assert {subject.rpartition(".")[2] for subject in world.objects()} == {"good", "turns", "late"}

        put(world, Kind.POD, pod("x", "turns", ip="10.0.0.8"))
        world.api.store.delete(pods, ("x", "bad"))
        await world.until(lambda: not world.status.problems)
        await world.in_step()


async def test_a_kind_that_is_not_installed_is_said_and_read_when_it_is(world):
    tiers = shelf(world, Kind.TIER)
    world.api.uninstall(tiers)
    put(world, Kind.NAMESPACE, namespace("x"))

    async with world.ingest():
        await world.in_step()
        missing = "tiers: tiers.crd.antrea.io is not installed; it is read as soon as it is"
        await world.until(lambda: world.status and world.status.waiting == (missing,))
        world.api.install(tiers)
        put(world, Kind.TIER, {"metadata": {"name": "early"}, "spec": {"priority": 7}})
        await world.in_step()
        await world.until(lambda: not world.status.waiting)

    assert subjects.object_(Kind.TIER, "", "early") in world.held


async def test_ten_thousand_pods_arrive_whole(world):
    """How quickly, tests/bench says."""
    for number in range(10_000):
        name = f"p{number}"
        world.api.store.put(
            shelf(world, Kind.POD), pod("x", name, ip=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        )

    async with world.ingest():
        await world.in_step()

    assert len(world.objects()) == 10_000


CUT_S = float(os.environ.get("SLUICE_CUT_S", "6"))
"""How long watches are cut; the full measure is a minute."""


@pytest.mark.timeout(240)
async def test_a_watch_that_is_cut_every_200_ms_loses_and_invents_nothing(world):
    """Meanwhile histories end, the server restarts and pages expire: what is stored in the end is what there is."""
    random, loop = Random(11), asyncio.get_running_loop()
    pods, nodes = shelf(world, Kind.POD), shelf(world, Kind.NODE)
    names = [f"p{number}" for number in range(300)]
    for name in names[:200]:
        world.api.store.put(pods, pod("x", name, ip="10.0.0.7"))
    ever = set(world.api.store.shelves["v1", "pods"].objects)

    async with world.ingest():
        await world.in_step()
        ends_s, cut_s, cuts = loop.time() + CUT_S, loop.time() + 0.2, 0
        while loop.time() < ends_s:
            for _ in range(5):
                name = random.choice(names)
                if ("x", name) in pods.objects and random.random() < 0.4:
                    world.api.store.delete(pods, ("x", name))
                else:
                    address = f"10.0.{random.randrange(256)}.{random.randrange(256)}"
                    world.api.store.put(pods, pod("x", name, ip=address))
                    ever.add(("x", name))
            world.api.store.put(
                nodes, {"metadata": {"name": f"n{random.randrange(9)}", "labels": {"r": str(random.random())}}}
            )
            await asyncio.sleep(0.01)
            if loop.time() > cut_s:
                cuts, cut_s = cuts + 1, loop.time() + 0.2
                if cuts % 5 == 0:
                    world.api.forget_history()
                world.api.cut_watches()
                if cuts % 13 == 0:
                    await world.api.restart()
        await world.in_step()

    assert cuts >= CUT_S  # a slow machine counts slowly
    assert {
        tuple(subject.split(".")[2:]) for subject, _ in world.history if subject.startswith("objects.pods.")
    } <= ever
    again = Counter(zip(world.history, world.history[1:], strict=False))
    assert not [pair for pair in again if pair[0] == pair[1]]


async def writers(world):
    """Who stored each message of LEDGER, in order."""
    info = await world.bus.js.stream_info("LEDGER")
    found = []
    for sequence in range(1, info.state.last_seq + 1):
        message = await world.bus.js.get_msg("LEDGER", sequence)
        found.append((message.subject, message.data or b"", message.headers[WRITER_HEADER]))
    return found


async def test_of_two_replicas_one_writes_and_the_other_takes_over(world):
    names = [f"n{number}" for number in range(40)]
    for name in names[:10]:
        put(world, Kind.NAMESPACE, namespace(name))

    async with world.ingest("two") as second:
        await world.in_step()
        async with world.ingest("one"):
            for name in names[10:20]:
                put(world, Kind.NAMESPACE, namespace(name))
            await world.in_step()
            second.cancel()  # it gives its lease back
            await asyncio.gather(second, return_exceptions=True)
            for name in names[20:]:
                put(world, Kind.NAMESPACE, namespace(name))
            await world.in_step()
            stored = await writers(world)

    changes = [(subject, body) for subject, body, _ in stored]
    assert len(set(changes)) == len(changes), "something was stored twice"
    turns = [writer for index, (_, _, writer) in enumerate(stored) if not index or stored[index - 1][2] != writer]
    assert len(turns) == 2, "they wrote by turns"


async def test_a_replica_that_stops_breathing_writes_nothing_when_it_wakes(world):
    """Its lease is over by its own clock, whatever else it believes."""
    put(world, Kind.NAMESPACE, namespace("a"))
    async with (
        await Bus.connect(world.nats.url, name="sleeper") as bus,
        Client(Access(master=world.api.url), "test") as client,
    ):
        now = [100.0]
        settings = world.settings(holder="sleeper", lease_duration_s=3)
        lease = app.lease_of(client, settings)
        lease._clock = lambda: now[0]
        await lease.claim()
        async with app.mirrored(bus, client, lease, settings) as (shell, source):
            running = asyncio.create_task(source.run())
            await source.wait()
            while not shell.in_sync.is_set():
                await shell.turn()
                await asyncio.sleep(0.01)
            put(world, Kind.NAMESPACE, namespace("a", "2"))
            now[0] += 60

            await source.wait()
            with pytest.raises(LeaseLost, match="another may hold it"):
                await shell.turn()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async with world.ingest("two", lease_duration_s=3):
        await world.in_step()
    stored = await writers(world)
    again = [(body, writer) for subject, body, writer in stored if subject == subjects.object_(Kind.NAMESPACE, "", "a")]
    assert len(again) == 2
    assert again[0][1] != again[1][1]


async def test_a_replica_that_ended_without_a_word_is_succeeded(world):
    put(world, Kind.NAMESPACE, namespace("a"))
    async with (
        await Bus.connect(world.nats.url, name="gone") as bus,
        Client(Access(master=world.api.url), "test") as client,
    ):
        settings = world.settings(holder="gone", lease_duration_s=3)
        lease = app.lease_of(client, settings)
        lease._clock = lambda: 100.0  # nobody renews it: by its own clock it is held all the while
        await lease.claim()
        async with app.mirrored(bus, client, lease, settings) as (shell, source):
            running = asyncio.create_task(source.run())
            while not shell.in_sync.is_set():
                await shell.turn()
                await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    put(world, Kind.NAMESPACE, namespace("b"))

    async with world.ingest("heir", lease_duration_s=3):
        await world.in_step()

    held = msgspec.json.decode(world.api.store.shelf("leases").objects["x", "sluice-ingest"].body)["spec"]
    assert held["leaseTransitions"] == 1


async def test_another_source_is_refused(world, tmp_path):
    put(world, Kind.NAMESPACE, namespace("a"))
    async with world.ingest():
        await world.in_step()

    with pytest.raises(OtherSource, match="start ingest with the former"):
        async with app.opened(world.bus, IngestSettings(folder=str(tmp_path))):
            pass


def test_settings_need_a_folder_or_kubernetes():
    with pytest.raises(msgspec.ValidationError, match="SLUICE_INGEST_FOLDER"):
        msgspec.convert({}, IngestSettings)
    assert msgspec.convert({"source": "kubernetes"}, IngestSettings).namespace() == "default"
