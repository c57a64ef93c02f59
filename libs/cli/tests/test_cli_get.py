"""`sluice get netpol`: the order of enforcement, as the documents of the kinds show it."""

import json

import pytest

NATIVE = """\
apiVersion: crd.antrea.io/v1beta1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}, uid: uid-{name}}}
spec:
  priority: {priority}
  tier: {tier}
  appliedTo: [{{podSelector: {{}}}}]
  ingress: [{{action: Drop}}]
  egress: [{{action: Drop}}]
---
"""
CLUSTER = NATIVE.replace(", namespace: {namespace}", "")
K8S = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}, namespace: default, uid: uid-{name}}}
spec: {{podSelector: {{}}, policyTypes: [Ingress, Egress], ingress: [{{}}, {{}}]}}
---
"""
TIER = """\
apiVersion: crd.antrea.io/v1beta1
kind: Tier
metadata: {name: mine}
spec: {priority: 10}
---
"""
MANIFEST = (
    CLUSTER.format(kind="ClusterNetworkPolicy", name="baseline", priority=10, tier="baseline")
    + K8S.format(name="test-2")
    + NATIVE.format(kind="NetworkPolicy", name="annp-10", namespace="shop", priority=10, tier="")
    + CLUSTER.format(kind="ClusterNetworkPolicy", name="acnp-2", priority=2.5, tier="application")
    + K8S.format(name="test-1")
    + CLUSTER.format(kind="ClusterNetworkPolicy", name="first", priority=9999, tier="mine")
    + TIER
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "policies.yaml"
    path.write_text(MANIFEST)
    return path


def test_in_the_order_of_enforcement(sluice, file) -> None:
    result = sluice("get", "netpol", "--sort-by=effectivePriority", "-f", file)

    header, *lines = [line.split() for line in result.output.splitlines()]
    assert result.exit_code == 0
    assert header == ["NAME", "APPLIED-TO", "RULES", "SOURCE", "TIER-PRIORITY", "PRIORITY"]
    assert [[line[0], *line[2:]] for line in lines] == [
        ["uid-first", "2", "AntreaClusterNetworkPolicy:first", "10", "9999"],
        ["uid-acnp-2", "2", "AntreaClusterNetworkPolicy:acnp-2", "250", "2.5"],
        ["uid-annp-10", "2", "AntreaNetworkPolicy:shop/annp-10", "250", "10"],
        ["uid-test-1", "3", "K8sNetworkPolicy:default/test-1", "<NONE>", "<NONE>"],
        ["uid-test-2", "3", "K8sNetworkPolicy:default/test-2", "<NONE>", "<NONE>"],
        ["uid-baseline", "2", "AntreaClusterNetworkPolicy:baseline", "253", "10"],
    ]
    applied = [line[1] for line in lines]
    assert applied[0] == applied[1] == applied[5]  # the same Pods are the same group
    assert applied[3] == applied[4] != applied[0]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["acnp-2", "annp-10", "baseline", "first", "test-1", "test-2"]),
        (("-n", "default"), ["test-1", "test-2"]),
        (("-T", "acnp"), ["acnp-2", "baseline", "first"]),
        (("-T", "ANNP"), ["annp-10"]),
        (("-T", "K8sNP", "-n", "shop"), []),
    ],
)
def test_some_of_them_by_name(sluice, file, words, names) -> None:
    result = sluice("get", "networkpolicy", "-f", file, "-o", "json", *words)

    assert [row["name"] for row in json.loads(result.output)["policies"]] == [f"uid-{name}" for name in names]


def test_groups_of_a_relative_policy_are_counted_and_nobody_is_none(sluice, tmp_path) -> None:
    path = tmp_path / "self.yaml"
    path.write_text(
        "".join(f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}\n---\n" for name in "xyz")
        + CLUSTER.format(kind="ClusterNetworkPolicy", name="p", priority=1, tier="").replace(
            "ingress: [{action: Drop}]", "ingress: [{action: Allow, from: [{namespaces: {match: Self}}]}]"
        )
        + CLUSTER.format(kind="ClusterNetworkPolicy", name="q", priority=1, tier="").replace(
            "podSelector: {}", "group: later"
        )
    )

    _, relative, nobody = sluice("get", "netpol", "-f", path).output.splitlines()

    assert " + 3 more  " in relative
    assert nobody.split()[1] == "<NONE>"
