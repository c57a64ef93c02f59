"""From a real folder to a real nats-server."""

import asyncio
import contextlib
import json

import pytest

from sluice.contracts import codec, subjects
from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.ids import NEVER
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import TYPES, Listed, Tier
from sluice.contracts.status import SourceStatus
from sluice.kube.digest import folder_digest
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.output import Fenced
from sluice.runtime.streams import ensure
from sluice.services.ingest import app
from sluice.services.ingest.settings import IngestSettings
from sluice.services.ingest.stored import OtherSource

PATIENCE_S = 120
STATUS = subjects.source_status("folder")


def namespace(name, note="1"):
    return f"---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{note: '{note}'}}}}}}\n"


def policy(name, note="1"):
    return (
        f"---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: x, "
        f"annotations: {{note: '{note}'}}}}\nspec: {{podSelector: {{}}}}\n"
    )


def pod(name):
    return f"---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: x}}}}\n"


class Cluster:
    """A server, a folder, an ingest that can be stopped and started, and a reader's view."""

    def __init__(self, server, bus, root):
        self.server, self.bus, self.root = server, bus, root
        self.tasks = contextlib.AsyncExitStack()
        self.history = []  # of LEDGER: subjects with their bodies, in order of storage
        self.stored = {}
        self.seen_upto = NEVER  # of OBJECTS
        self.changed = asyncio.Event()
        self.readers = [asyncio.create_task(self.read(stream)) for stream in ("LEDGER", "OBJECTS", "STATUS")]

    async def read(self, stream):
        async with follow(self.bus, stream) as events:
            async for event in events:
                if isinstance(event, Message) and stream == "OBJECTS":
                    self.seen_upto = event.revision
                match event:
                    case Message() if stream == "LEDGER":
                        self.history.append((event.subject, event.body))
                    case Message() if event.body:
                        self.stored[event.subject] = event
                    case Message():
                        self.stored.pop(event.subject, None)
                    case NewEpoch():
                        first = "objects." if stream == "OBJECTS" else "status."
                        self.stored = {key: held for key, held in self.stored.items() if not key.startswith(first)}
                    case CaughtUp():
                        pass
                self.changed.set()

    def settings(self, **fields):
        return IngestSettings(folder=str(self.root), poll_interval_ms=10, grace_ms=40, **fields)

    @contextlib.asynccontextmanager
    async def ingest(self):
        """Runs on a connection of its own; fails the test if it ends by itself."""
        async with (
            await Bus.connect(self.server.url, name="ingest") as bus,
            app.opened(bus, self.settings()) as shell,
        ):
            running = asyncio.create_task(shell.run())
            try:
                yield shell
                assert not running.done(), running.exception()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    def writes(self, path, text):
        (self.root / path).write_text(text)

    async def until(self, reached):
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                self.changed.clear()
                await self.changed.wait()

    def digest(self):
        files = [path for path in self.root.rglob("*") if path.is_file()]
        return folder_digest((path.relative_to(self.root).as_posix(), path.read_bytes()) for path in files)

    @property
    def status(self):
        message = self.stored.get(STATUS)
        return codec.decode(message.body, SourceStatus) if message else None

    async def in_force(self):
        """All that the folder says is in OBJECTS, as the status tells; the status."""

        def reached():
            status = self.status
            if status is None or status.digest != self.digest():
                return False
            return self.seen_upto >= status.upto

        await self.until(reached)
        return self.status

    def names(self):
        """Of what is stored, by kind; the system tiers, which always are, aside."""
        found: dict[Kind, set[str]] = {}
        for subject in self.stored:
            match subjects.parse(subject):
                case subjects.ObjectSubject(kind=kind, name=name) if name not in STATIC_TIERS:
                    found.setdefault(kind, set()).add(name)
        return found

    def uid(self, kind, object_namespace, name):
        body = self.stored[subjects.object_(kind, object_namespace, name)].body
        return codec.decode(body, TYPES[kind]).metadata.uid


@pytest.fixture
async def cluster(tmp_path):
    server = await NatsServer.start(tmp_path / "nats")
    try:
        async with await Bus.connect(server.url, name="test") as bus:
            root = tmp_path / "manifests"
            root.mkdir()
            cluster = Cluster(server, bus, root)
            yield cluster
            for reader in cluster.readers:
                reader.cancel()
            await asyncio.gather(*cluster.readers, return_exceptions=True)
    finally:
        await server.stop()


async def test_what_the_folder_says_is_in_the_stream(cluster):
    cluster.writes("a.yaml", namespace("x") + policy("web") + pod("a.b"))
    async with cluster.ingest() as shell:
        status = await cluster.in_force()
        assert shell.in_sync.is_set()

        assert cluster.names() == {
            Kind.NAMESPACE: {"x"},
            Kind.K8S_NETWORK_POLICY: {"web"},
            Kind.POD: {"a.b"},
        }
        body = json.loads(cluster.stored["objects.k8snetworkpolicies.x.web"].body)
        assert body["metadata"].pop("uid")
        assert body == {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "web", "namespace": "x", "annotations": {"note": "1"}},
            "spec": {"podSelector": {}},
        }
        assert status.source == f"folder:{cluster.root}"
        assert status.problems == ()
        for kind in Kind:
            assert codec.decode(cluster.stored[subjects.listed(kind)].body, Listed) == Listed(
                kind=kind, source=f"folder:{cluster.root}"
            )

        cluster.writes("b.yaml", policy("db"))
        cluster.writes("a.yaml", policy("web", "2"))
        await cluster.in_force()
        assert cluster.names() == {Kind.K8S_NETWORK_POLICY: {"web", "db"}}

        (cluster.root / "a.yaml").unlink()
        await cluster.in_force()
        assert cluster.names() == {Kind.K8S_NETWORK_POLICY: {"db"}}


async def test_marks_come_after_the_listing_and_policies_before_pods(cluster):
    cluster.writes("a.yaml", pod("a") + policy("web") + namespace("x"))
    async with cluster.ingest():
        await cluster.in_force()
        await cluster.until(lambda: len(cluster.history) >= len(STATIC_TIERS) + 3 + len(Kind))

    order = [subject for subject, _ in cluster.history if not subject.startswith("objects.tiers.")]
    assert order[2] == "objects.pods.x.a"
    assert set(order[:2]) == {"objects.namespaces._.x", "objects.k8snetworkpolicies.x.web"}
    assert all(subject.startswith("objects._listed.") for subject in order[3:])


async def test_an_edit_puts_the_new_before_it_removes_the_old(cluster):
    def order():
        return [(subject, bool(body)) for subject, body in cluster.history if "policies.x" in subject]

    cluster.writes("a.yaml", policy("old"))
    async with cluster.ingest():
        await cluster.in_force()
        cluster.writes("a.yaml", policy("new"))
        await cluster.in_force()
        await cluster.until(lambda: len(order()) >= 3)

    assert order() == [
        ("objects.k8snetworkpolicies.x.old", True),
        ("objects.k8snetworkpolicies.x.new", True),
        ("objects.k8snetworkpolicies.x.old", False),
    ]


async def test_a_bad_document_is_reported_and_stops_nothing_else(cluster):
    async with cluster.ingest():
        cluster.writes("a.yaml", policy("web") + "---\nkind: [\n" + policy("db"))
        cluster.writes("b.yaml", policy("web"))
        status = await cluster.in_force()

        assert cluster.names() == {Kind.K8S_NETWORK_POLICY: {"web", "db"}}
        assert [(problem.file, problem.line, problem.path) for problem in status.problems] == [
            ("a.yaml", 7, "$"),
            ("b.yaml", 2, "$.metadata.name"),
        ]
        assert "a.yaml, line 2" in status.problems[1].reason

        cluster.writes("a.yaml", policy("web") + policy("db"))
        (cluster.root / "b.yaml").unlink()
        assert (await cluster.in_force()).problems == ()


async def test_a_restart_publishes_only_the_difference(cluster):
    cluster.writes("a.yaml", policy("same") + policy("edited") + policy("gone"))
    async with cluster.ingest():
        await cluster.in_force()
    same = cluster.uid(Kind.K8S_NETWORK_POLICY, "x", "same")
    edited = cluster.uid(Kind.K8S_NETWORK_POLICY, "x", "edited")
    told = len(cluster.history)

    cluster.writes("a.yaml", policy("same") + policy("edited", "2"))
    async with cluster.ingest():
        await cluster.in_force()
        await cluster.until(lambda: len(cluster.history) >= told + 2)

    assert [(subject, bool(body)) for subject, body in cluster.history[told:]] == [
        ("objects.k8snetworkpolicies.x.edited", True),
        ("objects.k8snetworkpolicies.x.gone", False),
    ]
    assert cluster.uid(Kind.K8S_NETWORK_POLICY, "x", "same") == same
    assert cluster.uid(Kind.K8S_NETWORK_POLICY, "x", "edited") == edited


async def test_a_missing_folder_at_start_deletes_nothing(cluster):
    cluster.writes("a.yaml", policy("web"))
    async with cluster.ingest():
        await cluster.in_force()

    cluster.root.rename(cluster.root.with_name("away"))
    async with cluster.ingest() as shell:
        await cluster.until(lambda: cluster.status is not None and len(cluster.status.problems) == 1)
        assert not shell.in_sync.is_set()
        assert cluster.names() == {Kind.K8S_NETWORK_POLICY: {"web"}}

        cluster.root.mkdir()
        cluster.writes("b.yaml", policy("db"))
        await cluster.in_force()
        assert cluster.names() == {Kind.K8S_NETWORK_POLICY: {"db"}}


async def test_another_source_is_refused(cluster):
    async with cluster.ingest():
        await cluster.in_force()

    cluster.root = cluster.root.with_name("other")
    cluster.root.mkdir()
    with pytest.raises(
        OtherSource,
        match=r"come from folder:.*manifests, but this ingest reads folder:.*other; a deployment has only one",
    ):
        async with cluster.ingest():
            pass


async def test_a_second_ingest_is_fenced_off(cluster):
    async with (
        cluster.ingest(),
        await Bus.connect(cluster.server.url, name="second") as bus,
        app.opened(bus, cluster.settings()) as second,
    ):
        await cluster.in_force()
        cluster.writes("a.yaml", policy("web"))
        await cluster.in_force()

        with pytest.raises(Fenced, match="another writer"):
            async with asyncio.timeout(PATIENCE_S):
                await second.run()


async def test_streams_made_anew_get_everything_again(cluster):
    cluster.writes("a.yaml", policy("web") + pod("a"))
    async with cluster.ingest():
        before = await cluster.in_force()
        uid = cluster.uid(Kind.POD, "x", "a")

        for stream in ("OBJECTS", "LEDGER", "STATUS"):
            await cluster.bus.js.delete_stream(stream)
        await cluster.until(lambda: cluster.status is not None and cluster.status.upto.epoch > before.upto.epoch)
        await cluster.in_force()

        assert cluster.names() == {Kind.K8S_NETWORK_POLICY: {"web"}, Kind.POD: {"a"}}
        assert cluster.uid(Kind.POD, "x", "a") == uid
        assert {subjects.listed(kind) for kind in Kind} <= cluster.stored.keys()


async def test_what_ledger_forgot_is_still_removed(cluster):
    """LEDGER keeps by age, OBJECTS for ever: an old object must not outlive its manifest."""
    await ensure(cluster.bus)
    for name in ("kept", "gone"):
        metadata = {"name": name, "namespace": "x", "uid": f"old-{name}"}
        body = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": {}}
        await cluster.bus.js.publish(f"objects.k8snetworkpolicies.x.{name}", json.dumps(body).encode())
    await cluster.until(lambda: cluster.names() == {Kind.K8S_NETWORK_POLICY: {"kept", "gone"}})
    await cluster.bus.js.purge_stream("LEDGER")

    cluster.writes("a.yaml", policy("kept"))
    async with cluster.ingest():
        await cluster.in_force()
        assert cluster.names() == {Kind.K8S_NETWORK_POLICY: {"kept"}}
        assert cluster.uid(Kind.K8S_NETWORK_POLICY, "x", "kept") == "old-kept"


async def test_what_does_not_decode_is_replaced(cluster):
    async with cluster.ingest():
        await cluster.in_force()
    subject = "objects.k8snetworkpolicies.x.web"
    await cluster.bus.js.publish(subject, b"not JSON")
    await cluster.bus.js.publish("objects.pods.x.gone", b"{}")

    cluster.writes("a.yaml", policy("web"))
    async with cluster.ingest():
        await cluster.in_force()
        await cluster.until(lambda: cluster.names() == {Kind.K8S_NETWORK_POLICY: {"web"}})
        assert cluster.uid(Kind.K8S_NETWORK_POLICY, "x", "web")


async def test_the_server_may_be_killed(cluster):
    cluster.writes("a.yaml", policy("web"))
    async with cluster.ingest():
        await cluster.in_force()
        await cluster.server.kill()
        cluster.writes("a.yaml", policy("db"))
        await cluster.server.restart()

        await cluster.in_force()
        assert cluster.names() == {Kind.K8S_NETWORK_POLICY: {"db"}}


async def test_many_objects(cluster):
    """More than the writer gets ahead of the stream."""
    count = 2 * 4_000 + 1_000
    cluster.writes("a.yaml", "".join(namespace(f"n{number}") for number in range(count)))
    async with cluster.ingest():
        await cluster.in_force()

        assert len(cluster.names()[Kind.NAMESPACE]) == count


async def test_the_system_tiers_are_there_whatever_the_folder_says(cluster):
    def priorities():
        subjects_of = {name: subjects.object_(Kind.TIER, "", name) for name in STATIC_TIERS}
        return {
            name: codec.decode(cluster.stored[subject].body, Tier).spec.priority
            for name, subject in subjects_of.items()
            if subject in cluster.stored
        }

    async with cluster.ingest():
        await cluster.in_force()
        await cluster.until(lambda: priorities() == STATIC_TIERS)
        uid = cluster.uid(Kind.TIER, "", "platform")
        explicit = (
            "---\n{apiVersion: crd.antrea.io/v1beta1, kind: Tier, metadata: {name: platform, uid: my-own}, "
            "spec: {priority: 200, description: ours}}\n"
        )
        cluster.writes("tier.yaml", explicit)
        status = await cluster.in_force()
        assert cluster.uid(Kind.TIER, "", "platform") == "my-own"
        assert status.problems == ()
        (cluster.root / "tier.yaml").unlink()
        await cluster.in_force()
        await cluster.until(lambda: cluster.uid(Kind.TIER, "", "platform") == uid)

    assert priorities() == STATIC_TIERS
