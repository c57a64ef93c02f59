"""From a Kubernetes API and back: objects are mirrored, compiled, and their status says how far they are in force.

ingest, group-resolver, rule-compiler and status-writer run on a real nats-server and the double of an API server; what
nodes report is written by hand.
"""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sluice.contracts import subjects
from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.ids import NodeName, Revision
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.status import NodeStatus, Problem
from sluice.drivers.kubernetes.access import Access
from sluice.drivers.kubernetes.client import Client
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.output import Output
from sluice.services.group_resolver import app as group_resolver
from sluice.services.group_resolver.settings import GroupResolverSettings
from sluice.services.ingest import app as ingest
from sluice.services.ingest.settings import IngestSettings
from sluice.services.rule_compiler import app as rule_compiler
from sluice.services.rule_compiler.settings import RuleCompilerSettings
from sluice.services.status_writer import shell as status_writer
from sluice.services.status_writer import tiers
from sluice.services.status_writer.pace import Pace
from sluice.services.status_writer.writer import Writer
from sluice.testkit.apiserver.server import ApiServer
from sluice.testkit.apiserver.workloads import pod

PATIENCE_S = 30
CRDS = Path(__file__).parents[2] / "deploy" / "k8s" / "base" / "crds"
NODE_A, NODE_B = NodeName("node-a"), NodeName("node-b")
FAR = 1 << 40
"""A sequence that no test reaches."""


class Cluster:
    """A Kubernetes with Sluice in it, but for its nodes."""

    def __init__(self, api: ApiServer, reports: Output) -> None:
        self.api, self._reports = api, reports

    def put(self, kind: Kind, document: dict[str, Any]) -> None:
        resource = RESOURCES[kind]
        self.api.store.put(self.api.store.shelves[resource.api_version, resource.plural], document)

    def delete(self, kind: Kind, namespace: str, name: str) -> None:
        resource = RESOURCES[kind]
        self.api.store.delete(self.api.store.shelves[resource.api_version, resource.plural], (namespace, name))

    def status(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        resource = RESOURCES[kind]
        held = self.api.store.shelves[resource.api_version, resource.plural].objects[namespace, name]
        found: dict[str, Any] = msgspec.json.decode(held.body).get("status", {})
        return found

    async def report(self, node: NodeName, *problems: Problem, healthy: bool = True, applied: int = FAR) -> None:
        """What the node says: it has applied all there will be, unless told otherwise."""
        status = NodeStatus(
            node=node,
            backend="ovs",
            applied=Revision(self._reports.revision.epoch + FAR, applied),
            healthy=healthy,
            detail="" if healthy else "the switch does not answer",
            problems=problems,
        )
        self._reports.put(subjects.status(node, "ovs"), status)
        await self._reports.settled()

    async def says(self, kind: Kind, namespace: str, name: str, **wanted: Any) -> dict[str, Any]:
        """The status of the object, once these fields of it are so."""
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    found = self.status(kind, namespace, name)
                    if found and all(found.get(field) == value for field, value in wanted.items()):
                        return found
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"{kind} {namespace}/{name} says {found}, not {wanted}")


@asynccontextmanager
async def cluster_in(folder: Path, nats: NatsServer) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(ApiServer.run(crds=CRDS))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())

        async def bus(name: str) -> Bus:
            return await stack.enter_async_context(await Bus.connect(nats.url, name=name))

        client = await stack.enter_async_context(Client(Access(master=api.url), "test"))
        settings = IngestSettings(source="kubernetes", master=api.url, lease_namespace="x", retry_s=0.5, absent_s=0.5)
        lease = ingest.lease_of(client, settings)
        await lease.claim()
        shell, source = await stack.enter_async_context(ingest.mirrored(await bus("ingest"), client, lease, settings))
        resolver, _ = await stack.enter_async_context(
            group_resolver.opened(await bus("resolver"), GroupResolverSettings())
        )
        compiler, _ = await stack.enter_async_context(
            rule_compiler.opened(await bus("compiler"), RuleCompilerSettings())
        )
        writer = Writer(client, Pace(1000, 100, time.monotonic()))
        statuses = status_writer.Shell(await bus("status"), writer)
        patterns = [subjects.status(node, "ovs") for node in (NODE_A, NODE_B)]
        reports = await stack.enter_async_context(await Output.open(await bus("nodes"), "STATUS", patterns))
        running = [
            tasks.create_task(work, name=str(work))
            for work in (
                source.run(),
                lease.hold(),
                shell.run(),
                resolver.run(),
                compiler.run(),
                writer.run(),
                statuses.run(),
                statuses.lint(0.2, 1000),
                tiers.keep(client, 0.5),
            )
        ]
        try:
            yield Cluster(api, reports)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


@pytest.fixture
async def cluster(tmp_path: Path, server: NatsServer) -> AsyncIterator[Cluster]:
    async with cluster_in(tmp_path, server) as running:
        running.put(Kind.NAMESPACE, {"metadata": {"name": "x"}})
        running.put(Kind.NAMESPACE, {"metadata": {"name": "y"}})
        for node in (NODE_A, NODE_B):
            running.put(Kind.NODE, {"metadata": {"name": node}})
        running.put(Kind.POD, pod("x", "a", node=NODE_A, ip="10.0.0.1"))
        running.put(Kind.POD, pod("x", "b", node=NODE_B, ip="10.0.0.2"))
        yield running


def drop_all(name: str = "p", **spec: Any) -> dict[str, Any]:
    selector = {"podSelector": {"matchLabels": {"app": "web"}}}
    return {
        "metadata": {"name": name},
        "spec": {"priority": 5, "appliedTo": [selector], "ingress": [{"action": "Drop"}], **spec},
    }


ACNP, ANNP = Kind.CLUSTER_NETWORK_POLICY, Kind.ANTREA_NETWORK_POLICY


async def test_a_policy_is_realised_node_by_node(cluster: Cluster) -> None:
    cluster.put(ACNP, drop_all())
    await cluster.says(ACNP, "", "p", phase="Realizing", desiredNodesRealized=2, currentNodesRealized=0)

    await cluster.report(NODE_A)
    await cluster.says(ACNP, "", "p", phase="Realizing", currentNodesRealized=1)

    unit = subjects.unit(ACNP, "", "p")
    await cluster.report(NODE_B, Problem(unit=unit, state="failed", reason="no room for its rules; merge some"))
    failed = await cluster.says(ACNP, "", "p", phase="Failed", currentNodesRealized=1)
    assert [(one["type"], one["status"]) for one in failed["conditions"]] == [
        ("Realizable", "True"),
        ("RealizationFailure", "True"),
    ]
    assert failed["conditions"][1]["message"] == '1 node fails: "node-b": "no room for its rules; merge some"'

    await cluster.report(NODE_B)
    await cluster.says(ACNP, "", "p", phase="Realized", currentNodesRealized=2, observedGeneration=1)

    cluster.delete(Kind.POD, "x", "b")
    await cluster.says(ACNP, "", "p", phase="Realized", desiredNodesRealized=1)
    cluster.put(ACNP, drop_all(priority=6))
    await cluster.says(ACNP, "", "p", phase="Realized", observedGeneration=2)


async def test_a_group_of_another_namespace_makes_a_policy_unrealizable(cluster: Cluster) -> None:
    await cluster.report(NODE_A)
    await cluster.report(NODE_B)
    cluster.put(Kind.GROUP, {"metadata": {"name": "g", "namespace": "x"}, "spec": {"podSelector": {}}})
    policy = drop_all(appliedTo=[{"group": "g"}])
    policy["metadata"]["namespace"] = "x"
    cluster.put(ANNP, policy)
    await cluster.says(ANNP, "x", "p", phase="Realized", desiredNodesRealized=2)
    await cluster.says(Kind.GROUP, "x", "g")

    other: dict[str, Any] = {"podSelector": {}, "namespaceSelector": {}}
    cluster.put(Kind.GROUP, {"metadata": {"name": "g", "namespace": "x"}, "spec": other})

    found = await cluster.says(ANNP, "x", "p", phase="Pending", desiredNodesRealized=0, currentNodesRealized=0)
    assert [(one["type"], one["status"], one["reason"]) for one in found["conditions"]] == [
        ("Realizable", "False", "NetworkPolicyAppliedToUnsupportedGroup")
    ]
    assert "g" in found["conditions"][0]["message"]


async def test_groups_say_whether_their_members_are_known(cluster: Cluster) -> None:
    def condition(status: dict[str, Any]) -> tuple[str, ...]:
        (one,) = status["conditions"]
        return one["type"], one["status"], one.get("reason", "")

    cluster.put(Kind.CLUSTER_GROUP, {"metadata": {"name": "parent"}, "spec": {"childGroups": ["child"]}})
    found = await cluster.says(Kind.CLUSTER_GROUP, "", "parent")
    assert condition(found)[:2] == ("GroupMembersComputed", "False")

    cluster.put(Kind.CLUSTER_GROUP, {"metadata": {"name": "child"}, "spec": {"podSelector": {}}})
    async with asyncio.timeout(PATIENCE_S):
        while condition(found)[1] != "True":
            await asyncio.sleep(0.02)
            found = cluster.status(Kind.CLUSTER_GROUP, "", "parent")


async def test_a_policy_that_is_not_taken_in_says_so(cluster: Cluster) -> None:
    cluster.put(ACNP, drop_all(ingress=[{"action": "Drop", "from": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}]))

    found = await cluster.says(ACNP, "", "p", phase="Pending", observedGeneration=1)

    assert found["conditions"][0]["reason"] == "NetworkPolicyNotTakenIn"
    assert "10.0.0.0/99" in found["conditions"][0]["message"]


def warning(status: dict[str, Any]) -> dict[str, Any] | None:
    """The condition about what is probably not meant, if it is there."""
    return next((one for one in status.get("conditions", ()) if one["type"] == "Warnings"), None)


async def warns(cluster: Cluster, name: str, reason: str | None) -> str:
    """The message, once the policy warns by this reason; empty once it warns no more."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status = cluster.status(ACNP, "", name)
            found = warning(status)
            if status and (found["reason"] if found else None) == reason:
                return found["message"] if found else ""
            await asyncio.sleep(0.02)


async def test_what_is_probably_not_meant_is_a_warning_until_one_of_both_goes(cluster: Cluster) -> None:
    await cluster.report(NODE_A)
    await cluster.report(NODE_B)
    drop, allow = {"action": "Drop", "name": "no"}, {"action": "Allow", "name": "yes"}
    some = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}
    cluster.put(ACNP, drop_all("first", ingress=[{**allow, **some}]))
    cluster.put(ACNP, drop_all("second", ingress=[drop]))
    cluster.put(ACNP, drop_all("covered", priority=9, ingress=[allow]))

    contradicts = 'ClusterNetworkPolicy second ingress[0] "no" contradicts ClusterNetworkPolicy first ingress[0] "yes"'
    covered = 'ClusterNetworkPolicy covered ingress[0] "yes" never matches: ClusterNetworkPolicy second ingress[0] "no"'
    assert (await warns(cluster, "first", "Conflict")).startswith(contradicts)
    assert (await warns(cluster, "second", "Conflict")).startswith(contradicts)
    assert (await warns(cluster, "covered", "NeverMatches")).startswith(covered)
    found = await cluster.says(ACNP, "", "first", phase="Realized", currentNodesRealized=2)
    assert [(one["type"], one["status"]) for one in found["conditions"]] == [
        ("Realizable", "True"),
        ("Warnings", "True"),
    ]

    cluster.delete(ACNP, "", "second")

    for name in ("first", "covered"):
        assert await warns(cluster, name, None) == ""
        await cluster.says(ACNP, "", name, phase="Realized")


async def kubectl(cluster: Cluster, folder: Path, *words: str) -> str:
    config = cluster.api.kubeconfig(folder / "kubeconfig")
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        f"--kubeconfig={config}",
        f"--cache-dir={folder / 'cache'}",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        said, wrong = await process.communicate()
    assert process.returncode == 0, wrong.decode()
    return said.decode()


def columns(said: str) -> list[list[str]]:
    """Each table's header, by columns; titles hold single spaces."""
    return [
        [title.strip() for title in line.split("  ") if title.strip()]
        for line in said.splitlines()
        if line.startswith("NAME ")
    ]


@pytest.fixture
def a_kubectl() -> None:
    if shutil.which("kubectl") is None:
        pytest.fail("this machine lacks kubectl: run `.task/system kubectl` (Debian: kubernetes-client)")


@pytest.mark.usefixtures("a_kubectl")
async def test_kubectl_shows_what_people_know(cluster: Cluster, tmp_path: Path) -> None:
    if not CRDS.is_dir():
        pytest.fail(f"{CRDS}: no definitions, so nobody knows short names and columns")
    cluster.put(ACNP, drop_all("test-cnp", tier="emergency"))
    policy = drop_all("test-annp", tier="securityops")
    policy["metadata"]["namespace"] = "default"
    cluster.put(Kind.NAMESPACE, {"metadata": {"name": "default"}})
    cluster.put(ANNP, policy)
    cluster.put(Kind.CLUSTER_GROUP, {"metadata": {"name": "test-cg"}, "spec": {"podSelector": {}}})
    cluster.put(Kind.GROUP, {"metadata": {"name": "test-grp", "namespace": "default"}, "spec": {"podSelector": {}}})
    await cluster.report(NODE_A)
    await cluster.report(NODE_B)
    await cluster.says(ACNP, "", "test-cnp", phase="Realized", desiredNodesRealized=2)
    await cluster.says(ANNP, "default", "test-annp", phase="Realized")

    said = await kubectl(cluster, tmp_path, "get", "tr,acnp,annp,cg,grp")

    policies = ["NAME", "TIER", "PRIORITY", "AGE"]
    assert columns(said) == [["NAME", "PRIORITY", "AGE"], policies, policies, ["NAME", "AGE"], ["NAME", "AGE"]]
    rows = {words[0].rpartition("/")[2]: words[1:-1] for line in said.splitlines() if (words := line.split())}
    assert rows["test-cnp"] == ["emergency", "5"]
    assert rows["test-annp"] == ["securityops", "5"]
    assert {name: int(rows[name][0]) for name in STATIC_TIERS} == STATIC_TIERS

    wide = await kubectl(cluster, tmp_path, "get", "acnp", "-o", "wide")
    assert {"DESIRED NODES", "CURRENT NODES"} <= set(columns(wide)[0])
    assert [word for word in wide.splitlines()[1].split() if word.isdigit()] == ["5", "2", "2"]
    ordered = await kubectl(cluster, tmp_path, "get", "tiers", "--sort-by=.spec.priority")
    assert [line.split()[0] for line in ordered.splitlines()[1:]] == list(STATIC_TIERS)
    for name in ("clusternetworkpolicies.crd.antrea.io", "acnp.crd.antrea.io"):
        assert "test-cnp" in await kubectl(cluster, tmp_path, "get", name)
    whole = json.loads(await kubectl(cluster, tmp_path, "get", "acnp", "test-cnp", "-o", "json"))
    assert whole["status"]["phase"] == "Realized"
