"""What the command line tells of the past of a bus: verdicts at any sequence, bisect, diff, plan, and the ledger."""

import asyncio
import json
import re
import tarfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec import structs
from tests.integration.conftest import Source
from tests.integration.test_bus_query_api import until

from sluice.cli import loglines, moments
from sluice.cli.main import main
from sluice.cli.restoring import manifest
from sluice.contracts import codec, subjects
from sluice.contracts.audit import AuditBatch, FlowDecision, Inspection
from sluice.contracts.explaining import Explanation
from sluice.contracts.ids import Address, NodeName, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import ObjectMeta
from sluice.contracts.programs import Direction, Origin
from sluice.contracts.services import SERVICE_LABEL, Endpoint, EndpointPort, EndpointSlice
from sluice.contracts.tracing import DecidingRule
from sluice.grouping.events import key_of
from sluice.ledger.weaving import Weaver
from sluice.runtime import past, streams
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer
from sluice.testkit.builders import acnp, annp, namespace, netpol, pod, service
from sluice.testkit.manifests import read

Sluice = Callable[..., Awaitable[Result]]
ASK = ("--from", "x/web", "--to", "x/db", "--port", "5432")
DENY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: out, namespace: x}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}
"""


@pytest.fixture
def sluice(server: NatsServer) -> Sluice:
    """Runs the command against the bus."""

    async def run(*words: str) -> Result:
        arguments = [*words, "--nats-url", server.url]
        return await asyncio.to_thread(CliRunner().invoke, main, arguments, catch_exceptions=False)

    return run


async def test_the_past_is_told(sluice: Sluice, source: Source, server: NatsServer, tmp_path) -> None:
    await source.put(namespace("x"), pod("x/web", ip="10.0.0.1", app="web"), pod("x/db", ip="10.0.0.2", app="db"))
    await source.put(*(pod(f"x/p{number}", ip=f"10.0.1.{number}") for number in range(20)))
    await source.put(netpol("x/closed"))
    await source.put(*(pod(f"x/p{number}", ip=f"10.0.2.{number}") for number in range(20)))
    await source.listed()

    now = await sluice("verdict", *ASK)
    assert now.output.splitlines()[0] == "x/web to x/db, TCP 5432: Dropped"
    assert "NetworkPolicy x/closed  since 20" in now.output
    turned = json.loads((await sluice("bisect", *ASK, "--since", "3", "-o", "json")).output)
    assert (turned["object"], turned["change"]) == ("NetworkPolicy x/closed", "was created")
    assert (turned["before"], turned["after"]) == ("Allowed", "Dropped")
    planted = turned["sequence"]
    for sequence, outcome in ((planted - 1, "Allowed"), (planted, "Dropped")):
        then = json.loads((await sluice("verdict", *ASK, "--seq", str(sequence), "-o", "json")).output)
        assert (then["sequence"], then["outcome"]) == (sequence, outcome)
    assert json.loads((await sluice("verdict", *ASK, "--at", "0s", "-o", "json")).output)["outcome"] == "Dropped"
    whole = await sluice("bisect", *ASK)
    assert (whole.exit_code, whole.output.splitlines()[0]) == (
        0,
        "x/web to x/db, TCP 5432: Allowed before, Dropped since",
    )
    rows = [re.match(r"  (egress|ingress) +", line) for line in whole.output.splitlines()[2:]]
    assert [row[1] for row in rows if row] == ["egress", "ingress"]
    assert len({row.end() for row in rows if row}) == 1, "one table"

    differs = await sluice("diff", "--seq", f"{planted - 1}..{planted}")
    assert "added" in differs.output
    assert "x/web -> x/db" in differs.output
    assert differs.exit_code == 1
    assert (await sluice("diff", "--seq", f"{planted}..{planted}")).output == "no difference\n"

    async with await Bus.connect(server.url, name="collector") as bus:
        event = FlowDecision(
            at_us=0,
            table="EgressRule",
            policy="K8sNetworkPolicy:x/p",
            direction="Egress",
            action="Allow",
            source=Address("10.0.0.1"),
            destination=Address("192.0.2.1"),
            destination_port=443,
            protocol="TCP",
            length=60,
        )
        batch = AuditBatch(node=NodeName("a"), log="np", id="1", events=(event, event))
        for _ in range(2):  # sent again: each line counts once
            await bus.js.publish(subjects.audit(NodeName("a"), "np"), codec.encode(batch))
        (tmp_path / "deny.yaml").write_text(DENY)
        planned = json.loads((await sluice("plan", "-f", str(tmp_path), "-o", "json")).output)
        assert [(one["destination"], one["times"], one["after"]) for one in planned["connections"]] == [
            ("192.0.2.1", 2, "Dropped")
        ]
        assert planned["recorded"] == 2

        here = await past.reach(bus)
        weaver = Weaver(here.epoch, every=10)
        for entry in await past.entries(bus, here.epoch, 0, here.last):
            if due := weaver.take(entry):
                subject = subjects.checkpoint(here.epoch, due.last)
                await bus.js.publish(subject, codec.encode(due.make().checkpoint))
        good = await sluice("ledger", "verify")
        assert good.exit_code == 0
        assert "no faults" in good.output
        await bus.js.delete_msg("LEDGER", planted)
        broken = await sluice("ledger", "verify")
        assert broken.exit_code == 1
        assert broken.output.splitlines()[0] == f"{planted}: missing: entry {planted} is gone"


EVERYTHING: tuple[tuple[str, str], ...] = (
    ("x/web x/db --port 80", "Allowed"),
    ("x/web x/db --port 81", "Dropped"),
    ("x/web x/db --port 80 --protocol UDP", "Dropped"),
    ("x/web x/db --port 5000 --protocol SCTP", "Allowed"),
    ("x/web x/db --protocol ICMP --icmp-type 8", "Dropped"),
    ("x/web 192.0.2.7 --port 9", "Allowed"),  # the ipBlock
    ("x/web 192.0.2.200 --port 9", "Dropped"),  # its exception
    ("x/web svc:x/db --port 8080", "Allowed"),
    ("x/web svc:x/db --port 8080 --protocol UDP", "Dropped"),
    ("x/web 10.96.0.1 --port 8080", "Allowed"),
    ("x/web 198.51.100.1 --port 80 --fqdn www.foo.com", "Rejected"),
    ("x/web 198.51.100.1 --port 80 --fqdn www.bar.com", "Dropped"),
    ("x/web 198.51.100.1 --port 80 --fqdn www.foo.com --http", "Allowed"),
    ("x/web 198.51.100.1 --port 443 --fqdn www.foo.com --sni www.foo.com", "Allowed"),
    ("x/web 198.51.100.1 --port 443 --fqdn www.foo.com --sni www.bar.com", "Rejected"),
)
"""Ends and options of a packet, and what became of it while the policy was there. Before and after it: Allowed."""

OUT: Any = {
    "priority": 5,
    "appliedTo": [{"podSelector": {"matchLabels": {"app": "web"}}}],
    "egress": [
        {
            "action": "Allow",
            "to": [{"podSelector": {"matchLabels": {"app": "db"}}}],
            "ports": [{"port": 80}, {"protocol": "SCTP", "port": 5000, "endPort": 5010}],
        },
        {"action": "Allow", "to": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}]},
        {
            "action": "Allow",
            "to": [{"fqdn": "*.foo.com"}],
            "l7Protocols": [{"http": {"path": "/public/*"}}, {"tls": {"sni": "www.foo.com"}}],
        },
        {"action": "Drop"},
    ],
}


async def test_everything_of_a_packet_is_asked_of_the_past(sluice: Sluice, source: Source, bus: Bus) -> None:
    served = EndpointSlice(
        api_version="discovery.k8s.io/v1",
        kind="EndpointSlice",
        metadata=ObjectMeta(name="db-1", namespace="x", labels={SERVICE_LABEL: "db"}),
        address_type="IPv4",
        endpoints=(Endpoint(addresses=("10.0.0.2",)),),
        ports=(EndpointPort(name="", port=80),),
    )
    web, db = (pod(f"x/{name}", ip=ip, app=name) for name, ip in (("web", "10.0.0.1"), ("db", "10.0.0.2")))
    to = service("x/db", {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 8080, "targetPort": 80}]}, app="db")
    before = await source.put(namespace("x"), web, db, to, served)
    policy = acnp("out", OUT)
    during = await source.put(policy)
    await asyncio.sleep(0.01)  # that times, told in milliseconds, tell the two moments apart
    after = await source.delete(key_of(policy))
    here = await past.reach(bus)
    times = {one.sequence: one.time_ns for one in await past.entries(bus, here.epoch, 0, here.last)}

    async def outcome(words: str, *when: str) -> str:
        start, end, *rest = words.split()
        request = ("GET www.foo.com/public/x",) if rest[-1] == "--http" else ()
        said = await sluice("verdict", "--from", start, "--to", end, *rest, *request, *when, "-o", "json")
        assert said.exit_code == 0, (words, said.output)
        return str(json.loads(said.output)["outcome"])

    at = moments.written(times[during.sequence])
    assert times[during.sequence] <= moments.Time().convert(at, None, None) < times[after.sequence]
    for words, then in EVERYTHING:
        assert await outcome(words, "--seq", str(during.sequence)) == then, words
        assert await outcome(words, "--at", at) == then, words
    for sequence in (before.sequence, after.sequence):
        for words, _ in EVERYTHING[1::5]:
            said = await outcome(words, "--seq", str(sequence))
            assert said == ("Dropped" if "svc:" in words and "UDP" in words else "Allowed"), words


async def test_manifests_are_put_back_to_what_they_were(sluice: Sluice, source: Source, tmp_path: Path) -> None:
    old, other = netpol("x/closed", {"policyTypes": ["Egress"]}), netpol("x/kept")
    await source.put(namespace("x"), pod("x/web", ip="10.0.0.1"), pod("x/db", ip="10.0.0.2"), old, other)
    then = await source.put(netpol("x/gone"))
    await source.put(netpol("x/closed"), netpol("x/new"), other)
    await source.delete(key_of(netpol("x/gone")))
    await source.listed()
    now = "# ours\n" + "---\n".join(manifest(codec.encode(one)) for one in (netpol("x/closed"), other))
    (tmp_path / "a.yaml").write_text(now)
    (tmp_path / "new.yaml").write_text(manifest(codec.encode(netpol("x/new"))))

    shown = await sluice("rollback", "--to", str(then.sequence))
    assert [" ".join(line.split()) for line in shown.output.splitlines()[:3]] == [
        "restore NetworkPolicy x/closed",
        "create NetworkPolicy x/gone",
        "delete NetworkPolicy x/new",
    ]
    assert shown.exit_code == 1
    assert "# delete NetworkPolicy x/new" in (await sluice("rollback", "--to", str(then.sequence), "-o", "yaml")).output

    done = await sluice("rollback", "--to", str(then.sequence), "--folder", str(tmp_path), "--yes")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.glob("*.yaml")) == ["a.yaml", "networkpolicy-x-gone.yaml"]
    objects = {key_of(one.object): one.object for file in tmp_path.glob("*.yaml") for one in read(file.read_text())}
    specs = {key.name: getattr(held, "spec", None) for key, held in objects.items()}
    assert specs == {one.metadata.name: one.spec for one in (old, other, netpol("x/gone"))}
    assert (await sluice("rollback", "--to", "999999")).exit_code == 2


async def test_a_support_bundle_holds_what_is_said_and_objects_if_asked(
    sluice: Sluice, source: Source, bus: Bus, tmp_path: Path
) -> None:
    stored = await source.put(namespace("x"), pod("x/web", ip="10.0.0.1"))

    async def mirrored() -> bool:
        return (await streams.origin(bus, "OBJECTS")).last_sequence >= stored.sequence

    await until(mirrored)
    for words, has_objects in (((), False), (("--objects",), True)):
        done = await sluice("support-bundle", "-o", str(tmp_path / "made.tar.gz"), *words)
        assert done.exit_code == 0, done.output
        with tarfile.open(tmp_path / "made.tar.gz") as archive:
            names = archive.getnames()
        assert {"sluice/versions.json", "sluice/streams.json"} <= set(names)
        assert ("sluice/objects/objects.pods.x.web.json" in names) == has_objects


async def test_a_bus_without_a_ledger_is_no_bus_of_ours(sluice: Sluice, server: NatsServer) -> None:
    result = await sluice("verdict", *ASK)
    assert result.exit_code == 2
    assert result.output.startswith(f"{server.url}: there is no stream LEDGER; this is not the bus of Sluice, or its")


async def test_what_the_engine_gave_up_late_is_of_the_rule_that_was_there(source: Source, bus: Bus) -> None:
    rule = {"name": "web", "action": "Allow", "l7Protocols": [{"http": {"path": "/a"}}]}
    policy = annp("x/asks", {"appliedTo": [{"podSelector": {}}], "ingress": [rule]})
    await source.put(namespace("x"), pod("x/web", ip="10.0.0.1"), policy)
    await source.listed()
    await asyncio.sleep(1.5)
    gone = await source.delete(key_of(policy))
    origin = Origin(kind=Kind.ANTREA_NETWORK_POLICY, namespace="x", name="asks", uid=Uid(policy.metadata.uid))
    of_tenant = Explanation(
        kind="entry",
        says="",
        node=NodeName("node-1"),
        applied=gone,
        rules=(DecidingRule(policy=origin, object_revision=gone, direction=Direction.INGRESS, name="web"),),
    )

    event = Inspection(
        at_us=time.time_ns() // 1_000 + 1_000_000,
        event="http",
        source=Address("10.0.0.9"),
        destination=Address("10.0.0.1"),
        protocol="TCP",
        url="/a",
    )
    said = await loglines.eve_log(bus, event, of_tenant, "")

    assert [(one.policy.name, one.name) for one in said.rules] == [("asks", "web")]
    with pytest.raises(SystemExit):
        await loglines.eve_log(bus, structs.replace(event, at_us=event.at_us - 3_600_000_000), of_tenant, "")
