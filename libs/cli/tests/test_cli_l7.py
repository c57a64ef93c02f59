"""Rules about requests and handshakes: `sluice verdict --http`, `--sni`, and `sluice compile --backend l7`."""

import json
from pathlib import Path

import pytest

POLICY = """\
apiVersion: crd.antrea.io/v1beta1
kind: NetworkPolicy
metadata: {name: web, namespace: x}
spec:
  priority: 5
  appliedTo: [{podSelector: {matchLabels: {app: a}}}]
  ingress:
    - name: api
      action: Allow
      ports: [{protocol: TCP, port: 80}]
      l7Protocols: [{http: {path: "/api/v2/*", host: foo.bar.com, method: GET}}]
    - name: names
      action: Allow
      ports: [{protocol: TCP, port: 443}]
      l7Protocols: [{tls: {sni: "*.bar.com"}}]
"""


@pytest.fixture
def manifests(folder: Path) -> Path:
    (folder / "policy.yaml").write_text(POLICY)
    return folder


ASKED = [
    (("--port", "80", "--http", "GET foo.bar.com/api/v2/x"), "Allowed"),
    (("--port", "80", "--http", "GET FOO.bar.com:80/api/v2/x?q=1"), "Allowed"),
    (("--port", "80", "--http", "POST foo.bar.com/api/v2/x"), "Rejected"),
    (("--port", "80", "--http", "GET foo.bar.com/admin?x=/api/v2/"), "Rejected"),
    (("--port", "80"), "Rejected"),
    (("--port", "443", "--sni", "www.bar.com"), "Allowed"),
    (("--port", "443", "--sni", ""), "Rejected"),
    (("--port", "81"), "Allowed"),
]


@pytest.mark.parametrize(("options", "outcome"), ASKED, ids=[" ".join(options) for options, _ in ASKED])
def test_what_becomes_of_it(sluice, manifests, options, outcome) -> None:
    result = sluice("verdict", "-f", manifests, "--from", "y/b", "--to", "x/a", *options, "-o", "json")

    assert result.exit_code == 0
    assert json.loads(result.output)["outcome"] == outcome


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--port", "80", "--http", "GET foo"), "METHOD HOST/PATH"),
        (("--port", "80", "--http", "/x"), "METHOD HOST/PATH"),
        (("--port", "80", "--http", "GET a/b", "--sni", "c"), "leave one out"),
        (("--protocol", "UDP", "--port", "80", "--sni", "c"), "leave them out"),
    ],
)
def test_bad_input(sluice, manifests, options, words) -> None:
    result = sluice("verdict", "-f", manifests, "--from", "y/b", "--to", "x/a", *options)

    assert result.exit_code == 2
    assert words in result.output


def test_the_rule_files_of_a_node(sluice, manifests) -> None:
    result = sluice("compile", "-f", manifests, "--backend", "l7")

    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line for line in lines if line.startswith("# annps")] == [
        "# annps:x:web ingress api",
        "# annps:x:web ingress names",
    ]
    assert any('msg:"Reject by AntreaNetworkPolicy:x/web"' in line for line in lines)

    tenants = json.loads(sluice("compile", "-f", manifests, "--backend", "l7", "-o", "json").output)["tenants"]
    assert [one["rules_of"] for one in tenants] == [["annps:x:web ingress api"], ["annps:x:web ingress names"]]


def test_a_node_without_such_rules_holds_none(sluice, folder) -> None:
    result = sluice("compile", "-f", folder, "--backend", "l7")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "nothing: no rule with l7Protocols about a Pod on node-1\n"
