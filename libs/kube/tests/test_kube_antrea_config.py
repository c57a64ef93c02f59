"""The ConfigMap of Antrea: what its settings mean here."""

import json

import pytest

from sluice.kube.antrea_config import GATES
from sluice.kube.manifest import Ignored, parse


def config(name="antrea-config", **files):
    data = {key.replace("_", "-") + ".conf": text for key, text in files.items()}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def hints(text):
    [found] = parse(text, "config.json")
    assert isinstance(found, Ignored)
    return list(found.hints)


AGENT = "disableTXChecksumOffload: true\nfeatureGates:\n  L7NetworkPolicy: true\n  TrafficControl: true\n"


def test_the_settings_of_the_seeds():
    controller = "featureGates:\n  L7NetworkPolicy: true\n"

    told = hints(config(antrea_agent=AGENT, antrea_controller=controller))

    assert [hint.partition(": ")[0] for hint in told] == [
        "L7NetworkPolicy",
        "TrafficControl",
        "disableTXChecksumOffload",
    ]
    assert all("always on here" in hint for hint in told[:2])


@pytest.mark.parametrize("gate", GATES)
def test_what_is_off_there_is_said(gate):
    [hint] = hints(config(antrea_agent=f"featureGates: {{{gate}: false}}"))

    always = GATES[gate].startswith("always on here")
    assert hint.startswith(f"{gate}: off in Antrea, but always on here" if always else f"{gate}: {GATES[gate]}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (config("other", antrea_agent=AGENT), []),
        (config(), []),
        (config(antrea_agent="trafficEncapMode: encap\n"), []),
        (config(antrea_agent="- a list\n"), []),
        (config(antrea_agent="featureGates: [TrafficControl]\n"), []),
        (config(antrea_agent="disableTXChecksumOffload: false\n"), []),
        (
            config(antrea_agent="featureGates: {Egress: true}\n"),
            ["Egress: Sluice has no such feature, so the setting has no effect here"],
        ),
        ('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": null, "data": 7}', []),
        ('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "antrea-config"}, "data": {"a": 1}}', []),
        ('{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "antrea-config"}, "data": {}}', []),
    ],
    ids=range(10),
)
def test_others(text, told):
    assert hints(text) == told


def test_what_cannot_be_read_is_told_with_its_line():
    [hint] = hints(config(antrea_agent="a: b\nfeatureGates: [\n"))

    assert hint.startswith("antrea-agent.conf: line ")
