"""`sluice lint`: what is found, where it stands, and what the exit code says."""

import json

TWO_SAY = """\
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: one}
spec:
  priority: 5
  appliedTo: [{podSelector: {matchLabels: {app: a}}}]
  ingress:
    - {action: Drop, name: all}
    - {action: Drop, name: web, ports: [{port: 80}]}
---
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: two}
spec:
  priority: 5
  appliedTo: [{podSelector: {matchExpressions: [{key: app, operator: Exists}]}}]
  ingress:
    - {action: Allow, ports: [{port: 443}]}
"""


def test_nothing_is_found(sluice, folder) -> None:
    result = sluice("lint", "-f", folder)

    assert (result.output, result.exit_code) == ("0 found\n", 0)


def test_both_culprits_are_named_with_their_lines(sluice, folder) -> None:
    (folder / "two.yaml").write_text(TWO_SAY)
    file = f"{folder}/two.yaml"

    result = sluice("lint", "-f", folder)

    assert result.exit_code == 1
    web, everything = (
        f"ClusterNetworkPolicy one ingress[1] ({file}:9)",
        f"ClusterNetworkPolicy one ingress[0] ({file}:8)",
    )
    two = f"ClusterNetworkPolicy two ingress[0] ({file}:18)"
    assert (
        result.output.splitlines()[0] == f"{web} never matches: {everything} comes first and matches all of its traffic"
    )
    assert (
        f"{two} contradicts {everything} (drop and allow) at equal priority; {everything} is the one that is enforced"
        in result.output
    )


def test_json_says_the_same(sluice, folder) -> None:
    (folder / "two.yaml").write_text(TWO_SAY)

    found = json.loads(sluice("lint", "-f", folder, "-o", "json").output)["findings"]

    first = found[0]
    assert (first["kind"], first["rule"]["rule"], first["by"]["rule"]) == ("never-matches", "web", "all")
    assert (first["by"]["name"], first["by"]["index"], first["by"]["line"]) == ("one", 0, 8)
    assert {one["kind"] for one in found} >= {"never-matches", "conflict"}


def test_bad_input_is_two(sluice, folder) -> None:
    (folder / "bad.yaml").write_text("kind: Pod\n")

    assert sluice("lint", "-f", folder).exit_code == 2


def test_pods_that_share_an_address_are_both_named(sluice, tmp_path) -> None:
    live = "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}, namespace: x, uid: {}}}\nstatus: {{podIP: 10.0.0.1}}\n"
    file = tmp_path / "pods.yaml"
    file.write_text("---\n".join(live.format(name, uid) for name, uid in (("a", "u1"), ("b", "u2"))))

    result = sluice("lint", "-f", file)

    assert result.exit_code == 1
    said = f"Pod x/a ({file}:1) has the same address as Pod x/b ({file}:6), 10.0.0.1"
    assert result.output.startswith(said)
    (found,) = json.loads(sluice("lint", "-f", file, "-o", "json").output)["findings"]
    assert (found["kind"], found["rule"]["name"], found["by"]["name"]) == ("shared-address", "a", "b")
