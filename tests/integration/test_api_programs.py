"""What the API and `sluice get` say of programs, policies and TrafficControls: what nodes hold, count and warn of."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from tests.integration.conftest import Source
from tests.integration.test_query_api import Client, eventually, serving

from sluice.cli.main import main
from sluice.contracts import codec, subjects
from sluice.contracts.explaining import Meaning, ObjectRef
from sluice.contracts.ids import NodeName, Revision, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Action, Direction, Origin, ServiceRef
from sluice.contracts.stats import NodeStats, RuleCount, TrafficCount
from sluice.contracts.status import NodeStatus
from sluice.contracts.tracing import DecidingRule
from sluice.grouping.events import ObjectKey
from sluice.runtime.bus import Bus
from sluice.runtime.telling import NotOurs, Page, Telling, cut, held, window
from sluice.testkit.builders import acnp, control, namespace, node, pod

A = NodeName("a")
SPEC = {"priority": 5, "appliedTo": [{"podSelector": {}}], "ingress": [{"action": "Drop"}, {"action": "Allow"}]}
UNIT = subjects.unit(Kind.CLUSTER_NETWORK_POLICY, "", "p")
RULE = DecidingRule(
    policy=Origin(kind=Kind.CLUSTER_NETWORK_POLICY, namespace="", name="p", uid=Uid("u")),
    object_revision=Revision(7, 5),
    direction=Direction.INGRESS,
    index=0,
    action=Action.DROP,
)
MEANINGS = (
    Meaning(kind="rule", says="what happens", table="INGRESS_TIER", does="decides", rules=(RULE, RULE)),
    Meaning(kind="port", says="of one port", pods=("x/web",)),
    Meaning(kind="service", says="of a Service", services=(ServiceRef(namespace="x", name="web"),)),
    Meaning(kind="route", says="the way", objects=(ObjectRef(kind=Kind.NODE, name="b"),)),
    Meaning(kind="base", says="stands always"),
)


class Switch:
    """A backend that holds a few flows."""

    upto = Revision(7, 9)

    async def meaning(self, text: str) -> Meaning:
        raise NotOurs(text)

    async def page(self, after: str, limit: int) -> Page:
        found = window([(index,) for index in range(len(MEANINGS))], after, limit)
        return cut([(place, held(f"flow {place[0]}", MEANINGS[place[0]])) for place in found], limit)


@pytest.fixture
async def api(source: Source, bus: Bus, tmp_path: Path) -> AsyncIterator[Client]:
    """A node whose switch tells, and whose engine is away."""
    await source.put(namespace("x"), node("a"), pod("x/web", node="a", ip="10.0.0.1"), acnp("p", SPEC))
    await source.put(control("mirror", {"appliedTo": {"podSelector": {}}}))
    await source.listed()
    for backend in ("ovs", "l7"):
        status = NodeStatus(node=A, backend=backend, applied=Revision(1 << 60, 1), healthy=True)
        await bus.js.publish(subjects.status(A, backend), codec.encode(status))
    for name, many in (("a", 2), ("b", 3)):
        counts = NodeStats(
            node=NodeName(name),
            backend="ovs",
            at_us=1,
            rules=(
                RuleCount(unit=UNIT, direction=Direction.INGRESS, rule=0, sessions=many, packets=many, bytes=10 * many),
                RuleCount(unit=UNIT, direction=Direction.INGRESS, rule=1, sessions=1, packets=4, bytes=100),
            ),
            traffic=(TrafficCount(unit=subjects.unit(Kind.TRAFFIC_CONTROL, "", "mirror"), mirrored=many),),
        )
        await bus.js.publish(subjects.stats(NodeName(name), "ovs"), codec.encode(counts))
    telling = asyncio.create_task(Telling(bus, A, "ovs", Switch()).run())
    async with serving(bus, tmp_path, lint_interval_s=0.1) as client:
        yield client
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)


class Said(NamedTuple):
    exit_code: int
    output: str


async def sluice(api: Client, *words: str) -> Said:
    """What the command says; the API beside it in this process logs to the same place."""
    said = await asyncio.to_thread(CliRunner().invoke, main, [*words, "--api", api.url], catch_exceptions=False)
    own = [line for line in said.output.splitlines() if not re.match(r"\d{4}-\d\d-\d\d .*\[(info|warning)", line)]
    return Said(said.exit_code, "\n".join(own))


async def test_programs_come_in_pages_each_with_whose_it_is(api: Client) -> None:
    lines: list[dict[str, Any]] = []
    more = ""
    for _ in range(len(MEANINGS)):
        page = await api.get(f"/v1/nodes/a/programs/ovs?limit=2&continue={more}")
        assert len(page["items"]) <= 2
        assert page["metadata"]["revision"] == "7.9"
        lines += page["items"]
        more = page["metadata"].get("more", "")
        if not more:
            break
    assert [one["line"] for one in lines] == [f"flow {index}" for index in range(len(MEANINGS))]
    rule = lines[0]["rules"][0]
    assert (rule["policy"]["name"], rule["index"], rule["object_revision"]) == ("p", 0, [7, 5])


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/nodes/nobody/programs/ovs", 404, "no node of this name"),
        ("/v1/nodes/a/programs/tc", 404, "it has l7, ovs"),
        ("/v1/nodes/a/programs/iptables", 422, "backend"),
        ("/v1/nodes/a/programs/l7", 424, "node-l7 does not run there"),
        ("/v1/nodes/a/programs/ovs?continue=abcd", 400, "not a value of `more`"),
        ("/v1/nodes/a/programs/ovs?continue=bm9uc2Vuc2U", 400, "not a value of `more`"),
        ("/v1/trafficcontrols/nobody", 404, "no such TrafficControl"),
    ],
)
async def test_what_nobody_can_answer_is_told_why(api: Client, path: str, status: int, said: str) -> None:
    problem = await api.get(path, status)
    assert (problem["status"], said in problem["detail"]) == (status, True), problem


async def test_policies_and_traffic_controls_have_counts_and_warnings(api: Client) -> None:
    found = await eventually(api, "/v1/policies", lambda found: found["items"][0].get("warning"))
    (row,) = found["items"]
    assert row["counted"] == {"sessions": 7, "packets": 13, "bytes": 250}
    assert "ingress rule 1" in row["warning"] or "never" in row["warning"]
    counts = (await api.get("/v1/policies/acnps/_/p"))["counts"]
    assert [(one["rule"], one["sessions"], one["bytes"]) for one in counts] == [(0, 5, 50), (1, 2, 200)]
    controls = await api.get("/v1/trafficcontrols")
    assert controls["items"][0]["packets"] == {"mirrored": 5, "redirected": 0, "dropped": 0}
    one = await api.get("/v1/trafficcontrols/mirror")
    assert one["spec"]["appliedTo"] == {"podSelector": {}}
    past = await api.get("/v1/trafficcontrols/mirror?seq=" + controls["metadata"]["revision"].partition(".")[2])
    assert ("packets" in past, past["revision"]) == (False, one["revision"])


async def test_the_command_line_lists_them(api: Client) -> None:
    said = await sluice(api, "get", "flows", "--node", "a")
    table = [line.split(maxsplit=2) for line in said.output.splitlines()]
    assert [(kind, rest.rsplit("  ", 1)[0].strip()) for _, kind, rest in table[1:]] == [
        ("rule", "acnps:_:p ingress[0] (+1)"),
        ("port", "pods:x:web"),
        ("service", "services:x:web"),
        ("route", "nodes:_:b"),
        ("base", "-"),
    ]
    of_policy = await sluice(api, "get", "flows", "--policy", "acnps:_:p", "-o", "json")
    assert [one["line"] for one in json.loads(of_policy.output)["items"]] == ["flow 0"]
    of_pod = await sluice(api, "get", "flows", "--pod", "x/web", "-o", "wide")
    assert [line.split()[-1] for line in of_pod.output.splitlines()[1:]] == ["1"]
    assert "flow 3" in (await sluice(api, "get", "flows", "-o", "yaml")).output
    assert (await sluice(api, "get", "filters")).output.split() == ["NODE", "KIND", "OF", "HELD"]
    silent = await sluice(api, "get", "signatures")
    assert (silent.exit_code, "node-l7 does not run there" in silent.output) == (2, True)
    (_, row) = (await sluice(api, "get", "policies")).output.splitlines()
    assert row.split()[:6] == ["ClusterNetworkPolicy", "-", "p", "250", "5", "2"]
    assert row.split()[-3:-1] == ["7", "13"]
    past = await sluice(api, "get", "policies", "--watch", "--seq", "1")
    assert (past.exit_code, "the past does not change" in past.output) == (2, True)


async def test_a_list_is_watched(api: Client, source: Source) -> None:
    script = "from sluice.cli.main import main; main()"
    words = [sys.executable, "-c", script, "get", "objects", "pods", "--watch", "-o", "json", "--api", api.url]
    watching = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert watching.stdout is not None

    async def event() -> tuple[str, str]:
        assert watching.stdout is not None
        told = json.loads(await watching.stdout.readline())
        return told["event"], told["object"]["name"]

    try:
        async with asyncio.timeout(60):
            assert await event() == ("ADDED", "web")
            await source.put(pod("x/db", node="a", ip="10.0.0.2"))
            assert await event() == ("ADDED", "db")
            await source.put(pod("x/db", node="a", ip="10.0.0.3"))
            assert await event() == ("MODIFIED", "db")
            await source.delete(ObjectKey(Kind.POD, "x", "db"))
            assert await event() == ("DELETED", "db")
    finally:
        with suppress(ProcessLookupError):
            watching.kill()
        await watching.wait()
