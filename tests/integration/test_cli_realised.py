"""`sluice get status` and `sluice wait` on a bus: what they say and how they end, without a Kubernetes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from tests.integration.conftest import Source

from sluice.cli.main import main
from sluice.contracts import codec, subjects
from sluice.contracts.ids import NodeName, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.stats import NodeStats, TrafficCount
from sluice.contracts.status import DocumentProblem, NodeStatus, Problem, SourceStatus
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.output import Output
from sluice.services.group_resolver import app as group_resolver
from sluice.services.group_resolver.settings import GroupResolverSettings
from sluice.services.rule_compiler import app as rule_compiler
from sluice.services.rule_compiler.settings import RuleCompilerSettings
from sluice.testkit.builders import acnp, control, group, namespace, node, pod

SPEC = {"priority": 5, "appliedTo": [{"podSelector": {}}], "ingress": [{"action": "Drop"}]}
UNIT = subjects.unit(Kind.CLUSTER_NETWORK_POLICY, "", "p")

Report = Callable[..., Awaitable[None]]


@pytest.fixture
async def report(server: NatsServer, source: Source) -> AsyncIterator[Report]:
    """A cluster of a policy, a group and two nodes; tells what a node says."""
    async with AsyncExitStack() as stack:

        async def bus(name: str) -> Bus:
            return await stack.enter_async_context(await Bus.connect(server.url, name=name))

        resolver, _ = await stack.enter_async_context(
            group_resolver.opened(await bus("resolver"), GroupResolverSettings())
        )
        compiler, _ = await stack.enter_async_context(
            rule_compiler.opened(await bus("compiler"), RuleCompilerSettings())
        )
        reports = await stack.enter_async_context(
            await Output.open(await bus("nodes"), "STATUS", [subjects.status(NodeName("*"), "ovs")])
        )
        running = [asyncio.create_task(loop.run()) for loop in (resolver, compiler)]
        await source.put(
            namespace("x"), node("a"), node("b"), pod("x/one", node="a", ip="10.0.0.1"), pod("x/two", node="b")
        )
        await source.put(acnp("p", SPEC), group("x/g", {"childGroups": ["missing"]}))
        await source.listed()

        async def tell(name: str, *problems: Problem) -> None:
            status = NodeStatus(
                node=NodeName(name), backend="ovs", applied=Revision(1 << 60, 1), healthy=True, problems=problems
            )
            reports.put(subjects.status(NodeName(name), "ovs"), status)
            await reports.settled()

        yield tell
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@pytest.fixture
def sluice(server: NatsServer) -> "Sluice":
    """Runs the command against the bus, beside the loops of the test."""

    async def run(*words: str) -> Result:
        arguments = [*words, "--nats-url", server.url]
        return await asyncio.to_thread(CliRunner().invoke, main, arguments, catch_exceptions=False)

    return run


Sluice = Callable[..., Coroutine[None, None, Result]]


async def test_waiting_ends_when_the_last_node_has_it(report: Report, sluice: Sluice) -> None:
    waiting = asyncio.create_task(sluice("wait", "--for=realized", "acnp/p"))
    await report("a")
    await asyncio.sleep(0.3)
    assert not waiting.done()

    await report("b")
    result = await waiting

    assert result.exit_code == 0, result.output
    assert result.output == "ClusterNetworkPolicy p is realized\n"


async def test_waiting_in_vain_says_what_is_missing(report: Report, sluice: Sluice) -> None:
    await report("a")
    await report("b", Problem(unit=UNIT, state="failed", reason="no room; merge rules"))

    result = await sluice("wait", "--for=realized", "--timeout=5", "acnp/p", "netpol/none", "-n", "x")

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        'ClusterNetworkPolicy p is Failed on 1/2 nodes: 1 node fails: "b": "no room; merge rules"',
        "NetworkPolicy x/none does not exist",
    ]


async def test_the_table_has_what_kubernetes_would_say(report: Report, sluice: Sluice) -> None:
    await report("a")
    await report("b")
    await sluice("wait", "--for=realized", "acnp/p")

    table = await sluice("get", "status")
    rows = [line.split() for line in table.output.splitlines()]
    assert table.exit_code == 0
    assert rows[0] == ["KIND", "NAMESPACE", "NAME", "PHASE", "NODES", "WHY"]
    assert ["ClusterNetworkPolicy", "p", "Realized", "2/2"] in rows
    assert next(row for row in rows if row[0] == "Group")[:4] == ["Group", "x", "g", "NotComputed"]

    result = await sluice("get", "status", "acnp/p", "-o", "json")
    found: list[dict[str, Any]] = json.loads(result.output)
    assert [(one["name"], one["status"]["phase"], one["status"]["desiredNodesRealized"]) for one in found] == [
        ("p", "Realized", 2)
    ]
    missing = await sluice("get", "status", "acnp/none")
    assert missing.exit_code == 2
    assert "acnp/none: on the bus there is no ClusterNetworkPolicy none; check its name" in missing.output


async def test_documents_that_were_not_taken_in_are_told(
    report: Report, sluice: Sluice, server: NatsServer, source: Source
) -> None:
    await report("a")
    fault = DocumentProblem(file="late.yaml", line=7, path="$.spec.priority", reason="0 is out of range")
    subject = subjects.source_status("folder")
    async with await Bus.connect(server.url, name="ingest") as bus, await Output.open(bus, "STATUS", [subject]) as told:
        told.put(subject, SourceStatus(source="folder", digest="", upto=Revision(1, 1), problems=(fault,)))
        await told.settled()

    line = "rejected: late.yaml:7: $.spec.priority: 0 is out of range\n"
    assert (await sluice("get", "status", "--no-lint")).stderr == line
    assert (await sluice("get", "status", "acnp/p", "--no-lint")).stderr == ""
    waited = await sluice("wait", "--for=realized", "--timeout=5", "acnp/late")
    assert (waited.exit_code, waited.stderr) == (1, line)


async def test_what_is_probably_not_meant_is_told_as_kubernetes_would(
    report: Report, sluice: Sluice, source: Source
) -> None:
    await report("a")
    await report("b")
    await source.put(acnp("q", {**SPEC, "priority": 6, "ingress": [{"action": "Drop", "name": "late"}]}))
    await sluice("wait", "--for=realized", "acnp/p", "acnp/q")

    said = 'ClusterNetworkPolicy q ingress[0] "late" never matches: ClusterNetworkPolicy p ingress[0] "'
    table = await sluice("get", "status", "acnp/q", "acnp/p")
    rows = {line.split()[1]: line for line in table.output.splitlines()}
    assert f"warning: {said}" in rows["q"]
    assert "warning" not in rows["p"]
    (status,) = json.loads((await sluice("get", "status", "acnp/q", "-o", "json")).output)
    condition = status["status"]["conditions"][-1]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Warnings", "True", "NeverMatches")
    quick = await sluice("get", "status", "acnp/q", "--no-lint")
    assert "warning" not in quick.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("wait", "--for=realized", "acnp"), "name one object"),
        (("wait", "--for=realized", "wombats/p"), "no such kind"),
        (("wait", "--for=ready", "acnp/p"), "realized"),
        (("wait", "acnp/p"), "Missing option"),
    ],
    ids=["no name", "no kind", "another condition", "no condition"],
)
async def test_bad_words_are_told(sluice: Sluice, words: tuple[str, ...], said: str) -> None:
    result = await sluice(*words)

    assert result.exit_code == 2
    assert said in result.output


def test_without_a_bus_it_ends() -> None:
    words = ["get", "status", "--nats-url", "nats://127.0.0.1:1"]

    result = CliRunner().invoke(main, words, catch_exceptions=False)

    assert result.exit_code == 2
    assert "no bus answers" in result.output


async def test_traffic_controls_are_told_with_their_packets(
    report: Report, sluice: Sluice, source: Source, bus: Bus
) -> None:
    tunnel = {"vxlan": {"remoteIP": "10.0.10.2", "vni": 1}}
    taps = {"targetPort": {"ovsInternal": {"name": "tap0"}}, "returnPort": {"ovsInternal": {"name": "tap1"}}}
    await source.put(control("copies", {"targetPort": tunnel}), control("ips", {"action": "Redirect", **taps}))
    units = [subjects.unit(Kind.TRAFFIC_CONTROL, "", name) for name in ("copies", "ips")]
    for node_name, packets in (("a", 3), ("b", 4)):
        counts = TrafficCount(unit=units[0], mirrored=packets), TrafficCount(unit=units[1], redirected=1, dropped=2)
        stats = NodeStats(node=NodeName(node_name), backend="ovs", at_us=1, rules=(), traffic=counts)
        for older in (msgspec.structs.replace(stats, traffic=()), stats):
            await bus.js.publish(subjects.stats(stats.node, "ovs"), codec.encode(older), stream="STATS")
    await report("a")
    await report("b", Problem(unit=units[1], state="failed", reason="no such device"))
    await sluice("wait", "--for=realized", "trafficcontrol/copies")

    table = await sluice("get", "trafficcontrols")

    assert table.exit_code == 0, table.output
    header, *rows = [line.split() for line in table.output.splitlines()]
    assert header[-4:] == ["MIRRORED", "REDIRECTED", "DROPPED", "WHY"]
    copies, ips = (dict(zip(header, row, strict=False)) for row in rows)
    assert [copies[column] for column in header[:10]] == [
        *("copies", "Mirror", "Both", "vxlan:10.0.10.2/vni=1", "-", "2/2", "Realized", "7", "0", "0")
    ]
    assert (ips["TARGET"], ips["RETURN"], ips["NODES"]) == ("ovsInternal:tap0", "ovsInternal:tap1", "1/2")
    assert (ips["REDIRECTED"], ips["DROPPED"]) == ("2", "4")
    assert "no such device" in table.output
    one = json.loads((await sluice("get", "trafficcontrols", "copies", "-o", "json")).output)
    assert [each["name"] for each in one["trafficControls"]] == ["copies"]
    assert (await sluice("get", "trafficcontrols", "none")).exit_code == 2
