"""What policy says of every scenario: `verdict()`, the first witness. `sluice lab run` asks the real datapath."""

from pathlib import Path

import pytest

from sluice.contracts.objects import Pod
from sluice.lab import offline, reading

FOLDER = Path(__file__).parent / "kubernetes"
STORIES = reading.read([FOLDER])


def test_there_are_scenarios_enough():
    assert len(STORIES) >= 30
    assert {story.name for story in STORIES} == {path.stem for path in FOLDER.glob("*.yaml")}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_policy_agrees(story):
    outcome = offline.run(story)

    assert outcome.checks
    assert [check for check in outcome.checks if not check.ok] == []


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_scenario_asks_what_can_be_answered(story):
    """Both answers are expected somewhere, and a probe goes to a port that somebody serves: else it tells nothing."""
    serves: dict[str, set[int]] = {}
    for documents in (story.objects, *(told.apply for told in story.steps)):
        for document in documents:
            if isinstance(pod := document.object, Pod):
                ports = {port.container_port for container in pod.spec.containers for port in container.ports}
                serves.setdefault("/".join(pod.key), set()).update(ports)
    expected = {check.expect for check in offline.run(story).checks}

    for told in story.steps:
        for probe in told.step.probes:
            assert probe.protocol == "ICMP" or probe.port in serves[probe.to], (told.name, probe)
        if told.step.matrix:
            assert all(told.step.matrix.port in ports for ports in serves.values()), told.name
    assert "Allowed" in expected
    assert "Dropped" in expected or story.name in ("no-policy", "refused")
