"""The manifests of examples/ run as they are."""

from pathlib import Path

import pytest

from sluice.admission.admit import admit
from sluice.contracts.kinds import SELF_CONTAINED, Kind
from sluice.contracts.objects import Pod
from sluice.kube.manifest import Document, parse

EXAMPLES = Path(__file__).parents[2] / "examples"
STORIES = sorted({path.relative_to(EXAMPLES).parts[0] for path in EXAMPLES.rglob("*.yaml")})


def documents(story):
    found = []
    for path in sorted((EXAMPLES / story).rglob("*.yaml")):
        for document in parse(path.read_bytes(), path.name):
            assert isinstance(document, Document), document
            assert admit(document.object) == (), path
            found.append(document)
    return found


def test_the_stories_are_there():
    assert {"antrea-policies", "kubernetes", "namespace-isolation", "secondary-networks", "traffic-control"} <= set(
        STORIES
    )


@pytest.mark.parametrize("story", STORIES)
def test_a_story_is_admitted_and_complete(story):
    held = documents(story)
    keys = [(document.kind, document.object.key) for document in held]
    spaces = {document.object.metadata.name for document in held if document.kind is Kind.NAMESPACE}
    pods = [document.object for document in held if isinstance(document.object, Pod)]

    assert len(keys) == len(set(keys)), "one object, one file: the folder as a whole can be a source"
    assert {document.object.metadata.namespace for document in held} - {""} <= spaces
    assert any(document.kind in SELF_CONTAINED | {Kind.TRAFFIC_CONTROL} for document in held)
    assert all(pod.addresses and pod.metadata.labels and pod.spec.containers for pod in pods)
    assert len({pod.addresses for pod in pods}) == len(pods)
    assert all(port.container_port for pod in pods for container in pod.spec.containers for port in container.ports)


@pytest.mark.parametrize("story", STORIES)
def test_a_story_is_told(story):
    told = (EXAMPLES / story / "README.md").read_text()

    for path in (EXAMPLES / story).glob("*.yaml"):
        assert f"`{path.name}`" in told
