"""deploy/k8s as whoever answers for a cluster's security reads it: who may reach whom, and who could become what."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.built import containers, name, of, overlays, workloads

from sluice.cli.moments import of_files
from sluice.policy.packet import Packet, end
from sluice.policy.verdict import verdict

OWN = "sluice-system"
NODE, WORLD = "192.0.2.1", "198.51.100.9"
ADMISSION, API, WRITER = (f"{OWN}/{each}" for each in ("admission", "query-api", "status-writer"))
STRANGER, PROMETHEUS = "shop/stranger", "monitoring/prometheus"

REACHED = [
    ("the API server, the webhook", NODE, ADMISSION, 8443, "Allowed"),
    ("anybody, the API", STRANGER, API, 8080, "Allowed"),
    ("monitoring, metrics", PROMETHEUS, WRITER, 9400, "Allowed"),
    ("anybody else, metrics", STRANGER, WRITER, 9400, "Dropped"),
    ("a neighbour, metrics", API, WRITER, 9400, "Dropped"),
    ("monitoring, the webhook's health alone", PROMETHEUS, ADMISSION, 22, "Dropped"),
    ("admission, the bus", ADMISSION, NODE, 4222, "Allowed"),
    ("query-api, the bus", API, NODE, 4222, "Allowed"),
    ("status-writer, the bus", WRITER, NODE, 4222, "Allowed"),
    ("admission, the API server", ADMISSION, NODE, 6443, "Allowed"),
    ("status-writer, the API server", WRITER, NODE, 6443, "Allowed"),
    ("query-api, the API server", API, NODE, 6443, "Dropped"),
    ("query-api, the world", API, WORLD, 80, "Dropped"),
    ("status-writer, a neighbour", WRITER, API, 8080, "Dropped"),
    ("status-writer, a Pod of somebody", WRITER, STRANGER, 80, "Dropped"),
]


@cache
def cluster(folder: Path) -> Any:
    """Our Pods that have a network of their own, two others, and our policies."""
    pods = [
        {"metadata": {"namespace": OWN, "name": one["metadata"]["name"], **labelled(one)}, "spec": spec(one)}
        for one in workloads("overlays/ha")
        if not one["spec"]["template"]["spec"].get("hostNetwork")
    ]
    for each in (STRANGER, PROMETHEUS):
        namespace, own = each.split("/")
        pods.append({"metadata": {"namespace": namespace, "name": own}, "spec": {"containers": [{"name": "c"}]}})
    spaces = [{"metadata": {"name": each}} for each in (OWN, "shop", "monitoring")]
    objects = [{"apiVersion": "v1", "kind": "Namespace", **each} for each in spaces]
    objects += [{"apiVersion": "v1", "kind": "Pod", **each} for each in pods]
    (folder / "cluster.yaml").write_text(yaml.safe_dump_all([*objects, *of("overlays/ha", "NetworkPolicy")]))
    return of_files((str(folder / "cluster.yaml"),)).state


def labelled(one: dict[str, Any]) -> dict[str, Any]:
    return {"labels": one["spec"]["template"]["metadata"]["labels"]}


def spec(one: dict[str, Any]) -> dict[str, Any]:
    [own] = one["spec"]["template"]["spec"]["containers"]
    return {"containers": [{"name": own["name"], "ports": own["ports"]}]}


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return cluster(tmp_path_factory.mktemp("guard"))


@pytest.mark.parametrize(
    ("source", "to", "port", "expected"), [row[1:] for row in REACHED], ids=[r[0] for r in REACHED]
)
def test_our_own_policies_let_through_what_is_needed(
    there: Any, source: str, to: str, port: int, expected: str
) -> None:
    packet = Packet(source=end(source), destination=end(to), protocol="TCP", port=port)

    assert verdict(there, packet).outcome == expected


@overlays
def test_a_token_is_for_whoever_asks_the_api_server(overlay: str) -> None:
    """Of a Pod with several containers, for that one alone."""
    asks = {
        f"{one['kind']}/{one['metadata']['name']}": subject["name"]
        for one in of(overlay, "ClusterRoleBinding", "RoleBinding")
        for subject in one["subjects"]
    }
    mounted = {
        (where, each["name"])
        for where, each in containers(overlay)
        for mount in each["volumeMounts"]
        if mount["mountPath"].startswith("/var/run/secrets/kubernetes.io")
    }
    given = {name(one): one["spec"]["template"]["spec"] for one in workloads(overlay)}

    assert mounted == {("DaemonSet/node", "cni")}
    whole = {where for where, pod in given.items() if pod["automountServiceAccountToken"]}
    assert {given[where]["serviceAccountName"] for where in whole} | {"cni"} == set(asks.values())
    assert given["DaemonSet/node"]["automountServiceAccountToken"] is False
    assert all(one["automountServiceAccountToken"] is False for one in of(overlay, "ServiceAccount")), overlay


@overlays
def test_no_account_could_make_itself_another(overlay: str) -> None:
    """Whoever makes Secrets, Pods or roles, or speaks for others, is everybody."""
    dangerous = {"secrets", "serviceaccounts/token", "pods", "pods/exec", "deployments", "daemonsets", "*"}
    for one in of(overlay, "ClusterRole", "Role"):
        for rule in one["rules"]:
            assert "*" not in (*rule["verbs"], *rule["apiGroups"], *rule["resources"]), name(one)
            assert {"escalate", "bind", "impersonate"}.isdisjoint(rule["verbs"]), name(one)
            assert "rbac.authorization.k8s.io" not in rule["apiGroups"], name(one)
            if dangerous & set(rule["resources"]) and not set(rule["verbs"]) <= {"list", "watch"}:
                assert rule["resources"] == ["secrets"], name(one)
                assert rule["resourceNames"] == ["admission-authority"], name(one)
                assert set(rule["verbs"]) <= {"get", "update"}, name(one)
    assert "Secret/admission-authority" in {name(each) for each in of(overlay, "Secret")}


@overlays
def test_a_webhook_that_is_away_holds_up_nothing_but_policies(overlay: str) -> None:
    for one in of(overlay, "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"):
        for webhook in one["webhooks"]:
            groups = {group for rule in webhook["rules"] for group in rule["apiGroups"]}
            assert webhook["failurePolicy"] == "Fail"
            assert groups <= {"crd.antrea.io", "k8s.cni.cncf.io"}, name(one)
            assert not [
                rule for rule in webhook["rules"] if any("/" in each or "*" in each for each in rule["resources"])
            ]
            assert webhook["timeoutSeconds"] <= 10


@overlays
def test_pods_are_restricted_but_for_what_a_node_needs(overlay: str) -> None:
    """Kubernetes' `restricted`, but for the network of the node; and on nodes what they need of the host, by name."""
    host = {
        "/etc/sluice/bus", "/run/openvswitch", "/run/sluice", "/var/lib/sluice", "/var/log/antrea/networkpolicy",
        "/run/netns", "/proc/sys/net", "/sys", "/opt/cni/bin", "/etc/cni/net.d",
    }  # fmt: skip
    for one in workloads(overlay):
        pod = one["spec"]["template"]["spec"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name(one)
        assert not pod.get("hostPID"), name(one)
        assert not pod.get("hostIPC"), name(one)
        assert pod["priorityClassName"].startswith("system-"), name(one)
        assert not [each for each in pod["containers"] if each["securityContext"].get("privileged")], name(one)
        paths = {each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each}
        if name(one) == "DaemonSet/node":
            assert paths == host
        else:
            assert paths == set(), name(one)
            assert pod["securityContext"]["runAsUser"] > 0, name(one)


def test_every_replica_has_a_budget_and_is_spread_over_nodes_and_zones() -> None:
    budgets = {one["metadata"]["name"]: one["spec"] for one in of("overlays/ha", "PodDisruptionBudget")}
    for one in of("overlays/ha", "Deployment", "StatefulSet"):
        assert one["spec"]["replicas"] > 1, name(one)
        budget = budgets[one["metadata"]["name"]]
        assert budget["maxUnavailable"] == 1, name(one)
        stateless = one["kind"] == "Deployment"  # a server of NATS that is not ready may have what no other has
        assert budget.get("unhealthyPodEvictionPolicy") == ("AlwaysAllow" if stateless else None), name(one)
        pod = one["spec"]["template"]["spec"]
        spread = {each["topologyKey"] for each in pod["topologySpreadConstraints"]}
        if "affinity" in pod:
            required = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            spread |= {each["topologyKey"] for each in required}
        assert spread == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}, name(one)
