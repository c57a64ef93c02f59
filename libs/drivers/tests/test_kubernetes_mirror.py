"""A mirror of one kind, against the double over a socket: what is told, whatever the server does."""

import asyncio
from contextlib import aclosing, asynccontextmanager

import msgspec
import pytest
from kubernetes_asyncio.config import incluster_config

from sluice.contracts.kinds import RESOURCES, Kind
from sluice.drivers.kubernetes.access import Access, BadAccess
from sluice.drivers.kubernetes.client import Client, Refused, Unreachable
from sluice.drivers.kubernetes.mirror import Absent, Changed, Listed, Pace, Waiting, mirror
from sluice.testkit.apiserver.server import ApiServer
from sluice.testkit.apiserver.tls import certificate

PATIENCE_S = 60
PACE = Pace(longest_wait_s=0.2, absent_s=0.05, silence_s=0.5)


@pytest.fixture
async def server():
    async with ApiServer.run() as running:
        running.faults.bookmark_every_s = 0.1
        yield running


def namespace(name, note="1"):
    return {"metadata": {"name": name, "labels": {"note": note}}}


def tier(name, priority=7):
    return {"metadata": {"name": name}, "spec": {"priority": priority}}


def read(body):
    made = msgspec.json.decode(body)
    assert made["apiVersion"]
    assert made["kind"]
    return made["metadata"]["name"], made["metadata"].get("labels", {}).get("note")


class Copy:
    """What was told of a kind, folded."""

    def __init__(self, client, kind, pace):
        self.there = {}
        self.tellings = []
        self.changed = asyncio.Event()
        self._task = asyncio.create_task(self._follow(client, kind, pace))

    async def _follow(self, client, kind, pace):
        async with aclosing(mirror(client, RESOURCES[kind], read, pace)) as tellings:
            async for told in tellings:
                self.tellings.append(told)
                match told:
                    case Listed(objects):
                        self.there = dict(objects)
                    case Changed(changes):
                        for (name, note), exists in changes:
                            self.there.pop(name, None)
                            if exists:
                                self.there[name] = note
                    case Absent():
                        self.there = {}
                    case Waiting():
                        pass
                self.changed.set()

    async def until(self, reached):
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                if self._task.done():
                    self._task.result()
                self.changed.clear()
                await self.changed.wait()

    async def told(self, kind):
        await self.until(lambda: any(isinstance(one, kind) for one in self.tellings))
        return next(one for one in self.tellings if isinstance(one, kind))

    async def end(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def copying(server, kind=Kind.NAMESPACE, pace=PACE):
    async with Client(Access(master=server.url), "test") as client:
        copy = Copy(client, kind, pace)
        try:
            yield copy
        finally:
            await copy.end()


def lists(server, path="/api/v1/namespaces"):
    """How often everything was read."""
    return sum(
        1
        for method, asked, query in server.requests
        if asked == path and method == "GET" and ("watch" not in query or "sendInitialEvents" in query)
    )


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming list", "pages"])
async def test_a_listing_then_changes(server, streaming):
    server.faults.streaming_lists = streaming
    shelf = server.store.shelf("namespaces")
    for number in range(1201):
        server.store.create(shelf, namespace(f"n{number}"))

    async with copying(server) as copy:
        await copy.until(lambda: len(copy.there) == 1201)
        server.store.update(shelf, ("", "n7"), namespace("n7", "2"))
        server.store.delete(shelf, ("", "n8"))
        server.store.create(shelf, namespace("new"))
        await copy.until(lambda: copy.there.get("new") == "1")

    assert copy.there == {**{f"n{number}": "1" for number in range(1201) if number != 8}, "n7": "2", "new": "1"}
    pages = [query for _, path, query in server.requests if path == "/api/v1/namespaces" and "limit" in query]
    assert [query["limit"] for query in pages] == ([] if streaming else ["500"] * 3)
    assert sum(isinstance(told, Listed) for told in copy.tellings) == 1


@pytest.mark.parametrize("as_status", [True, False], ids=["410 as a status", "410 as a line"])
@pytest.mark.parametrize("streaming", [True, False], ids=["streaming list", "pages"])
async def test_a_history_that_ended_means_another_listing(server, streaming, as_status):
    server.faults.gone_as_status, server.faults.streaming_lists = as_status, streaming
    shelf = server.store.shelf("namespaces")
    for name in ("stays", "goes"):
        server.store.create(shelf, namespace(name))

    async with copying(server) as copy:
        await copy.until(lambda: len(copy.there) == 2)
        await server.close()
        server.store.delete(shelf, ("", "goes"))
        server.store.create(shelf, namespace("comes"))
        server.forget_history()
        await server.open()
        await copy.until(lambda: copy.there == {"stays": "1", "comes": "1"})

    assert sum(isinstance(told, Listed) for told in copy.tellings) == 2


async def test_a_moment_that_is_forgotten_between_pages_is_read_all_at_once(server):
    server.faults.streaming_lists = False
    shelf = server.store.shelf("namespaces")
    for number in range(600):
        server.store.create(shelf, namespace(f"n{number}"))
    listings = server.listings
    forgotten: list[bool] = []
    page = listings.page

    def forgetful(*arguments):
        if "continue" in arguments[3] and not forgotten:
            forgotten.append(True)
            server.store.create(shelf, namespace("meanwhile"))
            server.forget_history()
        return page(*arguments)

    listings.page = forgetful
    async with copying(server) as copy:
        await copy.until(lambda: len(copy.there) == 601)

    assert forgotten


async def test_a_watch_that_is_cut_goes_on_where_it_was(server):
    shelf = server.store.shelf("namespaces")
    server.store.create(shelf, namespace("first"))

    async with copying(server) as copy:
        await copy.until(lambda: copy.there)
        for number in range(20):
            server.cut_watches()
            server.store.create(shelf, namespace(f"n{number}"))
            await asyncio.sleep(0.01)
        await copy.until(lambda: len(copy.there) == 21)

    assert lists(server) == 1


async def test_a_watch_that_says_nothing_is_left(server):
    shelf = server.store.shelf("namespaces")
    server.store.create(shelf, namespace("first"))

    async with copying(server) as copy:
        await copy.until(lambda: copy.there)
        server.faults.mute = True
        server.store.create(shelf, namespace("unheard"))
        await asyncio.sleep(0.2)
        server.faults.mute = False
        await copy.until(lambda: "unheard" in copy.there)

    assert lists(server) == 1


async def test_bookmarks_move_a_quiet_watch_over_the_end_of_the_history(server):
    """Only other kinds change; without bookmarks the version would be too old after a while."""
    quiet, busy = server.store.shelf("namespaces"), server.store.shelf("nodes")
    server.store.create(quiet, namespace("quiet"))

    async with copying(server) as copy:
        await copy.until(lambda: copy.there)
        for number in range(5):
            server.store.create(busy, {"metadata": {"name": f"n{number}"}})
        at = server.store.version
        await copy.until(lambda: sum(isinstance(told, Changed) for told in copy.tellings) >= 3)  # bookmarks
        quiet.compact(at)
        server.cut_watches()
        server.store.create(quiet, namespace("later"))
        await copy.until(lambda: "later" in copy.there)

    assert lists(server) == 1


async def test_throttling_is_heeded(server):
    server.store.create(server.store.shelf("namespaces"), namespace("first"))
    server.faults.throttle(2, retry_after_s=1, path="/api/v1/namespaces")
    began = asyncio.get_running_loop().time()

    async with copying(server) as copy:
        await copy.until(lambda: copy.there)

    assert len(server.requests) == 3
    assert asyncio.get_running_loop().time() - began > 2


async def test_a_server_that_fails_is_asked_again_and_told_of(server):
    server.store.create(server.store.shelf("namespaces"), namespace("first"))
    server.faults.fail(6, code=503, path="/api/v1/namespaces")

    async with copying(server) as copy:
        waiting = await copy.told(Waiting)
        await copy.until(lambda: copy.there)

    assert "503" in waiting.reason


async def test_a_server_that_is_away_is_waited_for(server):
    shelf = server.store.shelf("namespaces")
    server.store.create(shelf, namespace("first"))

    async with copying(server) as copy:
        await copy.until(lambda: copy.there)
        await server.close()
        await copy.told(Waiting)
        assert copy.there == {"first": "1"}
        server.store.create(shelf, namespace("second"))
        await server.open()
        await copy.until(lambda: len(copy.there) == 2)

    assert lists(server) == 1


async def test_what_is_forbidden_says_so(server):
    server.faults.forbidden.add("namespaces")

    async with copying(server) as copy:
        waiting = await copy.told(Waiting)
        server.faults.forbidden.clear()
        await copy.told(Listed)

    assert "403" in waiting.reason
    assert "allow it to list and watch" in waiting.reason


async def test_a_kind_that_is_not_defined_has_no_objects_until_it_is(server):
    shelf = server.store.shelf("tiers")
    server.uninstall(shelf)

    async with copying(server, Kind.TIER) as copy:
        absent = await copy.told(Absent)
        server.install(shelf)
        server.store.create(shelf, tier("early"))
        await copy.until(lambda: "early" in copy.there)
        server.uninstall(shelf)
        await copy.until(lambda: isinstance(copy.tellings[-1], Absent))

    assert "tiers.crd.antrea.io is not installed" in absent.reason
    assert copy.there == {}


async def test_a_kind_that_is_defined_and_not_served_yet_is_waited_for(server):
    shelf = server.store.shelf("tiers")
    server.store.create(shelf, tier("early"))
    shelf.installed = False

    async with copying(server, Kind.TIER) as copy:
        waiting = await copy.told(Waiting)
        shelf.installed = True
        await copy.until(lambda: copy.there)

    assert "defined and not served yet" in waiting.reason
    assert not any(isinstance(told, Absent) for told in copy.tellings)


async def test_what_is_no_api_server_is_not_believed(server):
    """A proxy that answers 404 to everything does not mean that there are no objects."""
    server.faults.fail(1000, code=404, path="")

    async with copying(server, Kind.TIER) as copy:
        waiting = await copy.told(Waiting)

    assert "is http" in waiting.reason
    assert not any(isinstance(told, Absent) for told in copy.tellings)


async def test_a_large_object_passes(server):
    shelf = server.store.shelf("namespaces")
    async with copying(server) as copy:
        await copy.told(Listed)
        server.store.create(shelf, {"metadata": {"name": "large", "annotations": {"x": "y" * 1_400_000}}})
        await copy.until(lambda: "large" in copy.there)


async def test_tls_and_a_token_from_a_kubeconfig(tmp_path):
    async with ApiServer.run(tls=certificate(), token="secret") as server:
        server.store.create(server.store.shelf("namespaces"), namespace("first"))
        config = server.kubeconfig(tmp_path / "config")
        async with Client(Access(kubeconfig=str(config)), "test") as client:
            assert b'"first"' in await client.ask("GET", "/api/v1/namespaces/first")
            server.token = "another"
            with pytest.raises(Refused, match="401"):
                await client.ask("GET", "/api/v1/namespaces/first")
            server.kubeconfig(tmp_path / "config")  # the token was renewed: it is read again
            assert b'"first"' in await client.ask("GET", "/api/v1/namespaces/first")


async def test_what_a_pod_is_given(tmp_path, monkeypatch):
    tls = certificate()
    async with ApiServer.run(tls=tls, token="secret") as server:
        server.store.create(server.store.shelf("namespaces"), namespace("first"))
        for name, content in (("token", b"secret"), ("ca.crt", tls.authority)):
            (tmp_path / name).write_bytes(content)
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
        async with Client(Access(), "test") as client:
            assert b'"first"' in await client.ask("GET", "/api/v1/namespaces/first")
            server.token = "renewed"  # the kubelet writes a new one before the old one ends
            (tmp_path / "token").write_text("renewed")
            assert b'"first"' in await client.ask("GET", "/api/v1/namespaces/first")


async def test_a_certificate_of_nobody_known_is_refused(tmp_path):
    async with ApiServer.run(tls=certificate()) as server:
        config = server.kubeconfig(tmp_path / "config")
        (tmp_path / "config.ca.pem").write_bytes(certificate().authority)
        async with Client(Access(kubeconfig=str(config)), "test") as client:
            with pytest.raises(Unreachable, match="certificate verify failed"):
                await client.ask("GET", "/version")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file|does not exist|Invalid kube-config"),
        ("{}", "name a kubeconfig"),
        ("a: [", "name a kubeconfig"),
    ],
    ids=["no file", "an empty one", "not YAML"],
)
async def test_a_bad_kubeconfig_says_what_to_do(tmp_path, content, message):
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)

    with pytest.raises(BadAccess, match=message):
        async with Client(Access(kubeconfig=str(path)), "test"):
            pass
