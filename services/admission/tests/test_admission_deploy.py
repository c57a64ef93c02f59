"""The configurations of the webhooks ask what the service answers, about every kind that admission has rules for."""

from pathlib import Path

import pytest
import yaml
from fastapi import FastAPI
from fastapi.routing import APIRoute

from sluice.contracts.kinds import BY_API, RESOURCES, Kind
from sluice.runtime.bus import Bus
from sluice.services.admission.lookup import Nowhere
from sluice.services.admission.shell import Shell
from sluice.services.admission.web import application

FOLDER = Path(__file__).parents[3] / "deploy" / "k8s" / "base" / "webhooks"
FILES = {
    "validating.yaml": ("/validate", "Fail"),
    "mutating.yaml": ("/mutate", "Fail"),
    "labels.yaml": ("/mutate/namespace", "Ignore"),
}
JUDGED = {
    Kind.TIER: {"CREATE", "UPDATE", "DELETE"},
    Kind.CLUSTER_GROUP: {"CREATE", "UPDATE", "DELETE"},
    Kind.GROUP: {"CREATE", "UPDATE", "DELETE"},
    Kind.CLUSTER_NETWORK_POLICY: {"CREATE", "UPDATE"},
    Kind.ANTREA_NETWORK_POLICY: {"CREATE", "UPDATE"},
    Kind.TRAFFIC_CONTROL: {"CREATE", "UPDATE"},
    Kind.MULTI_NETWORK_POLICY: {"CREATE", "UPDATE"},
}


def webhook(file):
    [configuration] = yaml.safe_load_all((FOLDER / file).read_text())
    [told] = configuration["webhooks"]
    return told


def operations(file):
    found = {}
    for rule in webhook(file)["rules"]:
        [group], [version] = rule["apiGroups"], rule["apiVersions"]
        api_version = f"{group}/{version}" if group else version
        for plural in rule["resources"]:
            [kind] = [
                kind
                for kind in BY_API.values()
                if (RESOURCES[kind].api_version, RESOURCES[kind].plural) == (api_version, plural)
            ]
            found[kind] = set(rule["operations"])
    return found


@pytest.fixture
def app() -> FastAPI:
    return application(Shell(Bus.__new__(Bus), Nowhere()))


@pytest.mark.parametrize("file", FILES)
def test_the_service_answers_there(file, app):
    path, policy = FILES[file]
    told = webhook(file)

    assert path in {
        route.path for route in app.routes if isinstance(route, APIRoute) and "POST" in (route.methods or ())
    }
    assert told["clientConfig"]["service"]["path"] == path
    assert told["failurePolicy"] == policy
    assert told["admissionReviewVersions"] == ["v1"]
    assert told["sideEffects"] == "None"


def test_every_rule_is_asked_for():
    assert operations("validating.yaml") == JUDGED
    assert operations("mutating.yaml").keys() == {Kind.CLUSTER_NETWORK_POLICY, Kind.ANTREA_NETWORK_POLICY}
    assert operations("labels.yaml").keys() == {Kind.NAMESPACE}


def test_the_kustomization_names_the_files():
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]

    assert listed == sorted(
        path.name for path in FOLDER.glob("*.yaml") if path.name not in ("labels.yaml", "kustomization.yaml")
    )
