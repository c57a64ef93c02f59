"""The REST API on a real bus: what is, what was, who may ask, and answers to bad questions."""

import asyncio
import contextlib
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
import trustme
from click.testing import CliRunner
from tests.integration.conftest import Source

from sluice.cli import api as asked
from sluice.cli.main import main
from sluice.contracts import codec, subjects
from sluice.contracts.audit import AuditBatch, AuditEvent, FlowDecision, Inspection, Loss
from sluice.contracts.ids import Address, NodeName, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.status import NodeStatus
from sluice.grouping.events import ObjectKey
from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.service import Service
from sluice.runtime.settings import ConfigError
from sluice.services.group_resolver import app as group_resolver
from sluice.services.group_resolver.settings import GroupResolverSettings
from sluice.services.query_api.app import SERVICE, Api
from sluice.services.query_api.settings import QueryApiSettings
from sluice.services.rule_compiler import app as rule_compiler
from sluice.services.rule_compiler.settings import RuleCompilerSettings
from sluice.testkit.builders import acnp, control, namespace, netpol, node, pod, service

EXAMPLES = int(os.environ.get("SLUICE_API_EXAMPLES", "5"))
DAY_US = 86_400_000_000
AT_US = 20_000 * DAY_US


class Client:
    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.session, self.url = session, f"http://127.0.0.1:{port}"

    async def get(self, path: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Any:
        async with self.session.get(self.url + path, headers=headers) as answer:
            body = await answer.read()
            assert answer.status == status, body
            if status >= 400:
                assert answer.content_type == "application/problem+json"
            return json.loads(body) if body else None

    async def tag(self, path: str) -> str:
        async with self.session.get(self.url + path) as answer:
            return answer.headers["ETag"]

    async def text(self, path: str) -> str:
        async with self.session.get(self.url + path) as answer:
            return await answer.text()


@contextlib.asynccontextmanager
async def serving(bus: Bus, folder: Path, **settings: Any) -> AsyncIterator[Client]:
    own = QueryApiSettings(port=0, store_dir=str(folder / "store"), holder="test", **settings)
    service = Service(SERVICE, own, bus)
    api = Api(service)
    running = asyncio.create_task(api.run())
    try:
        async with asyncio.timeout(30):
            while lacking := await service.health.lacking():
                assert not running.done(), running.result()
                await asyncio.sleep(0.02)
            assert not lacking
        async with aiohttp.ClientSession() as session:
            yield Client(session, api.listening.port)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def cluster(server: NatsServer, source: Source, bus: Bus) -> AsyncIterator[Source]:
    """Two Pods, a policy, and what follows from them; a node that has said something."""
    async with contextlib.AsyncExitStack() as stack:

        async def connected(name: str) -> Bus:
            return await stack.enter_async_context(await Bus.connect(server.url, name=name))

        resolver, _ = await stack.enter_async_context(
            group_resolver.opened(await connected("resolver"), GroupResolverSettings())
        )
        compiler, _ = await stack.enter_async_context(
            rule_compiler.opened(await connected("compiler"), RuleCompilerSettings())
        )
        running = [asyncio.create_task(loop.run()) for loop in (resolver, compiler)]
        await source.put(
            namespace("x"),
            node("a"),
            pod("x/web", node="a", ip="10.0.0.1", app="web"),
            pod("x/db", node="a", ip="10.0.0.2", app="db"),
        )
        await source.put(netpol("x/closed", {"podSelector": {"matchLabels": {"app": "db"}}}))
        await source.listed()
        status = NodeStatus(node=NodeName("a"), backend="ovs", applied=Revision(1 << 60, 1), healthy=True)
        await bus.js.publish(subjects.status(NodeName("a"), "ovs"), codec.encode(status))
        await asyncio.gather(resolver.in_sync.wait(), compiler.in_sync.wait())
        yield source
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def eventually(client: Client, path: str, holds: Any) -> Any:
    async with asyncio.timeout(60):
        while not holds(found := await client.get(path)):  # noqa: ASYNC110  # only asking tells
            await asyncio.sleep(0.02)
    return found


async def test_what_is_and_what_was(cluster: Source, bus: Bus, tmp_path: Path) -> None:
    async with serving(bus, tmp_path) as api:
        verdict = "/v1/verdicts?from=x/web&to=x/db&port=80"
        assert (await api.get(verdict))["verdict"]["outcome"] == "Dropped"
        assert (await api.get(f"{verdict}&sni="))["packet"]["asks"]["sni"] == ""
        assert (await api.get(f"{verdict}&method=GET&host=a:80&path=/b?c"))["packet"]["asks"]["path"] == "/b"
        ping, report = (
            "from=x/web&to=x/db&protocol=ICMP&icmp_type=8",
            "from=x/web&to=225.1.2.3&protocol=IGMP&igmp_type=22",
        )
        assert (await api.get(f"/v1/verdicts?{ping}"))["verdict"]["outcome"] == "Dropped"
        assert (await api.get(f"/v1/verdicts?{report}"))["verdict"]["outcome"] == "Allowed"
        stored = await api.get("/v1/objects/k8snetworkpolicies/x/closed")
        assert stored["object"]["metadata"]["name"] == "closed"
        sequence = int(stored["revision"].partition(".")[2])
        assert (await api.get(f"{verdict}&seq={sequence - 1}"))["verdict"]["outcome"] == "Allowed"
        assert (await api.get(f"{verdict}&at={stored['time']}"))["metadata"]["revision"]
        await api.get(f"/v1/objects/k8snetworkpolicies/x/closed?seq={sequence - 1}", 404)

        await cluster.delete(ObjectKey(Kind.K8S_NETWORK_POLICY, "x", "closed"))
        await eventually(api, verdict, lambda found: found["verdict"]["outcome"] == "Allowed")
        history = (await api.get("/v1/objects/k8snetworkpolicies/x/closed/history"))["items"]
        assert ["object" in one for one in history] == [True, False]
        assert (await api.get(f"{verdict}&seq={sequence}"))["verdict"]["outcome"] == "Dropped"


async def test_a_cluster_ip_is_its_service(cluster: Source, bus: Bus, tmp_path: Path) -> None:
    await cluster.put(service("x/idle", {"clusterIPs": ["10.96.0.9"], "ports": [{"port": 80}]}, app="nobody"))
    async with serving(bus, tmp_path) as api:
        asked = "/v1/verdicts?from=x/web&to=10.96.0.9&port=80"
        found = await eventually(api, asked, lambda answer: answer["packet"]["destination"]["type"] == "service")
        assert found["verdict"]["outcome"] == "Rejected"
        assert found == await api.get("/v1/verdicts?from=x/web&to=svc:x/idle&port=80&family=4")


LISTS: Mapping[str, Callable[[Any], Any]] = {
    "/v1/objects": lambda one: (one["kind"], one["namespace"], one["name"]),
    "/v1/policies": lambda one: one["name"],
    "/v1/groups": lambda one: one["group"],
    "/v1/nodes": lambda one: one["node"],
    "/v1/trafficcontrols": lambda one: one["name"],
}
"""Lists in pages, and what tells their items apart."""

NAMES = {
    "/v1/policies": ["early", "late", "closed", "open", "low"],
    "/v1/nodes": ["a", "b", "c"],
    "/v1/trafficcontrols": ["one", "three", "two"],
}


async def test_lists_have_pages_and_tags(
    cluster: Source, bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, tier, priority in (("late", "application", 5.0), ("early", "application", 1.5), ("low", "baseline", 1)):
        await cluster.put(acnp(name, {"tier": tier, "priority": priority, "appliedTo": [{"podSelector": {}}]}))
    await cluster.put(netpol("y/open"), *(control(name, {}) for name in ("one", "two", "three")))
    for other in ("b", "c"):
        status = NodeStatus(node=NodeName(other), backend="ovs", applied=Revision(1 << 60, 1), healthy=True)
        await bus.js.publish(subjects.status(NodeName(other), "ovs"), codec.encode(status))
    async with serving(bus, tmp_path) as api:
        await eventually(api, "/v1/nodes", lambda found: len(found["items"]) == 3)
        for path, lists in LISTS.items():
            whole = (await api.get(path))["items"]
            found = [lists(one) for one in whole]
            assert found == NAMES.get(path, found)
            paged: list[Any] = []
            more = "continue="
            while more:
                page = await api.get(f"{path}?limit=2&{more}")
                assert 1 <= len(page["items"]) <= 2
                paged += page["items"]
                more = f"continue={page['metadata']['more']}" if "more" in page["metadata"] else ""
            assert [lists(one) for one in paged] == found, path
            monkeypatch.setattr(asked, "MOST", 1)
            words = ["get", path.removeprefix("/v1/"), "-o", "json", "--api", api.url]
            if path != "/v1/trafficcontrols":  # of which the command line asks the bus
                said = await asyncio.to_thread(CliRunner().invoke, main, words, catch_exceptions=False)
                assert [lists(one) for one in json.loads(said.output)["items"]] == found, path
        inside = await api.get("/v1/policies?namespace=y")
        assert [one["name"] for one in inside["items"]] == ["open"]
        names = [f"{one['kind']} {one['name']}" for one in (await api.get("/v1/objects"))["items"]]
        assert names == sorted(names)
        assert [one["name"] for one in (await api.get("/v1/objects?kind=pods&namespace=x"))["items"]] == ["db", "web"]
        tag = await api.tag("/v1/objects/pods/x/web")
        assert await api.get("/v1/objects/pods/x/web", 304, {"If-None-Match": tag}) is None


async def test_policies_groups_pods_and_nodes(cluster: Source, bus: Bus, tmp_path: Path) -> None:
    await cluster.put(
        acnp(
            "from-web",
            {
                "appliedTo": [{"podSelector": {"matchLabels": {"app": "db"}}}],
                "ingress": [{"action": "Allow", "from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}],
            },
        )
    )
    async with serving(bus, tmp_path) as api:
        rows = (await eventually(api, "/v1/policies", lambda found: len(found["items"]) == 2))["items"]
        assert [(row["kind"], row["name"]) for row in rows] == [
            ("ClusterNetworkPolicy", "from-web"),
            ("NetworkPolicy", "closed"),
        ]
        detail = await api.get("/v1/policies/acnps/_/from-web")
        assert detail["programs"][0]["rules"][0]["action"] == "allow"
        (group,) = detail["policy"]["applied_to"]
        found = await eventually(api, f"/v1/groups/{group}", lambda found: found["nodes"])
        assert [member["pod"] for here in found["nodes"] for member in here["members"]] == ["x/db"]
        assert "acnps:_:from-web" in found["group"]["applied"]
        assert {one["group"] for one in (await api.get("/v1/groups"))["items"]} >= {group}
        db, web = await api.get("/v1/pods/x/db"), await api.get("/v1/pods/x/web")
        assert [one["name"] for one in db["applied"]] == ["from-web", "closed"]
        assert [one["name"] for one in db["isolated_by"]] == ["closed"]
        assert [one["origin"]["name"] for one in web["peer_of"]] == ["from-web"]
        assert [one["node"] for one in (await api.get("/v1/nodes"))["items"]] == ["a"]
        held = await eventually(api, "/v1/nodes/a/programs", lambda found: len(found["items"]) >= 2)
        assert {one["program"]["unit"] for one in held["items"]} == {"acnps:_:from-web", "k8snetworkpolicies:x:closed"}
        assert (await api.get("/v1/ledger"))["first"] == 1
        assert (await api.get("/v1/ledger/verification"))["faults"] == []


def decided(at_us: int, action: Any = "Drop") -> FlowDecision:
    return FlowDecision(
        at_us=at_us,
        table="IngressDefaultRule",
        policy="K8sNetworkPolicy:x/closed",
        unit=subjects.unit(Kind.K8S_NETWORK_POLICY, "x", "closed"),
        direction="Ingress",
        action=action,
        source=Address("10.0.0.1"),
        destination=Address("10.0.0.2"),
        destination_port=80,
        protocol="TCP",
        length=60,
    )


async def tell(bus: Bus, batch: str, *events: AuditEvent) -> None:
    told = AuditBatch(node=NodeName("a"), log="np", id=batch, events=events)
    await bus.js.publish(subjects.audit(NodeName("a"), "np"), codec.encode(told))


async def test_audit_events_are_found_once_and_followed(cluster: Source, bus: Bus, tmp_path: Path) -> None:
    request = Inspection(
        at_us=AT_US + 5_000,
        event="http",
        source=Address("10.0.0.1"),
        destination=Address("10.0.0.2"),
        protocol="TCP",
        url="/secret",
        packet="c2VjcmV0",
    )
    known = [(b"reader-token", "reader", "read"), (b"all-token", "all", "read,content")]
    lines = [f"{name} {scopes} {sha256(token).hexdigest()}" for token, name, scopes in known]
    (tmp_path / "tokens").write_text("# who may ask\n" + "\n".join(lines) + "\n")
    reader, everything = ({"Authorization": f"Bearer {name}-token"} for name in ("reader", "all"))
    await tell(bus, "1", decided(AT_US), decided(AT_US + DAY_US, "Allow"), request)
    await tell(bus, "1", decided(AT_US), decided(AT_US + DAY_US, "Allow"), request)  # sent again
    async with serving(bus, tmp_path, tokens=str(tmp_path / "tokens"), retention_days=3_650) as api:
        for path in await every_path(api):
            await api.get(path, 401)
        await api.get("/v1/audit", 401)
        await api.get("/v1/audit", 401, {"Authorization": "Bearer wrong"})
        whole = await api.get("/v1/audit", headers=everything)
        assert [(one["kind"], one.get("verdict", "")) for one in whole["items"]] == [
            ("np", "Allow"),
            ("l7", ""),
            ("np", "Drop"),
        ]
        assert whole["items"][1]["event"]["url"] == "/secret"
        assert "secret" not in json.dumps((await api.get("/v1/audit", headers=reader))["items"][1])
        assert {one["destination_pod"] for one in whole["items"]} == {"x/db"}
        paged, more = [], ""
        for _ in range(4):
            page = await api.get(f"/v1/audit?limit=1&continue={more}", headers=reader)
            paged += page["items"]
            more = page.get("more", "")
        assert [one["time"] for one in paged[:3]] == [one["time"] for one in whole["items"]]
        for question, count in (
            ("verdict=Drop", 1),
            ("pod=x/web", 3),
            ("pod=x/other", 0),
            ("kind=l7", 1),
            ("node=b", 0),
        ):
            assert len((await api.get(f"/v1/audit?{question}", headers=reader))["items"]) == count, question
        assert len((await api.get("/v1/audit?policy=k8snetworkpolicies:x:closed", headers=reader))["items"]) == 2
        until = whole["items"][2]["time"]
        assert len((await api.get(f"/v1/audit?until={until}", headers=reader))["items"]) == 1

        async with api.session.get(f"{api.url}/v1/audit/follow?verdict=Drop", headers=reader) as stream:
            assert await stream.content.readline() == b": following\n"
            loss = Loss(at_us=AT_US, lines=1, reason="the rate limit")
            await tell(bus, "2", decided(AT_US, "Allow"), loss, decided(AT_US + 9))
            async with asyncio.timeout(60):
                told = [await stream.content.readline() for _ in range(3)]
            assert told[1] == b"event: audit\n"
            assert json.loads(told[2].removeprefix(b"data: "))["verdict"] == "Drop"
    async with serving(
        bus, tmp_path, tokens=str(tmp_path / "tokens"), retention_days=3_650
    ) as api:  # a restart goes on where it was
        assert len((await api.get("/v1/audit", headers=reader))["items"]) == 6
        assert 'sluice_query_api_requests_total{status="2xx"}' in await api.text("/metrics")


async def every_path(api: Client) -> list[str]:
    """A path for each that the API has."""
    told = json.loads(await api.text("/openapi.json"))
    names = {"kind": "pods", "namespace": "x", "name": "web", "node": "a", "group": "g", "backend": "ovs"}
    paths = [path.format_map(names) for path in told["paths"]]
    answers = [one["get"]["responses"]["200"] for path, one in told["paths"].items() if path != "/v1/audit/follow"]
    for answer in (one["content"]["application/json"] for one in answers):
        jsonschema.validate(answer["example"], answer["schema"])
    operations = [one for ways in told["paths"].values() for one in ways.values()]
    parameters = [one for operation in operations for one in operation.get("parameters", ())]
    assert [one["name"] for one in parameters if not one.get("description")] == []
    assert len(paths) > 10
    return [f"{path}?from=x/web&to=x/db&port=80" if path == "/v1/verdicts" else path for path in paths]


async def test_certificates_of_clients_say_who_asks_and_what_he_may(cluster: Source, bus: Bus, tmp_path: Path) -> None:
    ours, strangers = trustme.CA(), trustme.CA()
    served = ours.issue_cert("127.0.0.1")
    served.private_key_pem.write_to_path(tmp_path / "key.pem")
    for number, blob in enumerate(served.cert_chain_pems):
        blob.write_to_path(tmp_path / "certificate.pem", append=number > 0)
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    token = sha256(b"all-token").hexdigest()
    (tmp_path / "tokens").write_text(
        f"all read,content {token}\nviewer read,content CN=Some Viewer\nnobody write CN=writer\n"
    )
    names = {name: str(tmp_path / f"{name}.pem") for name in ("certificate", "key")}
    settings = {**names, "client_ca": str(tmp_path / "ca.pem"), "tokens": str(tmp_path / "tokens")}

    def context(issuer: trustme.CA | None, name: str = "") -> ssl.SSLContext:
        made = ssl.create_default_context()
        ours.configure_trust(made)
        if issuer is not None:
            issuer.issue_cert("client.example", common_name=name).configure_cert(made)
        return made

    request = Inspection(
        at_us=AT_US,
        event="http",
        source=Address("10.0.0.1"),
        destination=Address("10.0.0.2"),
        protocol="TCP",
        url="/secret",
    )
    await tell(bus, "1", request)
    for scopes, others in (("read", 200), ("", 401)):
        async with serving(bus, tmp_path, **settings, client_scopes=scopes, retention_days=3_650) as api:
            api.url = api.url.replace("http:", "https:")

            async def got(
                tls: ssl.SSLContext, headers: Mapping[str, str] | None = None, api: Client = api
            ) -> tuple[int, bool]:
                async with api.session.get(f"{api.url}/v1/audit", ssl=tls, headers=headers) as answer:
                    return answer.status, b"/secret" in await answer.read()

            assert await got(context(ours, "Some Viewer")) == (200, True)
            assert await got(context(ours, "somebody")) == (others, False)
            assert await got(context(ours, "writer")) == (403, False)
            assert await got(context(ours, "somebody"), {"Authorization": "Bearer all-token"}) == (200, True)
            for wrong in (context(None), context(strangers, "Some Viewer")):
                with pytest.raises(aiohttp.ClientError):
                    await got(wrong)


async def test_the_command_line_shows_its_certificate(
    cluster: Source, bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = trustme.CA()
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name, issued in (("server", ours.issue_cert("127.0.0.1")), ("client", ours.issue_cert("client.example"))):
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    served = {"certificate": str(tmp_path / "server.pem"), "key": str(tmp_path / "server.key")}
    monkeypatch.setenv("SLUICE_API_CA", str(tmp_path / "ca.pem"))
    async with serving(bus, tmp_path, **served, client_ca=str(tmp_path / "ca.pem"), retention_days=3_650) as api:
        words = ["get", "objects", "pods", "--api", api.url.replace("http:", "https:")]

        async def sluice() -> tuple[int, str]:
            said = await asyncio.to_thread(CliRunner().invoke, main, words, catch_exceptions=False)
            return said.exit_code, said.output

        code, said = await sluice()
        assert (code, "no API answers" in said) == (2, True), said
        monkeypatch.setenv("SLUICE_API_CERTIFICATE", str(tmp_path / "client.pem"))
        code, said = await sluice()
        assert (code, "SLUICE_API_KEY (None)" in said) == (2, True), said
        monkeypatch.setenv("SLUICE_API_KEY", str(tmp_path / "client.key"))
        code, said = await sluice()
        assert (code, "web" in said) == (0, True), said


async def test_audit_that_was_made_anew_is_read_from_its_beginning(cluster: Source, bus: Bus, tmp_path: Path) -> None:
    for batch in ("1", "2", "3"):
        await tell(bus, batch, decided(AT_US))
    async with serving(bus, tmp_path, retention_days=3_650) as api:
        await eventually(api, "/v1/audit", lambda found: len(found["items"]) == 3)
    await bus.js.delete_stream("AUDIT")
    await streams.ensure(bus)
    await tell(bus, "4", decided(AT_US))
    async with serving(bus, tmp_path, retention_days=3_650) as api:
        await eventually(api, "/v1/audit", lambda found: len(found["items"]) == 4)


async def test_days_that_are_too_old_go(cluster: Source, bus: Bus, tmp_path: Path) -> None:
    await tell(bus, "1", decided(AT_US))
    async with serving(bus, tmp_path, retention_days=1) as api:
        await eventually(api, "/v1/audit", lambda found: found["items"] == [])


async def test_the_command_line_asks_it(cluster: Source, bus: Bus, tmp_path: Path) -> None:
    await tell(bus, "1", decided(AT_US), Loss(at_us=AT_US, lines=3, reason="the rate limit"))
    async with serving(bus, tmp_path, retention_days=3_650) as api:

        async def sluice(*words: str) -> str:
            arguments = [*words, "--api", api.url]
            said = await asyncio.to_thread(CliRunner().invoke, main, arguments, catch_exceptions=False)
            assert said.exit_code == 0, said.output
            return said.output

        await eventually(api, "/v1/audit", lambda found: len(found["items"]) == 2)
        assert [line.split()[2] for line in (await sluice("get", "objects", "pods")).splitlines()] == [
            "NAME",
            "db",
            "web",
        ]
        assert "k8snetworkpolicies:x:closed" in await sluice("get", "groups")
        assert [line.split()[:3] for line in (await sluice("get", "nodes")).splitlines()][1] == ["a", "ovs", "yes"]
        events = [line.split() for line in (await sluice("get", "audit")).splitlines()]
        assert sorted(line[2:5] for line in events[1:]) == [["Drop", "x/web", "x/db:80"], ["LOST", "-", "-"]]
        assert json.loads(await sluice("get", "audit", "--verdict", "drop", "-o", "json"))["items"][0]["node"] == "a"
        assert "name: closed" in await sluice("get", "objects", "netpol", "-o", "yaml")
        told = await sluice("query", "endpoint", "x/db")
        assert [" ".join(line.split()) for line in told.splitlines()] == [
            "x/db on a, 10.0.0.2",
            "applied NetworkPolicy x/closed",
            "isolated by NetworkPolicy x/closed",
        ]
        refused = await asyncio.to_thread(CliRunner().invoke, main, ["query", "endpoint", "x/no", "--api", api.url])
        assert (refused.exit_code, "no such Pod" in refused.output) == (2, True)


BAD = (
    ("/v1/verdicts?from=x/web&to=nobody&port=80", 400, "cannot be the source or destination of a packet"),
    ("/v1/verdicts?from=x/web&to=x/nobody&port=80", 404, "no such Pod"),
    ("/v1/verdicts?from=x/web&to=x/db&protocol=TCP", 400, "a TCP packet has a destination port"),
    ("/v1/verdicts?from=x/web&to=x/db", 400, "a TCP packet has a destination port"),
    ("/v1/verdicts?from=x/web&to=x/db&protocol=ICMP&port=80", 400, "an ICMP packet has no ports"),
    ("/v1/verdicts?from=x/web&to=x/db&port=80&icmp_type=8", 400, "write protocol=ICMP"),
    ("/v1/verdicts?from=x/web&to=x/db&port=80&igmp_type=17", 400, "write protocol=IGMP"),
    ("/v1/verdicts?from=x/web&to=225.1.2.3&protocol=IGMP&igmp_group=all", 400, "not an address"),
    ("/v1/verdicts?from=x/web&to=x/db&port=80&path=/admin", 400, "such as method=GET"),
    ("/v1/verdicts?from=x/web&to=x/db&port=80&method=GET&path=admin", 400, "begin with /"),
    ("/v1/verdicts?from=x/web&to=x/db&port=80&method=GET&sni=a.com", 400, "leave one out"),
    ("/v1/verdicts?from=x/web&to=x/db&port=80&protocol=UDP&method=GET", 400, "a UDP packet has neither"),
    ("/v1/verdicts?from=x/web&to=x/db&port=80&sorce_port=53", 400, "did you mean source_port?"),
    ("/v1/verdicts?from=x/web&to=x/db&port=99999", 422, "port"),
    ("/v1/verdicts?from=x/web&to=x/db&port=80&seq=999999", 404, "the ledger has only the entries 1"),
    ("/v1/verdicts?from=x/web&to=x/db&port=80&at=yesterday", 400, "is not a time"),
    ("/v1/verdicts?from=x/web&to=x/db&port=80&at=2026-01-01&seq=1", 400, "leave one out"),
    ("/v1/objects?continue=***", 400, "not a value of `more`"),
    ("/v1/audit?continue=abcd", 400, "not a value of `more`"),
    ("/v1/policies?continue=W10", 400, "not a value of `more`"),
    ("/v1/groups?limit=0", 422, "limit"),
    ("/v1/objects/pods/x/nobody", 404, "no such object"),
    ("/v1/objects/nothing/x/y", 422, "kind"),
    ("/v1/nodes/nobody", 404, "no node of this name"),
    ("/v1/groups/nobody", 404, "no policy uses"),
    ("/v1/groups?zone=x", 400, "it has at, continue, limit, seq"),
    ("/v1/nothing", 404, "/openapi.json lists"),
)


async def test_bad_questions_are_told_why(source: Source, bus: Bus, tmp_path: Path) -> None:
    await source.put(namespace("x"), pod("x/web", ip="10.0.0.1"), pod("x/db", ip="10.0.0.2"))
    await source.listed()
    async with serving(bus, tmp_path) as api:
        for path, status, said in BAD:
            problem = await api.get(path, status)
            assert said in problem["detail"], path
            assert problem["status"] == status, path


@pytest.mark.timeout(600)
async def test_no_question_breaks_it(cluster: Source, bus: Bus, tmp_path: Path) -> None:
    """What its own description allows, and what it does not, made up by Schemathesis."""
    await tell(bus, "1", decided(AT_US))
    async with serving(bus, tmp_path, retention_days=3_650) as api:
        words = ["run", f"{api.url}/openapi.json", "--exclude-path=/v1/audit/follow", "--checks=not_a_server_error"]
        words += [f"--max-examples={EXAMPLES}", "--seed=1", "--workers=1", "--phases=examples,coverage,fuzzing"]
        asking = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            *words,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asking.communicate()
        assert asking.returncode == 0, said.decode()
        assert b"passed" in said, said.decode()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "0.0.0.0"}, "could use the API"),  # what must be refused
        ({"host": "::"}, "could use the API"),
        ({"client_ca": "x"}, "CLIENT_CA needs both"),
        ({"certificate": "x"}, "go together"),
        ({"tokens": "/nonexistent"}, "tokens cannot be read"),
        ({"certificate": "/nonexistent", "key": "/nonexistent"}, "PEM files"),
    ],
)
async def test_what_would_be_open_does_not_start(bus: Bus, tmp_path: Path, settings: dict[str, str], said: str) -> None:
    own = QueryApiSettings(port=0, store_dir=str(tmp_path), **settings)  # type: ignore[arg-type]  # texts all
    with pytest.raises(ConfigError, match=said):
        Api(Service(SERVICE, own, bus))


@pytest.mark.parametrize("line", ["reader", "reader read 12ab", "reader admin " + "0" * 64, "reader read CN="])
async def test_a_line_that_is_no_token_is_named(bus: Bus, tmp_path: Path, line: str) -> None:
    (tmp_path / "tokens").write_text(f"# tokens\n{line}\n")
    own = QueryApiSettings(port=0, store_dir=str(tmp_path), tokens=str(tmp_path / "tokens"))
    with pytest.raises(ConfigError, match="tokens:2"):
        Api(Service(SERVICE, own, bus))
