"""The double behaves as real API servers were measured to: what clients of a mirror and of a status stumble over."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sluice.testkit.apiserver.server import ApiServer

NAMESPACES = "/api/v1/namespaces"
PODS = "/api/v1/namespaces/x/pods"
POLICIES = "/apis/crd.antrea.io/v1beta1/clusternetworkpolicies"


class World:
    def __init__(self, api: ApiServer, session: aiohttp.ClientSession) -> None:
        self.api, self._session = api, session

    async def ask(self, method: str, path: str, body: object = None, **headers: str):
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, self.api.url + path, data=data, headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers

    async def lines(self, path: str, count: int):
        """The first lines of a watch, and its status."""
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(60), self._session.get(self.api.url + path) as answer:
            async for line in answer.content:
                found.append(json.loads(line))
                if len(found) == count:
                    break
            return answer.status, found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with ApiServer.run() as api, aiohttp.ClientSession() as session:
        yield World(api, session)


def namespace(name: str, **labels: str):
    return {"metadata": {"name": name, "labels": labels}}


async def test_one_sequence_of_versions_for_everything(world: World) -> None:
    _, first, _ = await world.ask("POST", NAMESPACES, namespace("a"))
    _, second, _ = await world.ask(
        "POST", PODS, {"metadata": {"name": "p"}, "spec": {}, "status": {"phase": "Running"}}
    )
    _, listing, _ = await world.ask("GET", NAMESPACES)

    versions = [int(one["metadata"]["resourceVersion"]) for one in (first, second, listing)]
    assert versions == [versions[0], versions[0] + 1, versions[0] + 1]
    assert "status" not in second, "a Pod is created without its status"
    assert second["metadata"]["namespace"] == "x"
    assert listing["kind"] == "NamespaceList"
    assert "kind" not in listing["items"][0], "items of built-in kinds do not say it again"


async def test_writes_of_an_old_version_conflict(world: World) -> None:
    _, made, _ = await world.ask("POST", NAMESPACES, namespace("a"))
    code, _, _ = await world.ask("POST", NAMESPACES, namespace("a"))
    assert code == 409

    code, newer, _ = await world.ask(
        "PUT", f"{NAMESPACES}/a", {**made, "metadata": {**made["metadata"], "labels": {"l": "1"}}}
    )
    assert code == 200
    code, same, _ = await world.ask("PUT", f"{NAMESPACES}/a", newer)
    assert (code, same["metadata"]["resourceVersion"]) == (200, newer["metadata"]["resourceVersion"])
    code, refused, _ = await world.ask("PUT", f"{NAMESPACES}/a", made)
    assert (code, refused["reason"]) == (409, "Conflict")


async def test_spec_and_status_are_written_apart(world: World) -> None:
    _, made, _ = await world.ask(
        "POST", POLICIES, {"metadata": {"name": "p"}, "spec": {"priority": 1}, "status": {"phase": "X"}}
    )
    assert "status" not in made
    path = f"{POLICIES}/p"

    _, told, _ = await world.ask("PATCH", f"{path}/status", {"status": {"phase": "Realized"}, "spec": {"priority": 9}})
    assert (told["status"], told["spec"], told["metadata"]["generation"]) == ({"phase": "Realized"}, {"priority": 1}, 1)
    _, changed, _ = await world.ask("PATCH", path, {"spec": {"priority": 2}, "status": None})
    assert (changed["status"], changed["spec"], changed["metadata"]["generation"]) == (
        {"phase": "Realized"},
        {"priority": 2},
        2,
    )
    code, _, _ = await world.ask(
        "PATCH", f"{path}/status", {"metadata": {"resourceVersion": told["metadata"]["resourceVersion"]}}
    )
    assert code == 409


async def test_pages_are_of_one_moment(world: World) -> None:
    shelf = world.api.store.shelf("namespaces")
    for name in "abcde":
        world.api.store.create(shelf, namespace(name))

    _, first, _ = await world.ask("GET", f"{NAMESPACES}?limit=2")
    world.api.store.create(shelf, namespace("aa"))
    world.api.store.delete(shelf, ("", "e"))
    _, second, _ = await world.ask("GET", f"{NAMESPACES}?limit=2&continue={first['metadata']['continue']}")
    _, third, _ = await world.ask("GET", f"{NAMESPACES}?limit=2&continue={second['metadata']['continue']}")

    names = [item["metadata"]["name"] for page in (first, second, third) for item in page["items"]]
    assert names == list("abcde")
    assert first["metadata"]["remainingItemCount"] == 3
    assert len({page["metadata"]["resourceVersion"] for page in (first, second, third)}) == 1
    assert "continue" not in third["metadata"]


async def test_version_0_is_answered_from_a_cache_that_may_lag(world: World) -> None:
    shelf = world.api.store.shelf("namespaces")
    world.api.store.create(shelf, namespace("old"))
    world.api.listings.hold_cache(shelf)
    world.api.store.create(shelf, namespace("new"))

    _, cached, _ = await world.ask("GET", f"{NAMESPACES}?resourceVersion=0&limit=1")
    _, whole, _ = await world.ask("GET", NAMESPACES)

    assert [len(listing["items"]) for listing in (cached, whole)] == [1, 2]
    code, refused, _ = await world.ask("GET", f"{NAMESPACES}?resourceVersion={world.api.store.version + 9}")
    assert (code, refused["details"]["causes"][0]["reason"]) == (504, "ResourceVersionTooLarge")


async def test_a_watch_tells_what_happened_since(world: World) -> None:
    shelf = world.api.store.shelf("namespaces")
    world.api.store.create(shelf, namespace("before"))
    since = world.api.store.version
    world.api.store.create(shelf, namespace("a"))
    world.api.store.update(shelf, ("", "a"), namespace("a", l="1"))
    world.api.store.delete(shelf, ("", "a"))

    code, lines = await world.lines(f"{NAMESPACES}?watch=1&resourceVersion={since}", 3)

    assert code == 200
    assert [line["type"] for line in lines] == ["ADDED", "MODIFIED", "DELETED"]
    assert [line["object"]["kind"] for line in lines] == ["Namespace"] * 3
    assert [int(line["object"]["metadata"]["resourceVersion"]) for line in lines] == [since + 1, since + 2, since + 3]


@pytest.mark.parametrize("as_status", [False, True], ids=["as a line", "as a status"])
async def test_what_is_too_old_is_gone(world: World, as_status: bool) -> None:
    shelf = world.api.store.shelf("namespaces")
    world.api.store.create(shelf, namespace("a"))
    world.api.faults.gone_as_status = as_status
    world.api.forget_history()

    code, (line,) = await world.lines(f"{NAMESPACES}?watch=1&resourceVersion=1", 1)

    assert code == (410 if as_status else 200)
    told = line if as_status else line["object"]
    assert (told["code"], told["reason"]) == (410, "Expired")


async def test_a_streaming_list_ends_with_a_bookmark(world: World) -> None:
    world.api.store.create(world.api.store.shelf("namespaces"), namespace("a"))
    query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true"

    _, lines = await world.lines(f"{NAMESPACES}?{query}&resourceVersionMatch=NotOlderThan", 2)
    assert [line["type"] for line in lines] == ["ADDED", "BOOKMARK"]
    assert lines[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}

    world.api.faults.streaming_lists = False
    code, _, _ = await world.ask("GET", f"{NAMESPACES}?{query}&resourceVersionMatch=NotOlderThan")
    assert code == 422


async def test_a_watch_ends_when_its_time_is_over_and_tells_where_it_stands(world: World) -> None:
    world.api.faults.bookmark_every_s = 0.05

    _, lines = await world.lines(
        f"{NAMESPACES}?watch=1&resourceVersion=1000&timeoutSeconds=1&allowWatchBookmarks=true", 999
    )

    assert {line["type"] for line in lines} == {"BOOKMARK"}


async def test_throttling_says_for_how_long(world: World) -> None:
    world.api.faults.throttle(1, retry_after_s=7, path="namespaces")

    assert (await world.ask("GET", "/version"))[0] == 200
    code, told, headers = await world.ask("GET", NAMESPACES)
    assert (code, headers["Retry-After"], told["details"]["retryAfterSeconds"]) == (429, "7", 7)
    assert (await world.ask("GET", NAMESPACES))[0] == 200


async def test_a_kind_that_is_not_installed_is_not_there(world: World) -> None:
    shelf = world.api.store.shelf("tiers")
    tiers = "/apis/crd.antrea.io/v1beta1/tiers"
    definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tiers.crd.antrea.io"
    world.api.uninstall(shelf)
    assert [(await world.ask("GET", path))[0] for path in (tiers, definition)] == [404, 404]

    world.api.install(shelf)
    assert [(await world.ask("GET", path))[0] for path in (tiers, definition)] == [200, 200]


async def test_a_table_has_the_columns_of_its_kind(world: World) -> None:
    world.api.store.create(world.api.store.shelf("tiers"), {"metadata": {"name": "a"}, "spec": {"priority": 7}})

    _, table, _ = await world.ask(
        "GET",
        "/apis/crd.antrea.io/v1beta1/tiers",
        Accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    )

    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Age"]
    assert table["rows"][0]["cells"][0] == "a"
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
