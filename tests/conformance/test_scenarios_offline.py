"""What policy says of every scenario: `verdict()`, the first witness. `sluice lab run` asks the real datapath."""

import functools

import pytest
from tests.conformance.stories import HERE, called, folder_of, read_once

from sluice.contracts.objects import Pod
from sluice.lab import offline

STORIES = read_once()

ENOUGH = {
    "kubernetes": 45,
    "antrea": 100,
    "seeds": 48,
    "networks": 10,
    "l7": 8,
    "traffic-control": 21,
}
"""Scenarios of each folder, at least: none is lost by a mistake in how they are found."""


@pytest.mark.parametrize("name", ENOUGH)
def test_there_are_scenarios_enough(name):
    names = [story.name for story in STORIES if folder_of(story) == name]

    assert len(names) >= ENOUGH[name]
    assert sorted(names) == sorted(path.stem for path in (HERE / name).glob("*.yaml"))


BY_NAME = {called(story): story for story in STORIES}


@functools.cache
def outcome_of(name):
    return offline.run(BY_NAME[name])


@pytest.mark.parametrize("story", STORIES, ids=called)
def test_policy_agrees(story):
    outcome = outcome_of(called(story))

    assert outcome.checks
    assert [check for check in outcome.checks if not check.ok] == []


@pytest.mark.parametrize("story", STORIES, ids=called)
def test_a_scenario_asks_what_can_be_answered(story):
    """Both answers are expected somewhere, and a probe goes to a port that somebody serves: else it tells nothing."""
    serves: dict[str, set[int]] = {}
    for documents in (story.objects, *(told.apply for told in story.steps)):
        for document in documents:
            if isinstance(pod := document.object, Pod):
                ports = {port.container_port for container in pod.spec.containers for port in container.ports}
                serves.setdefault("/".join(pod.key), set()).update(ports)
    expected = {check.expect for check in outcome_of(called(story)).checks}

    for told in story.steps:
        for probe in told.step.probes:
            if probe.protocol != "ICMP" and "/" in probe.to and ":" not in probe.to:  # others answer on every port
                port = probe.port or (80 if probe.http else 443)
                assert port in serves[probe.to.partition("@")[0]], (told.name, probe)
        if told.step.matrix:
            assert all(told.step.matrix.port in ports for ports in serves.values()), told.name
    assert "Allowed" in expected
    counted = any(told.step.capture for told in story.steps)
    assert expected > {"Allowed"} or counted or story.name == "no-policy" or story.name.startswith("refused")


@pytest.mark.parametrize("story", STORIES, ids=called)
def test_a_source_port_is_used_once(story):
    """A second packet with the same five numbers belongs to the connection of the first, whatever policies say."""
    used = [
        (probe.from_, probe.to, probe.protocol, probe.port, probe.source_port)
        for told in story.steps
        for probe in told.step.probes
        if probe.source_port
    ]

    assert len(used) == len(set(used))
