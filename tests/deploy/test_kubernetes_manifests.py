"""deploy/k8s: what `kubectl apply -k` would send, held to Kubernetes' schemas and to our own services."""

import os
import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from tests.deploy.built import ROOT, built, containers, filled_in, name, of, overlays, workloads

from sluice.contracts.kinds import RESOURCES, Kind
from sluice.kube.manifest import Document, parse
from sluice.runtime.service import prefix
from sluice.runtime.settings import load

NOBODYS = {"monitoring.coreos.com/v1"}  # a definition of somebody else's: Kubernetes has no schema of it
SCHEMAS = "1.34"
HAND_MADE = {"query-api"}
"""A Secret that people make, beside those of `sluice admin keys secrets`: deploy/k8s/README.md says how."""


@overlays
def test_kubernetes_takes_every_object(overlay: str) -> None:
    for one in built(overlay):
        if (
            one["apiVersion"] not in NOBODYS and one["kind"] != "CustomResourceDefinition"
        ):  # tests of crds.py have those
            kubernetes_validate.validate(one, SCHEMAS, strict=True)


@overlays
def test_each_object_is_there_once_and_says_whose_it_is(overlay: str) -> None:
    names = [(one["apiVersion"], name(one), one["metadata"].get("namespace")) for one in built(overlay)]

    assert len(set(names)) == len(names)
    assert all(one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "sluice" for one in built(overlay))


@overlays
def test_a_service_knows_every_setting_that_it_is_given(overlay: str) -> None:
    seen = set()
    for where, each in containers(overlay):
        if not each["image"].split("/")[-1].startswith("nats"):
            module = import_module(f"sluice.services.{each['name'].replace('-', '_')}.settings")
            kinds = [kind for kind in vars(module).values() if getattr(kind, "__module__", "") == module.__name__]
            [own] = [kind for kind in kinds if isinstance(kind, type) and kind.__name__.endswith("Settings")]
            known = {prefix(each["name"]) + field.upper() for field in own.__struct_fields__}  # type: ignore[attr-defined]
            filled = {variable["name"]: filled_in(variable.get("value", "node-1")) for variable in each.get("env", ())}
            load(own, prefix(each["name"]), filled)  # ConfigError: one is unknown, or not what it should be
            if overlay == "overlays/ha" and (replicas := prefix(each["name"]) + "STREAM_REPLICAS") in known:
                assert {"name": replicas, "value": "3"} in each["env"], f"{where}: {each['name']}"
            seen.add(each["name"])

    assert seen == {path.parent.name for path in ROOT.glob("services/*/pyproject.toml")}


def test_every_image_is_a_target_of_the_dockerfile() -> None:
    targets = set(re.findall(r"^FROM .* AS (\S+)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE))
    named = {each["image"].rpartition("/")[2].partition(":")[0] for _, each in containers("overlays/ha")}

    assert named <= targets


def test_there_is_a_run_to_spare_for_each_shard() -> None:
    for one in of("overlays/ha", "Deployment"):
        for variable in one["spec"]["template"]["spec"]["containers"][0]["env"]:
            if variable["name"].endswith("_SHARDS"):
                assert one["spec"]["replicas"] == int(variable["value"]) + 1, name(one)


@overlays
def test_no_container_may_more_than_it_needs(overlay: str) -> None:
    allowed = {
        "cni": {"NET_ADMIN", "SYS_ADMIN"},
        "node-host": {"NET_ADMIN"},
        "node-l7": {"NET_ADMIN", "NET_RAW"},
        "node-ovs": {"NET_ADMIN"},
        "node-tc": {"NET_ADMIN"},
    }
    for where, each in containers(overlay):
        security = each["securityContext"]
        assert security["readOnlyRootFilesystem"], where
        assert security["allowPrivilegeEscalation"] is False, where
        assert security["capabilities"]["drop"] == ["ALL"], where
        assert set(security["capabilities"].get("add", ())) <= allowed.get(each["name"], set()), where
        assert {"requests", "limits"} <= each["resources"].keys(), where
        assert {"livenessProbe", "readinessProbe", "startupProbe"} <= each.keys(), where
    for one in of(overlay, "Deployment", "StatefulSet"):
        assert one["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"], name(one)


def labels_of_pods(one: dict[str, Any]) -> list[dict[str, str]]:
    """Those of a StatefulSet have one more each."""
    common = one["spec"]["template"]["metadata"]["labels"]
    if one["kind"] != "StatefulSet":
        return [common]
    names = [f"{one['metadata']['name']}-{number}" for number in range(one["spec"]["replicas"])]
    return [common | {"statefulset.kubernetes.io/pod-name": each} for each in names]


@overlays
def test_whoever_is_selected_is_there(overlay: str) -> None:
    pods = [labels for one in workloads(overlay) for labels in labels_of_pods(one)]

    def selected(labels: dict[str, str]) -> bool:
        return any(labels.items() <= pod.items() for pod in pods)

    for one in workloads(overlay):
        assert one["spec"]["selector"]["matchLabels"].items() <= one["spec"]["template"]["metadata"]["labels"].items()
    for one in of(overlay, "PodDisruptionBudget"):
        assert selected(one["spec"]["selector"]["matchLabels"]), name(one)
    for one in of(overlay, "Service"):
        own = [
            port["name"]
            for each in workloads(overlay)
            if any(one["spec"]["selector"].items() <= labels.items() for labels in labels_of_pods(each))
            for container in each["spec"]["template"]["spec"]["containers"]
            for port in container.get("ports", ())
        ]
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= set(own), name(one)
    for one in of(overlay, "ClusterRoleBinding", "RoleBinding"):
        assert f"{one['roleRef']['kind']}/{one['roleRef']['name']}" in {name(each) for each in built(overlay)}
        for subject in one["subjects"]:
            assert f"ServiceAccount/{subject['name']}" in {name(each) for each in built(overlay)}


@overlays
def test_every_volume_is_of_something_that_somebody_makes(overlay: str) -> None:
    maps = {one["metadata"]["name"] for one in of(overlay, "ConfigMap")}
    for one in workloads(overlay):
        pod = one["spec"]["template"]["spec"]
        volumes = {each["name"]: each for each in pod["volumes"]}
        claimed = {each["metadata"]["name"] for each in one["spec"].get("volumeClaimTemplates", ())}
        for each in volumes.values():
            if "secret" in each:
                made = each["secret"]["secretName"]
                assert made in HAND_MADE or re.fullmatch(r"sluice-bus-[a-z0-9-]+", made), name(one)
            if "configMap" in each:
                assert each["configMap"]["name"] in maps, name(one)
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == volumes.keys() | claimed, name(one)


def test_ingest_may_read_every_kind_and_nothing_else() -> None:
    [role] = [one for one in of("base", "ClusterRole") if one["metadata"]["name"] == "sluice-ingest"]
    may = {
        (group, plural)
        for rule in role["rules"]
        if set(rule["verbs"]) == {"list", "watch"}
        for group in rule["apiGroups"]
        for plural in rule["resources"]
    }

    assert may == {(resource.api_version.rpartition("/")[0], resource.plural) for resource in RESOURCES.values()}


def test_status_writer_may_write_every_status_and_no_object_but_tiers() -> None:
    [role] = [one for one in of("base", "ClusterRole") if one["metadata"]["name"] == "sluice-status-writer"]
    written = {
        plural
        for rule in role["rules"]
        if {"patch", "create", "update"} & set(rule["verbs"])
        for plural in rule["resources"]
    }

    assert written == {f"{resource.plural}/status" for resource in RESOURCES.values() if resource.status} | {"tiers"}


def test_people_may_write_what_kubernetes_lets_them_write() -> None:
    """Admin, edit and view of a Namespace reach the kinds of policies; tiers and TrafficControls are for stewards."""

    def reach(label: str) -> set[str]:
        found = set()
        for one in of("base", "ClusterRole"):
            if one["metadata"]["labels"].get(f"rbac.authorization.k8s.io/aggregate-to-{label}") == "true":
                found |= {plural for rule in one["rules"] for plural in rule["resources"]}
        return found

    assert reach("view") >= {
        RESOURCES[kind].plural for kind in Kind if RESOURCES[kind].api_version.startswith("crd.antrea.io")
    }
    assert {"networkpolicies", "clusternetworkpolicies", "clustergroups", "multi-networkpolicies"} <= reach("edit")
    assert {"tiers", "trafficcontrols"}.isdisjoint(reach("edit") | reach("admin"))
    assert "groups" in reach("admin")


@overlays
def test_our_own_policies_are_admitted(overlay: str) -> None:
    policies = of(overlay, "NetworkPolicy")
    found = list(parse(yaml.safe_dump_all(policies).encode(), "guard.yaml"))

    assert len(found) == len(policies) > 0
    assert all(isinstance(one, Document) for one in found), found


def test_the_alarms_are_those_of_compose() -> None:
    ours = yaml.safe_load((ROOT / "deploy/k8s/components/monitoring/rules.yaml").read_text())
    theirs = yaml.safe_load((ROOT / "deploy/compose/observability/alerts.yml").read_text())

    assert ours["spec"] == theirs
    told = set(re.findall(r"^\| (Sluice\w+) \|", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE))
    assert {rule["alert"] for group in theirs["groups"] for rule in group["rules"]} == told


def with_component(name: str, overlay: str, folder: Path) -> list[dict[str, Any]]:
    """The overlay of somebody who adds the component."""
    k8s = os.path.relpath(ROOT / "deploy" / "k8s", folder)
    wanted = {"resources": [f"{k8s}/{overlay}"], "components": [f"{k8s}/components/{name}"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    made = subprocess.run(["kubectl", "kustomize", folder], check=False, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    return list(yaml.safe_load_all(made.stdout))


def test_monitoring_goes_with_an_overlay(tmp_path: Path) -> None:
    made = with_component("monitoring", "overlays/small", tmp_path)

    assert {"PodMonitor", "PrometheusRule"} <= {one["kind"] for one in made}
    [monitor] = [one for one in made if one["kind"] == "PodMonitor"]
    asked = {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]}
    heard = set()
    for one in made:
        if one["kind"] == "Deployment":
            [own] = one["spec"]["template"]["spec"]["containers"]
            given = {each["name"]: each.get("value") for each in own["env"]}
            if given.get(prefix(own["name"]) + "HEALTH_HOST") == "0.0.0.0":
                heard |= {own["name"] for port in own["ports"] if port["name"] in asked}
    assert heard == {one["metadata"]["name"] for one in made if one["kind"] == "Deployment"}


@overlays
def test_ingest_may_write_what_people_write_where_somebody_adds_it(overlay: str, tmp_path: Path) -> None:
    """The component adds a role, its binding and a variable, and changes nothing else."""
    before = {name(one): one for one in built(overlay)}
    after = {name(one): one for one in with_component("writable", overlay, tmp_path)}

    assert sorted(each for each, one in after.items() if one != before.get(each)) == [
        "ClusterRole/sluice-ingest-write",
        "ClusterRoleBinding/sluice-ingest-write",
        "Deployment/ingest",
    ]
    assert before.keys() <= after.keys()
    [own] = after["Deployment/ingest"]["spec"]["template"]["spec"]["containers"]
    [was] = before["Deployment/ingest"]["spec"]["template"]["spec"]["containers"]
    writable = {"name": "SLUICE_INGEST_WRITABLE", "value": "true"}
    assert sorted(own["env"], key=str) == sorted([*was["env"], writable], key=str)
    [subject] = after["ClusterRoleBinding/sluice-ingest-write"]["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "ingest", "namespace": "sluice-system"}
    assert after["ClusterRoleBinding/sluice-ingest-write"]["roleRef"]["name"] == "sluice-ingest-write"
    may = {
        (group, plural, verb)
        for rule in after["ClusterRole/sluice-ingest-write"]["rules"]
        for group in rule["apiGroups"]
        for plural in rule["resources"]
        for verb in rule["verbs"]
    }
    written = [each for each in RESOURCES.values() if each.written]
    assert may == {
        (each.api_version.rpartition("/")[0], each.plural, verb)
        for each in written
        for verb in ("get", "create", "update", "delete")  # what KubernetesWriter asks: GET, POST, PUT, DELETE
    }
    for each in ("ClusterRole/sluice-ingest-write", "ClusterRoleBinding/sluice-ingest-write", "Deployment/ingest"):
        kubernetes_validate.validate(after[each], SCHEMAS, strict=True)
        assert after[each]["metadata"]["labels"]["app.kubernetes.io/part-of"] == "sluice"


@pytest.mark.parametrize("conf", ["base/nats/nats.conf", "overlays/small/nats.conf"])
def test_the_bus_takes_its_configuration(conf: str, tmp_path: Path) -> None:
    from sluice.contracts.streams import MAX_PAYLOAD_BYTES

    text = (ROOT / "deploy" / "k8s" / conf).read_text()
    assert f"max_payload: {MAX_PAYLOAD_BYTES}" in text

    servers = ("--server", "nats.sluice-system.svc", "--server", "*.nats-peers.sluice-system.svc")
    words = ("admin", "keys", "create", "--keyring", str(tmp_path / "keys"), *servers, "--node", "node-1")
    sluice = str(ROOT / ".venv" / "bin" / "sluice")
    made = subprocess.run((sluice, *words), check=False, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    (tmp_path / "bus").symlink_to(tmp_path / "keys" / "server")
    text = text.replace("/etc/nats/bus", str(tmp_path / "bus")).replace("/data", str(tmp_path / "data"))
    (tmp_path / "nats.conf").write_text(text)
    server = (str(ROOT / ".venv" / "bin" / "nats-server"), "-t", "-c", str(tmp_path / "nats.conf"))
    checked = subprocess.run(
        server, env=os.environ | {"POD_NAME": "nats-0"}, check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
