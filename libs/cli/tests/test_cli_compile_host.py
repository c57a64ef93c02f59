"""`sluice compile --backend host`: the table that policies on Nodes come to, as nft(8) takes it."""

import json
from pathlib import Path

POLICY = """\
apiVersion: v1
kind: Node
metadata: {name: node-1, labels: {role: edge}}
spec: {podCIDRs: [10.81.0.0/24]}
---
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: edge}
spec:
  priority: 5
  appliedTo: [{nodeSelector: {matchLabels: {role: edge}}}]
  ingress:
    - {action: Drop, from: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{protocol: TCP, port: 22}]}
  egress:
    - {action: Drop, to: [{fqdn: "*.a.com"}], ports: [{protocol: UDP, port: 53}]}
"""


def test_the_table_is_printed_and_what_it_cannot_hold_is_told(sluice, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    result = sluice("compile", "-f", tmp_path, "--backend", "host")

    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0] == "table inet sluice {"
    assert [line for line in lines if "tcp dport 22" in line and "drop" in line]
    assert [line for line in lines if line.startswith("udp dport 53 counter")]  # closed for every peer
    assert "elements = { 192.0.2.0-192.0.2.255 }" in lines
    assert "egress rule 0, peer 0: *.a.com: DNS answers to Nodes are not read" in result.stderr
    said = json.loads(sluice("compile", "-f", tmp_path, "--backend", "host", "-o", "json").stdout)
    assert said["table"] == result.stdout.splitlines()
    assert len(said["problems"]) == 1


def test_without_such_a_policy_there_is_no_table(sluice, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY.split("---", maxsplit=1)[0])
    result = sluice("compile", "-f", tmp_path, "--backend", "host")

    assert result.stdout == ""
    assert "no policy on a Node on node-1" in result.stderr
