"""All central services and a node's log-collector, as processes, amid what the next version stores and keeps storing.

They begin with what it has left in every stream, and go on while it tells more. Nothing ends, nothing that they know is
lost, what they do not know is told of once and left alone, and a status that they cannot read counts for none.
"""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from time import time_ns
from typing import Any, cast

import aiohttp
import pytest
import trustme
from tests.integration.conftest import Stored
from tests.integration.running import Program, running
from tests.integration.test_bus_admission import Client, issue
from tests.integration.versions import STRANGE, held, later, write_again, write_strange

from sluice.contracts import codec, subjects
from sluice.contracts.actions import Accepted, AnyAnswer, Declined, PutQuestion
from sluice.contracts.audit import FlowDecision
from sluice.contracts.groups import Mark
from sluice.contracts.ids import Address, Backend, NodeName, Revision
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.programs import Direction
from sluice.contracts.stats import NodeStats, RuleCount
from sluice.contracts.status import NodeStatus, Problem
from sluice.dataplane.audit import np_line
from sluice.grouping.events import key_of
from sluice.lab.ports import free_port
from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer
from sluice.testkit.admission import policies
from sluice.testkit.apiserver.server import ApiServer
from sluice.testkit.builders import acnp, namespace, netpol, node, pod

PATIENCE_S = 150
AT_US = time_ns() // 1_000
NODE = NodeName("n1")
WALL = subjects.unit(Kind.CLUSTER_NETWORK_POLICY, "", "wall")
OBJECTS = (
    namespace("x", team="a"),
    node("n1"),
    pod("x/db", ip="10.0.0.1", node="n1", app="db"),
    netpol("x/db", {"podSelector": {"matchLabels": {"app": "db"}}}),
    acnp("wall", {"priority": 5, "appliedTo": [{"podSelector": {}}], "ingress": [{"action": "Drop", "from": []}]}),
)
DERIVING = ("ingest", "group_resolver", "rule_compiler")
EVE = (
    b'{"timestamp":"2024-09-05T22:49:24.788756+0000","event_type":"alert","src_ip":"10.10.1.4","dest_ip":"10.0.0.1",'
    b'"proto":"TCP","alert":{"action":"blocked","signature":"Reject by AntreaNetworkPolicy:x/p"}}\n'
)


def decided(at_us: int) -> FlowDecision:
    return FlowDecision(
        at_us=at_us,
        table="IngressDefaultRule",
        policy="AntreaClusterNetworkPolicy:wall",
        direction="Ingress",
        action="Drop",
        source=Address("10.0.0.9"),
        destination=Address("10.0.0.1"),
        protocol="TCP",
        length=60,
    )


async def eventually(ask: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:  # Any: what is asked for
    """What is said once it is so."""
    found: Any = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not holds(found := await ask()):  # noqa: ASYNC110  # only asking tells
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"it says to the end: {found}")
    return found


class World:
    def __init__(self, server: NatsServer, bus: Bus, api: ApiServer, session: aiohttp.ClientSession, at: Path) -> None:
        self.bus, self.api, self._session, self._at = bus, api, session, at
        self.logs, self.port = at / "np", free_port()
        self.logs.mkdir()
        (at / "l7").mkdir()
        scopes = {"all": "read,content", "some": "read"}
        lines = (f"{name} {scope} {sha256(name.encode()).hexdigest()}\n" for name, scope in scopes.items())
        (at / "tokens").write_text("".join(lines))
        self.authority = trustme.CA()
        certificate, key = issue(self.authority, at)
        kubernetes = {"KUBECONFIG": str(api.kubeconfig(at / "kubeconfig")), "HOLDER": "one"}
        lease = {"SOURCE": "kubernetes", "LEASE_NAMESPACE": "sluice", "LEASE_DURATION_S": "6", "RETRY_S": "1"}
        settings: dict[str, dict[str, str]] = {
            "ingest": {**kubernetes, **lease, "WRITABLE": "true"},
            "group_resolver": {},
            "rule_compiler": {},
            "status_writer": {**kubernetes, "LINT_INTERVAL_S": "0"},
            "query_api": {
                "PORT": str(self.port),
                "STORE_DIR": str(at / "store"),
                "HOLDER": "one",
                "LINT_INTERVAL_S": "0",
                "TOKENS": str(at / "tokens"),
                "CHECKPOINT_ENTRIES": "10",
                "RETENTION_DAYS": "3650",
            },
            "admission": {"CERTIFICATE": str(certificate), "KEY": str(key)},
            "log_collector": {
                "NODE_NAME": NODE,
                "NP_DIR": str(self.logs),
                "L7_DIR": str(at / "l7"),
                "STATE_DIR": str(at / "state"),
                "POLL_MS": "20",
            },
        }
        self.programs = {
            service: Program(server.url, service, at / f"{service}.log", **own) for service, own in settings.items()
        }

    async def get(self, path: str, token: str = "all") -> Any:  # Any: JSON
        """What the API says; None while it does not listen or is not ready."""
        try:
            headers = {"Authorization": f"Bearer {token}"}
            async with self._session.get(f"http://127.0.0.1:{self.port}{path}", headers=headers) as answer:
                return await answer.json(content_type=None) if answer.status == 200 else None
        except aiohttp.ClientError:
            return None

    async def phase(self) -> str:
        """Of the policy, as its object in Kubernetes says."""
        resource = RESOURCES[Kind.CLUSTER_NETWORK_POLICY]
        held = self.api.store.shelves[resource.api_version, resource.plural].objects["", "wall"]
        return str(json.loads(held.body).get("status", {}).get("phase", ""))

    def said(self, service: str) -> list[dict[str, Any]]:  # Any: JSON
        lines = self.programs[service].log_file.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def webhook(self) -> Client:
        async def served() -> Any:  # Any: JSON
            return [line["port"] for line in self.said("admission") if line["event"] == "webhook_served"]

        return Client(self.authority, (await eventually(served, bool))[-1])

    async def ask_ingest(self, question: bytes) -> AnyAnswer:
        answer = await self.bus.nc.request(subjects.WRITE, question, timeout=PATIENCE_S)
        return codec.decode(answer.data, AnyAnswer)  # type: ignore[arg-type]  # a union is no type

    async def report(self, backend: Backend, *, state: str = "") -> None:
        """The node of the next version says that it has everything, or what is wrong with the policy."""
        far = Revision(1 << 60, 1)
        problem = Problem(unit=WALL, state=cast("Any", state), reason="later")  # Any: a state of the next version
        problems = (problem,) if state else ()
        status = NodeStatus(node=NODE, backend=backend, applied=far, healthy=True, problems=problems)
        await self.bus.js.publish(subjects.status(NODE, backend), later(status))

    async def log(self, batch: str, at_us: int) -> None:
        """log-collector of the next version tells of one decision as ever, and of two things of its own."""
        form = {**codec.decode(codec.encode(decided(at_us)), dict[str, Any]), "action": "Ponder"}  # Any: JSON
        events = (decided(at_us + 1), {"type": "future", "at_us": at_us + 2, "payload": "secret"}, form)
        told = {"node": NODE, "log": "future", "id": batch, "events": events}
        await self.bus.js.publish(f"audit.{NODE}.future", later(told))


@asynccontextmanager
async def world_in(server: NatsServer, bus: Bus, at: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(ApiServer.run())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        world = World(server, bus, api, session, at)
        for obj in OBJECTS:
            resource = RESOURCES[key_of(obj).kind]
            document = json.loads(codec.encode(obj))
            api.store.put(api.store.shelves[resource.api_version, resource.plural], document)
        yield world


async def derived(world: World, watch: Callable[[str], Stored]) -> None:
    """All there is was listed, and groups and programs are made of it."""

    async def listed() -> set[str]:
        return {message.subject for message in await held(world.bus, "LEDGER")}

    await eventually(listed, lambda found: found.issuperset(map(subjects.listed, Kind)))
    there = await streams.origin(world.bus, "LEDGER")
    for stream, mark in (("GROUPS", subjects.group_mark(0)), ("PROGRAMS", subjects.program_mark("ovs", 0))):
        await watch(stream).until(mark, Revision(there.epoch, there.last_sequence))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_services_live_with_what_the_next_version_writes(server, bus, watch, tmp_path):
    async with world_in(server, bus, tmp_path) as world:
        deriving = [world.programs[name] for name in DERIVING]
        async with running(*deriving):
            await derived(world, watch)
            for program in deriving:
                assert await program.end(signal.SIGTERM) == 0

        for stream in STRANGE:
            if stream != "LEDGER":  # of objects the source has the last word
                await write_again(bus, stream)
            await write_strange(bus, stream)
        never = Mark(shard=0, shards=1, upto=Revision(1, 1))  # of a backend that was there for an hour
        await bus.js.publish(subjects.program_mark(cast("Backend", "gone"), 0), later(never))
        await world.log("1", AT_US)
        await world.report("ovs")
        count = RuleCount(unit=WALL, direction=Direction.INGRESS, rule=0, sessions=7, packets=7, bytes=700)
        stats = NodeStats(node=NODE, backend="ovs", at_us=1, rules=(count,))
        await bus.js.publish(subjects.stats(NODE, "ovs"), later(stats))
        (world.logs / "np.log").write_text(np_line.write(decided(AT_US + 5)) + "\n")
        (tmp_path / "l7" / "eve-2026-11-27.json").write_bytes(EVE)

        async with running(*world.programs.values()):
            await they_work(world)
            for stream in STRANGE:
                await write_strange(bus, stream)  # while they run
            await world.log("2", AT_US + 10)
            await they_go_on(world)
            for program in world.programs.values():
                assert await program.end(signal.SIGTERM) == 0
        await nothing_was_lost_or_told_twice(world)


async def they_work(world: World) -> None:
    await eventually(world.phase, lambda phase: phase == "Realized")
    shown = await eventually(
        lambda: world.get("/v1/policies"),
        lambda found: found and {one.get("phase") for one in found["items"] if one["name"] == "wall"} == {"Realized"},
    )
    assert [one["counted"]["sessions"] for one in shown["items"] if one["name"] == "wall"] == [7]
    webhook = await world.webhook()
    await eventually(lambda: webhook.review(policies.cluster(tier="securityops")), lambda said: said["allowed"])
    assert not await webhook.admits(policies.cluster(tier="nowhere"))


async def they_go_on(world: World) -> None:
    told = await eventually(lambda: world.get("/v1/audit"), lambda found: found and len(found["items"]) == 8)
    kinds = Counter(one["kind"] for one in told["items"])
    assert kinds == {"np": 5, "future": 2, "l7": 1}
    (inspection,) = (one for one in told["items"] if one["kind"] == "l7")
    assert inspection["destination_pod"] == "x/db"
    assert "secret" in json.dumps(told)
    assert "secret" not in json.dumps(await world.get("/v1/audit", "some"))

    assert {(one["node"], one["backend"]) for one in (await world.get("/v1/nodes"))["items"]} == {(NODE, "ovs")}
    assert len((await world.get("/v1/objects"))["items"]) > len(OBJECTS)
    assert await world.get(f"/v1/nodes/{NODE}/programs")
    assert await world.get("/v1/groups")
    assert (await world.get("/v1/verdicts?from=x/db&to=x/db&port=80")) is not None

    await world.report("ovs", state="pondering")  # nobody knows whether that is good
    await eventually(world.phase, lambda phase: phase == "Failed")
    (status,) = (await world.get("/v1/nodes"))["items"]
    assert "cannot be read by this version" in status["detail"]
    await world.report("ovs")
    await eventually(world.phase, lambda phase: phase == "Realized")

    assert isinstance(await world.ask_ingest(b'{"type":"future"}'), Declined)
    body = codec.encode(acnp("more", {"priority": 6, "appliedTo": [{"podSelector": {}}]}))
    asked = PutQuestion(kind=Kind.CLUSTER_NETWORK_POLICY, namespace="", name="more", body=body)
    assert isinstance(await world.ask_ingest(later(asked)), Accepted)
    path = "/v1/objects/acnps/_/more"
    await eventually(lambda: world.get(path), bool)


async def nothing_was_lost_or_told_twice(world: World) -> None:
    for stream, strange in STRANGE.items():
        stored = {message.subject: message.body for message in await held(world.bus, stream)}
        assert all(stored[subject] for subject in strange), stream
    told: dict[str, Counter[str]] = {}
    for service in world.programs:
        lines = world.said(service)
        assert not [line for line in lines if line["event"] == "service_failed"]
        unknown = (line for line in lines if line["event"] in ("subject_not_known", "subject_rejected"))
        told[service] = Counter(line["subject"] for line in unknown)
    assert {count for counts in told.values() for count in counts.values()} == {1}, told
    objects = set(STRANGE["LEDGER"])
    assert told["query_api"].keys() >= objects | {*STRANGE["GROUPS"], *STRANGE["PROGRAMS"]}
    for service in ("ingest", "group_resolver", "rule_compiler", "admission"):
        assert told[service].keys() >= objects, service
