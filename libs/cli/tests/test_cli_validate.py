"""`sluice validate`: a row an object, and an exit code that a pipeline can use."""

import json

import pytest

from sluice.cli.options import table

DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
NOT_YAML = "apiVersion: v1\nkind: [\n"
POD_OF_BAD_ADDRESS = "apiVersion: v1\nkind: Pod\nmetadata: {name: q, namespace: x}\nstatus: {podIP: 1.2.3}\n"
BAD = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: bad, namespace: x}
spec:
  podSelector: {}
  ingress:
    - ports: [{port: 70000}]
      from: [{}]
"""


def refused(output: str) -> list[list[str]]:
    """What stands in the columns of the rows of refused objects."""
    rows = [line for line in output.splitlines() if line.startswith("refused ")]
    return [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows]


def test_all_is_well(sluice, folder) -> None:
    result = sluice("validate", "-f", folder)

    rows = [
        ("RESULT", "OBJECT", "WHERE", "REASON"),
        ("accepted", "Namespace x", f"{folder}/namespaces.yaml:1", ""),
        ("accepted", "Namespace y", f"{folder}/namespaces.yaml:5", ""),
        ("accepted", "Pod x/a", f"{folder}/pods.yaml:1", ""),
        ("accepted", "Pod y/b", f"{folder}/pods.yaml:7", ""),
        ("accepted", "Pod y/c", f"{folder}/pods.yaml:12", ""),
        ("accepted", "NetworkPolicy x/to-a", f"{folder}/policy.yaml:2", ""),
    ]
    assert result.output == f"{table(rows)}\n6 accepted, 0 ignored, 0 refused\n"
    assert result.exit_code == 0


def test_a_bad_document_stops_nothing_else(sluice, folder) -> None:
    (folder / "a.yaml").write_text(f"{BAD}---\n{DEPLOYMENT}---\n{NOT_YAML}")

    result = sluice("validate", "-f", folder)

    assert result.exit_code == 1
    assert result.output.endswith("\n6 accepted, 1 ignored, 2 refused\n")
    assert [(row[1], row[2], row[3].partition(": ")[0]) for row in refused(result.output)] == [
        ("NetworkPolicy x/bad", f"{folder}/a.yaml:7", "$.spec.ingress[0].ports[0].port"),
        ("NetworkPolicy x/bad", f"{folder}/a.yaml:8", "$.spec.ingress[0].from[0]"),
        ("-", f"{folder}/a.yaml:15", "$"),
    ]


@pytest.mark.parametrize(
    ("second", "field", "named"),
    [
        ("metadata: {name: one, uid: u2}", "name", "the name of Namespace one"),
        ("metadata: {name: two, uid: u1}", "uid", "the uid of Namespace one"),
    ],
)
def test_of_two_objects_with_one_name_or_uid_the_first_counts(sluice, tmp_path, second, field, named) -> None:
    (tmp_path / "b.yaml").write_text(f"apiVersion: v1\nkind: Namespace\n{second}\n")
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: one, uid: u1}\n")

    result = sluice("validate", "-f", tmp_path)

    ((_, _, where, reason),) = refused(result.output)
    assert (where, reason) == (
        f"{tmp_path}/b.yaml:3",
        f"$.metadata.{field}: {named} in {tmp_path}/a.yaml, line 1, which comes first; remove one of them",
    )


def test_json_says_the_same(sluice, folder) -> None:
    (folder / "a.yaml").write_text(POD_OF_BAD_ADDRESS)

    result = sluice("validate", "-f", folder, "-f", "-", "-o", "json", stdin=DEPLOYMENT)

    said = json.loads(result.output)
    assert result.exit_code == 1
    assert {key: said[key] for key in ("accepted", "ignored", "refused")} == {
        "accepted": 6,
        "ignored": 1,
        "refused": 1,
    }
    assert [one["result"] for one in said["objects"]] == ["refused", *["accepted"] * 6, "ignored"]
    (problem,) = said["objects"][0].pop("problems")
    assert said["objects"][0] == {
        "file": f"{folder}/a.yaml",
        "line": 1,
        "kind": "Pod",
        "namespace": "x",
        "name": "q",
        "result": "refused",
        "cautions": [],
        "hints": [],
    }
    assert (problem["line"], problem["path"]) == (4, "$.status.podIP")
    assert sluice("validate", "-f", folder, "-f", "-", "-o", "json", stdin=DEPLOYMENT).output == result.output


def test_nothing_is_nothing_bad(sluice) -> None:
    result = sluice("validate", "-f", "-", stdin="# nothing\n")

    assert (result.exit_code, result.stdout) == (0, "0 accepted, 0 ignored, 0 refused\n")


def test_what_cannot_be_read_is_bad_usage(sluice, tmp_path) -> None:
    missing = sluice("validate", "-f", tmp_path / "none.yaml")
    empty = sluice("validate", "-f", tmp_path)

    assert missing.exit_code == empty.exit_code == 2
    assert missing.output.startswith(f"{tmp_path}/none.yaml: no such file or folder")
    assert empty.output.startswith(f"{tmp_path}: there is no manifest in this folder")


def test_settings_of_antrea_are_told_and_refused_nowhere(sluice, tmp_path) -> None:
    (tmp_path / "config.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: antrea-config, namespace: kube-system}\n"
        "data:\n  antrea-agent.conf: |\n    featureGates:\n      TrafficControl: true\n"
    )

    result = sluice("validate", "-f", tmp_path)

    assert result.exit_code == 0
    assert "hint     ConfigMap" in result.output
    assert "TrafficControl: always on here" in result.output
    assert result.output.endswith("0 accepted, 1 ignored, 0 refused\n")


GROUPS = """\
apiVersion: crd.antrea.io/v1beta1
kind: ClusterGroup
metadata: {name: outer}
spec: {childGroups: [inner, later]}
---
apiVersion: crd.antrea.io/v1beta1
kind: ClusterGroup
metadata: {name: inner}
spec: {podSelector: {}}
"""


def test_what_is_probably_not_meant_is_a_warning(sluice, tmp_path) -> None:
    (tmp_path / "groups.yaml").write_text(GROUPS)

    result = sluice("validate", "-f", tmp_path)
    told = json.loads(sluice("validate", "-f", tmp_path, "-o", "json").output)

    assert result.exit_code == 0
    assert "warned    ClusterGroup outer" in result.output
    assert result.output.endswith("2 accepted, 0 ignored, 0 refused; 1 warning\n")
    [caution] = told["objects"][0]["cautions"]
    assert (caution["line"], caution["path"]) == (4, "$.spec.childGroups[1]")
    assert "there is no group later yet" in caution["reason"]
    assert told["objects"][1]["cautions"] == []


def test_groups_nest_one_level(sluice, tmp_path) -> None:
    (tmp_path / "groups.yaml").write_text(GROUPS.replace("podSelector: {}", "childGroups: [third]"))

    outer, inner = refused(sluice("validate", "-f", tmp_path).output)

    assert (outer[1], inner[1]) == ("ClusterGroup outer", "ClusterGroup inner")
    assert '"inner" has childGroups itself, but groups nest only one level' in outer[3]
    assert "is itself a child of outer, but groups nest only one level" in inner[3]
