"""What `sluice verdict --seq` and the API say of the past is what packets did then.

A story is played in a lab, change after change; after each one packets are sent, and what became of them is written
down beside the entry of the ledger that the cluster had got to. The bus is killed twice on the way, the one who makes
checkpoints once, and in the end the ledger has lost its oldest entries. Then random ones of those packets are asked
about.
"""

import asyncio
import json
import random
import urllib.request
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace
from tests.integration.test_bus_query_api import until

from sluice.cli.main import main
from sluice.contracts.kinds import Kind
from sluice.kube.manifest import Document
from sluice.lab import checks
from sluice.lab.checks import Question
from sluice.lab.ends import ends_of
from sluice.lab.lab import Lab
from sluice.lab.parts import ProbeProtocol
from sluice.lab.scenario import Probe, Step
from sluice.lab.world import Key
from sluice.runtime import past
from sluice.testkit.manifests import read

pytestmark = [pytest.mark.datapath, pytest.mark.slow]

CHANGES = 48
PROBES = 6
"""After each change."""

ASKED = 100
"""Of all packets, so many are asked about afterwards."""

EVERY = 10
"""Entries from one checkpoint to the next."""

TRIES = 3
NAMES = "abcde"
NETWORK_POLICIES = (
    "podSelector: {}",
    "{podSelector: {matchLabels: {app: v1}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}",
    "{podSelector: {matchLabels: {app: v2}}, policyTypes: [Egress]}",
    "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.10.8.0/30}}]}]}",
    "{podSelector: {}, ingress: [{ports: [{protocol: UDP, port: 80}, {port: 81}]}]}",
)
RULES = (
    "ingress: [{action: Drop, from: [{podSelector: {matchLabels: {app: v2}}}]}]",
    "egress: [{action: Reject, to: [{podSelector: {matchLabels: {app: v1}}}]}]",
    "ingress: [{action: Allow, ports: [{port: 80, protocol: TCP}]}]",
    "egress: [{action: Drop, to: [{ipBlock: {cidr: 10.10.8.2/31}}], ports: [{protocol: UDP}]}]",
)


class Change(NamedTuple):
    """An object that is put, or the key of one that goes."""

    put: str = ""
    gone: Key | None = None


class Told(NamedTuple):
    """A packet, and what became of it when the cluster was as after this entry."""

    sequence: int
    question: Question
    got: str


def pod(name: str, app: str) -> str:
    address = f"10.10.8.{1 + NAMES.index(name)}"
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: x, labels: {{app: {app}, who: {name}}}}}\n"
        "spec: {containers: [{name: main, image: any, ports: [{containerPort: 80}, {containerPort: 81}]}]}\n"
        f"status: {{podIPs: [{{ip: {address}}}]}}\n"
    )


def begun() -> str:
    services = (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: x}}\n"
        f"spec: {{clusterIPs: [10.96.8.{1 + NAMES.index(name)}], selector: {{who: {name}}}, "
        "ports: [{name: t, protocol: TCP, port: 8080, targetPort: 80}, {name: u, protocol: UDP, port: 80}]}\n"
        for name in NAMES
    )
    return "---\n".join((*(pod(name, "v1") for name in NAMES), *services))


def change(chance: random.Random, there: Mapping[Key, Document]) -> Change:
    """One that may change what becomes of packets."""
    name, number = chance.choice(NAMES), chance.randrange(3)
    key = Key(Kind.POD, "x", name)
    policies = [one for one in there if one.kind in (Kind.K8S_NETWORK_POLICY, Kind.CLUSTER_NETWORK_POLICY)]
    pods = [one for one in there if one.kind is Kind.POD]
    match chance.randrange(6):
        case 0 if len(pods) > len(NAMES) - 1:
            return Change(gone=key)
        case 1 | 2 if policies:
            return Change(gone=chance.choice(sorted(policies)))
        case 3:
            spec = chance.choice(NETWORK_POLICIES)
            spec = spec if spec.startswith("{") else f"{{{spec}}}"
            kind = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
            return Change(put=f"{kind}metadata: {{name: p{number}, namespace: x}}\nspec: {spec}\n")
        case 4:
            applied = f"appliedTo: [{{podSelector: {{matchLabels: {{app: {chance.choice(('v1', 'v2'))}}}}}}}]"
            kind = "apiVersion: crd.antrea.io/v1beta1\nkind: ClusterNetworkPolicy\n"
            spec = f"{{priority: {1 + number}, {applied}, {chance.choice(RULES)}}}"
            return Change(put=f"{kind}metadata: {{name: p{number}}}\nspec: {spec}\n")
        case _:
            return Change(put=pod(name, chance.choice(("v1", "v2"))))


def probes(chance: random.Random, lab: Lab) -> Iterator[Question]:
    pods = sorted(lab.world.pods())
    asked = []
    for _ in range(PROBES):
        source, target = chance.sample(pods, 2)
        to, port = chance.choice(((target, 80), (target, 81), (f"svc:{target}", 8080)))
        protocol: ProbeProtocol = chance.choice(("TCP", "UDP")) if port == 80 else "TCP"
        asked.append(Probe(from_=source, to=to, protocol=protocol, port=port, expect="Allowed"))
    return checks.probes(Step(probes=tuple(asked)), ends_of(lab.world))


async def seen(lab: Lab, chance: random.Random) -> list[Told]:
    """What becomes of packets now."""
    questions = [replace(one, expect="Allowed") for one in probes(chance, lab)]
    here = await past.reach(lab.bus)
    answers = await lab.ask(questions, tries=TRIES)
    assert here == await past.reach(lab.bus), "nothing changes while packets are sent"
    return [Told(here.last, question, answer.result) for question, answer in zip(questions, answers, strict=True)]


@pytest.mark.timeout(400)
async def test_verdicts_of_the_past_are_what_packets_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_QUERY_API_CHECKPOINT_ENTRIES", str(EVERY))
    chance = random.Random(20_260_704)  # a story, not a secret
    told: list[Told] = []
    async with await Lab.start("past-packets") as lab:
        await lab.serve()
        await lab.change(apply=read(begun()))
        await lab.realised()
        for number in range(CHANGES):
            if number in (CHANGES // 3, 2 * CHANGES // 3):
                await lab.nats.kill()  # the lab starts it again
                if number > CHANGES // 2:
                    lab.running.programs["query-api"].kill()
            one = change(chance, lab.world.objects)
            await lab.change(apply=read(one.put), delete=[one.gone] if one.gone else [])
            await lab.realised()
            told += await seen(lab, chance)
        assert lab.running.supervised["nats-server"].restarts == 2
        assert {one.got for one in told} == {"Allowed", "Dropped", "Rejected"}
        first = await _aged(lab, told[len(told) // 4].sequence)

        old = await asyncio.to_thread(_sluice, lab, told[0])
        assert (old.exit_code, "older than the ledger goes back" in old.output) == (2, True)
        asked = chance.sample([one for one in told if one.sequence >= first], k=ASKED)
        assert len({one.sequence for one in asked}) > CHANGES // 3
        wrong = [(one, given) for one in asked if (given := await asyncio.to_thread(_given, lab, one)) != {one.got}]
        assert wrong == []


async def _aged(lab: Lab, before: int) -> int:
    """LEDGER has lost what is older than this. The first entry at which all that was can still be told."""
    here = await past.reach(lab.bus)

    async def reached() -> bool:
        known = await past.checkpoints(lab.bus, here.epoch)
        return bool(known) and known[-1].last > here.last - EVERY

    await until(reached)
    await lab.bus.js.purge_stream("LEDGER", seq=before)
    assert (await past.reach(lab.bus)).first == before
    return next(one.last for one in await past.checkpoints(lab.bus, here.epoch) if one.last + 1 >= before)


def _given(lab: Lab, one: Told) -> set[str]:
    """What the command says of the packet at that entry, and what the API does."""
    said = _sluice(lab, one)
    if said.exit_code:
        return {said.output}
    asks = {"from": one.question.from_, "to": one.question.to, "protocol": one.question.protocol}
    query = urlencode({**asks, "port": one.question.port, "seq": one.sequence})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{lab.api_url}/v1/verdicts?{query}", timeout=30) as answer:
        return {json.loads(said.output)["outcome"], json.load(answer)["verdict"]["outcome"]}


def _sluice(lab: Lab, one: Told) -> Result:
    asked = one.question
    ends = ["--from", asked.from_, "--to", asked.to, "--protocol", asked.protocol, "--port", str(asked.port)]
    return CliRunner().invoke(
        main, ["verdict", *ends, "--seq", str(one.sequence), "--nats-url", lab.nats.url, "-o", "json"]
    )
