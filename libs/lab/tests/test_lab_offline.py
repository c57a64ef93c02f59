"""Scenarios without packets: what verdict() says of them, and what walks through compiled flows."""

import uuid
from pathlib import Path

import pytest

from sluice.lab import demo, offline, reading, tales
from sluice.lab.lab import Lab
from sluice.lab.reasons import judged, state_of
from sluice.lab.suite import NO_PACKET, play
from sluice.lab.tales import Tale
from sluice.lab.walk import walked
from sluice.lab.world import World

ROOT = Path(__file__).parents[3]
TALES = tales.read([ROOT / "examples" / story for story in ("kubernetes", "namespace-isolation", "antrea-policies")])

LOGGING = """\
{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}}
---
apiVersion: crd.antrea.io/v1beta1
kind: NetworkPolicy
metadata: {name: logging}
spec:
  priority: 5
  appliedTo: [{podSelector: {}}]
  ingress: [{action: Allow, ports: [{port: 80}], enableLogging: true}, {action: Drop, enableLogging: true}]
"""

SCENARIO = """\
apiVersion: lab.sluice.dev/v1
kind: Scenario
metadata: {name: s, annotations: {lab.sluice.dev/offline: "true"}}
spec:
  objects:
  - {apiVersion: v1, kind: Pod, metadata: {name: a}}
  - {apiVersion: v1, kind: Pod, metadata: {name: b}}
  steps:
  - connections: [{open: c, from: default/a, to: default/b, port: 80}]
  - name: closed
    apply:
    - apiVersion: networking.k8s.io/v1
      kind: NetworkPolicy
      metadata: {name: closed}
      spec: {podSelector: {matchLabels: {}}}
    connections: [{check: c, expect: Allowed}]
    probes: [{from: default/a, to: default/b, protocol: ICMP, expect: Dropped}]
    matrix: {port: 80, default: EXPECT}
    denials:
    - object: {apiVersion: v1, kind: Pod, metadata: {name: A_b}}
      message: "name"
    - object: {apiVersion: v1, kind: Pod, metadata: {name: fine}}
    - {delete: {kind: Tier, name: emergency}, message: reserved}
    - {delete: {kind: Pod, name: a}}
"""


REQUESTS = """\
apiVersion: lab.sluice.dev/v1
kind: Scenario
metadata: {name: r}
spec:
  objects:
  - apiVersion: v1
    kind: Pod
    metadata: {name: a, labels: {app: a}}
    spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}
  - {apiVersion: v1, kind: Pod, metadata: {name: b}}
  - {apiVersion: v1, kind: Service, metadata: {name: s}, spec: {selector: {app: a}, ports: [{port: 8}]}}
  steps:
  - connections: [{open: before, from: default/b, to: default/a, http: {path: /x}}]
    probes: [{from: default/b, to: "svc:default/s", http: {path: /y}, port: 8, expect: Allowed}]
  - apply:
    - apiVersion: crd.antrea.io/v1beta1
      kind: NetworkPolicy
      metadata: {name: p}
      spec:
        priority: 5
        appliedTo: [{podSelector: {matchLabels: {app: a}}}]
        ingress: [{action: Allow, l7Protocols: [{http: {path: /x}}]}]
    connections:
    - {check: before, http: {path: /y}, expect: Allowed}
    - {open: c, from: default/b, to: default/a, http: {path: /x}}
    - {check: c, expect: Allowed}
    - {check: c, http: {path: "/x?q=/y"}, expect: Allowed}
    - {check: c, http: {path: "/y?q=/x"}, expect: Rejected}
    - {check: c, pipelined: [{path: /x}, {path: /x}], expect: Allowed}
    - {check: c, pipelined: [{path: /x}, {path: /y}, {path: /x}], expect: Rejected}
    probes: [{from: default/b, to: "svc:default/s", http: {path: /x}, port: 8, expect: Allowed}]
"""


def test_each_request_of_a_connection_is_decided_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(REQUESTS)
    (story,) = reading.read([path])
    outcome = offline.run(story)

    assert [check for check in outcome.checks if not check.ok] == []
    assert outcome.checks[-2].what == "connection c TCP 80 GET /x + GET /y + GET /x"


def told(tmp_path: Path, expect: str = "Dropped") -> reading.Story:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO.replace("EXPECT", expect))
    (story,) = reading.read([path])
    return story


def test_every_check_is_answered(tmp_path: Path) -> None:
    outcome = offline.run(told(tmp_path))

    assert outcome.offline
    assert [(check.kind, check.what, check.got.partition(":")[0], check.ok) for check in outcome.checks] == [
        ("probe", "connection c opens, TCP 80", "Allowed", True),
        ("probe", "connection c TCP 80", "Allowed", True),
        ("probe", "ICMP", "Dropped", True),
        ("matrix", "TCP 80", "Dropped", True),
        ("matrix", "TCP 80", "Dropped", True),
        ("denial", "an inline object", "Denied", True),
        ("denial", "an inline object", "Admitted", False),
        ("denial", "the end of Tier emergency", "Denied", True),
        ("denial", "the end of Pod a", "Admitted", False),
    ]
    assert not outcome.ok


def test_what_is_not_as_expected(tmp_path: Path) -> None:
    outcome = offline.run(told(tmp_path, "Allowed"))

    wrong = [(check.from_, check.to, check.expect, check.got) for check in outcome.checks if check.kind == "matrix"]
    assert wrong == [
        ("default/a", "default/b", "Allowed", "Dropped"),
        ("default/b", "default/a", "Allowed", "Dropped"),
    ]


async def test_a_datapath_may_be_required(tmp_path: Path) -> None:
    lab: Lab | None = None
    (outcome,) = [each async for each in play(lab, [told(tmp_path)], require_datapath=True)]

    assert (outcome.ok, outcome.error) == (False, NO_PACKET)


@pytest.mark.parametrize("tale", TALES, ids=lambda tale: tale.name)
def test_walked_packets_do_what_policy_says(tale: Tale) -> None:
    world = World(tale.nodes, lambda: str(uuid.uuid4()), lambda: "")
    outcomes = set()
    for documents in (tale.objects, *(change.apply for change in tale.changes)):
        for document in documents:
            world.put(document)
        asked = tales.questions(world)
        state = state_of(world.objects)
        verdicts = [str(judged(state, question).outcome) for question in asked]
        assert [result.result for result in walked(world, asked)] == verdicts
        outcomes |= set(verdicts)

    assert outcomes == {"Allowed", "Dropped"}


def test_the_demo_tells_before_and_after_with_reasons() -> None:
    lines: list[str] = []
    code = demo.offline(TALES[1:2], lines.append)
    said = "\n".join(lines)

    assert code == 0
    assert said.startswith("=== namespace-isolation, on node-1 and node-2 ===\nBefore any policy\n")
    assert "  x/a    -      yes     yes     yes" in said
    assert "1. own-namespace.yaml" in said
    assert "  Dropped now: 18, egress: isolated by NetworkPolicy x/own-namespace, no rule allows it" in said
    assert "In the end" in said
    assert "  x/a    -      yes     yes      .       .       .       .       .      yes" in said


def test_what_is_logged_is_not_rejected_by_that(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(LOGGING)
    lines: list[str] = []
    code = demo.offline(tales.read([tmp_path]), lines.append)

    assert code == 0, lines


def test_a_folder_without_policies_tells_nothing(tmp_path: Path) -> None:
    with pytest.raises(reading.BadScenario, match="no such folder"):
        tales.read([tmp_path / "nope"])
    (tmp_path / "pod.yaml").write_text("{apiVersion: v1, kind: Pod, metadata: {name: a}}\n")
    with pytest.raises(reading.BadScenario, match="no policies in there"):
        tales.read([tmp_path])


def test_a_scenario_is_a_tale_too(tmp_path: Path) -> None:
    told(tmp_path)
    (tale,) = tales.read([tmp_path])

    assert (tale.name, len(tale.objects)) == ("s", 2)
    assert [(change.title, len(change.apply)) for change in tale.changes] == [("closed", 1)]
