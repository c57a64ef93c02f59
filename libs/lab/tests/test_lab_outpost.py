"""What an outpost makes of the folder that people write to: placed Pods for ingest, bad files as they are."""

from pathlib import Path

import pytest
import structlog.testing

from sluice.contracts.ids import NodeName
from sluice.contracts.kinds import Kind
from sluice.lab.folder import ManifestFolder
from sluice.lab.outpost import Placing
from sluice.lab.world import Key

WEB = b"{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop}, spec: {containers: []}}"
DENY = b"""{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: shop},
  spec: {podSelector: {}, policyTypes: [Ingress]}}"""
ELSEWHERE = WEB.replace(b"spec: {", b"spec: {nodeName: node-7, ")
POD = Key(Kind.POD, "shop", "web")


@pytest.fixture
def placing() -> Placing:
    return Placing(NodeName("node-1"))


def names(placing: Placing) -> set[str]:
    return {key.name for key in placing.world.objects if key.kind in (Kind.POD, Kind.K8S_NETWORK_POLICY)}


def test_pods_are_placed_and_everything_else_is_as_it_was(placing):
    placing.take({"a.yaml": WEB, "b/c.yaml": DENY})

    assert names(placing) == {"web", "deny"}
    (pod,) = placing.world.pods().values()
    assert (pod.node, pod.addresses) == ("node-1", ("10.64.0.2",))


def test_a_pod_that_changes_but_for_its_place_stays_the_same_pod(placing):
    placing.take({"a.yaml": WEB})
    before = placing.world.pods()

    placing.take({"a.yaml": WEB.replace(b"namespace: shop}", b"namespace: shop, labels: {app: web}}")})

    assert placing.world.pods() == before


def test_what_is_in_no_file_goes(placing):
    placing.take({"a.yaml": WEB, "b.yaml": DENY})
    placing.take({"b.yaml": DENY})

    assert names(placing) == {"deny"}


def test_a_bad_file_is_handed_on_and_keeps_what_it_held(placing):
    placing.take({"a.yaml": WEB})
    placing.take({"a.yaml": b"kind: Pod"})

    assert names(placing) == {"web"}
    assert placing.bad == {"_bad/a.yaml": b"kind: Pod"}


def test_a_pod_of_another_node_is_told_and_stops_nothing(placing):
    structlog.reset_defaults()  # a command that ran before in this process may have said that this is nothing
    with structlog.testing.capture_logs() as logs:
        placing.take({"a.yaml": ELSEWHERE, "b.yaml": DENY})

    assert names(placing) == {"deny"}
    assert "node-7" in "".join(placing.unplaced)
    assert [line["event"] for line in logs] == ["object_not_placed"]


def test_a_namespace_that_goes_takes_nothing_that_files_hold(placing):
    namespace = b"{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"
    placing.take({"n.yaml": namespace, "a.yaml": WEB})
    placing.take({"a.yaml": WEB})

    assert names(placing) == {"web"}


def test_a_folder_of_a_run_before_holds_nothing_that_this_one_does_not_say(tmp_path: Path):
    first = ManifestFolder(tmp_path)
    first.hold({POD: b"{}"}, {"_bad/a.yaml": b"?"})

    ManifestFolder(tmp_path).hold({}, {})

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
