"""A lab whose services and nodes have keys: all works, a rotation opens and blocks nothing, a stranger gets nowhere."""

import asyncio
import contextlib
import json
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from sluice.cli.main import main
from sluice.contracts import identities
from sluice.contracts.ids import NodeName
from sluice.lab import checks
from sluice.lab.ends import ends_of
from sluice.lab.lab import Lab
from sluice.lab.scenario import Probe, Step
from sluice.runtime import keyring
from sluice.testkit.manifests import read

pytestmark = [pytest.mark.datapath, pytest.mark.slow]

PODS = """\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: x, labels: {app: web}}
spec: {nodeName: node-1, containers: [{name: main, image: any, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: friend, namespace: x, labels: {app: friend}}
spec: {nodeName: node-2, containers: [{name: main, image: any, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: stranger, namespace: x, labels: {app: stranger}}
spec: {nodeName: node-2, containers: [{name: main, image: any}]}
"""
GUARD = """\
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec:
  priority: 5
  appliedTo: [{podSelector: {matchLabels: {app: web}}}]
  ingress:
    - {name: friends, action: Allow, from: [{podSelector: {matchLabels: {app: friend}}}]}
    - {name: others, action: Drop, enableLogging: true}
"""
LATER = """\
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: later}
spec:
  priority: 4
  appliedTo: [{podSelector: {matchLabels: {app: friend}}}]
  ingress:
    - {name: none, action: Drop, from: [{podSelector: {matchLabels: {app: stranger}}}]}
    - name: reading
      action: Allow
      ports: [{protocol: TCP, port: 8080}]
      l7Protocols: [{http: {method: GET}}]
"""
FRIEND = Probe(from_="x/friend", to="x/web", protocol="TCP", port=80, expect="Allowed")
STRANGER = Probe(from_="x/stranger", to="x/web", protocol="TCP", port=80, expect="Dropped")
BEFORE = Probe(from_="x/stranger", to="x/friend", protocol="TCP", port=80, expect="Allowed")
AFTER = Probe(from_="x/stranger", to="x/friend", protocol="TCP", port=80, expect="Dropped")
PATIENCE_S = 60


async def wrong(lab: Lab, *probes: Probe) -> list[str]:
    """What became of packets where it was not what it should be."""
    questions = list(checks.probes(Step(probes=probes), ends_of(lab.world)))
    answers = await lab.ask(questions)
    return [
        f"{question.from_} to {question.to}: {answer}"
        for question, answer in zip(questions, answers, strict=True)
        if answer.result != question.expect
    ]


@contextlib.asynccontextmanager
async def watched(lab: Lab) -> AsyncIterator[Counter[str]]:
    """Packets all the while; what became of them, and what should not have."""
    seen: Counter[str] = Counter()

    async def look() -> None:
        while True:
            seen.update(await wrong(lab, FRIEND, STRANGER) or ["right"])

    looking = asyncio.create_task(look())
    yield seen
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


def said(lab: Lab, event: str) -> list[tuple[str, dict[str, str]]]:
    """What the services' logs say of it, and which of them."""
    found = []
    for file in sorted(Path(lab.folder).rglob("*.log")):
        lines = file.read_text(errors="replace").splitlines()
        found += [(file.name, json.loads(line)) for line in lines if f'"{event}"' in line and line.startswith("{")]
    return found


async def until_said(lab: Lab, event: str, times: int = 1) -> list[tuple[str, dict[str, str]]]:
    async with asyncio.timeout(PATIENCE_S):
        while len(found := said(lab, event)) < times:  # noqa: ASYNC110  # files have no event
            await asyncio.sleep(0.2)
    return found


async def sluice(*arguments: str) -> str:
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def audited(lab: Lab) -> list[dict[str, object]]:
    """What the API knows of denials; nothing while it only starts."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{lab.api_url}/v1/audit", timeout=30) as answer:
            found: list[dict[str, object]] = json.load(answer)["items"]
    except OSError:
        return []
    return found


@pytest.mark.timeout(400)
async def test_a_lab_with_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    async with await Lab.start("identities", ["node-1", "node-2"], secure=True) as lab:
        assert lab.keys is not None
        monkeypatch.setenv("SLUICE_NATS_KEYS", str(lab.keys.operator.folder))
        await lab.serve()
        await lab.change(apply=read(PODS + "---\n" + GUARD))
        await lab.realised()
        assert await wrong(lab, FRIEND, STRANGER, BEFORE) == []
        await all_roads(lab)

        async with watched(lab) as seen:
            await rotated(lab)
            await lab.change(apply=read(LATER))
            await lab.realised()
        assert seen.keys() == {"right"}, seen
        assert await wrong(lab, FRIEND, STRANGER, AFTER) == []
        assert said(lab, "bus_permission_denied") == []

        await with_another_nodes_key(lab)


async def all_roads(lab: Lab) -> None:
    """What nodes log comes to the API, and nodes answer to the operator's questions."""
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(audited, lab):
            await wrong(lab, STRANGER)
            await asyncio.sleep(0.5)  # the API is asked, and tells nobody
    await asyncio.to_thread(through_the_api, lab)
    await sluice("get", "trafficcontrols", "--nats-url", lab.nats.url)
    way = await sluice("trace", "--from", "x/stranger", "--to", "x/web", "--port", "80", "--nats-url", lab.nats.url)
    assert "Dropped" in way


def through_the_api(lab: Lab) -> None:
    """It asks nodes what they hold, and ingest to write what is there already."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{lab.api_url}/v1/nodes/node-1/programs/ovs", timeout=30) as answer:
        assert json.load(answer)["items"]
    place = f"{lab.api_url}/v1/objects/acnps/_/guard"
    with direct.open(place, timeout=30) as answer:
        body = json.dumps(json.load(answer)["object"]).encode()
    put = urllib.request.Request(place, data=body, method="PUT", headers={"Content-Type": "application/json"})
    with direct.open(put, timeout=30) as answer:
        assert answer.status == 200


async def rotated(lab: Lab) -> None:
    """Everybody has another key, and certificates of another authority; nobody's old ones are accepted any more."""
    assert lab.keys is not None
    ring, now = lab.keys.ring, keyring.now()
    old = {identity: ring.credentials(identity).public_key() for identity in ring.identities}
    ring.renew(now, authority=True)
    ring.rotate(ring.identities, now)
    await reconfigured(lab)
    ring.retire(now + timedelta(minutes=1))
    await reconfigured(lab)
    assert not {key for identity, key in old.items() if ring.credentials(identity).public_key() == key}
    assert [name for name, each in lab.running.supervised.items() if each.restarts] == []


async def reconfigured(lab: Lab) -> None:
    """The server goes by the ring as it is now, and every service has come back to it."""
    came_back = len(said(lab, "bus_reconnected"))
    await lab.nats.reconfigure()
    await until_said(lab, "bus_reconnected", came_back + len(lab.running.programs))


async def with_another_nodes_key(lab: Lab) -> None:
    """It is told nothing and believed nothing; what its switch holds stays. With its own key it goes on."""
    assert lab.keys is not None
    mine, other = (lab.keys.ring.credentials(identities.node(NodeName(name))) for name in ("node-2", "node-1"))
    own = {name: (mine.folder / name).read_bytes() for name in ("seed", "tls.crt", "tls.key")}
    for name in own:
        (mine.folder / name).write_bytes((other.folder / name).read_bytes())
    programmer = lab.nodes[NodeName("node-2")].programmer
    programmer.kill()
    denied = await until_said(lab, "bus_permission_denied")
    assert {file for file, _ in denied} <= {"node-ovs.log"}
    assert {line["identity"] for _, line in denied} == {"node.node-2"}
    assert await wrong(lab, FRIEND, STRANGER, AFTER) == []

    for name, content in own.items():
        (mine.folder / name).write_bytes(content)
    programmer.kill()
    await lab.change(apply=read(PODS.replace("app: stranger", "app: friend")))
    await lab.realised()
    assert await wrong(lab, Probe(from_="x/stranger", to="x/web", protocol="TCP", port=80, expect="Allowed")) == []
