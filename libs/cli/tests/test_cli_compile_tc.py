"""`sluice compile --backend tc`: a script of tc commands, which tc(8) itself takes."""

import json
import shutil
import subprocess

import pytest

MANIFESTS = """
apiVersion: v1
kind: Namespace
metadata: {name: x}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: net, namespace: x}
spec: {config: '{"type": "accelerated-bridge", "trunk": [{"id": 7}]}'}
---
apiVersion: v1
kind: Pod
metadata:
  name: a
  namespace: x
  annotations:
    k8s.v1.cni.cncf.io/network-status: >-
      [{"name": "net", "interface": "net1", "ips": ["10.1.0.1"],
        "device-info": {"type": "pci", "version": "1.1.0", "pci": {"representor-device": "eth3"}}}]
spec: {nodeName: node-1, containers: [{name: c, ports: [{containerPort: 80, name: web}]}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: b
  namespace: x
  annotations: {k8s.v1.cni.cncf.io/networks: net}
spec: {nodeName: node-1, containers: [{name: c}]}
---
apiVersion: k8s.cni.cncf.io/v1beta1
kind: MultiNetworkPolicy
metadata: {name: all, namespace: x, annotations: {k8s.v1.cni.cncf.io/policy-for: net}}
spec:
  podSelector: {}
  ingress:
    - from: [{podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {ipBlock: {cidr: "fd00::/8"}}]
      ports: [{port: web}, {port: 8000, endPort: 8010}, {protocol: UDP}, {port: 9, protocol: SCTP}]
  egress: [{}]
"""


@pytest.fixture
def manifests(tmp_path):
    (tmp_path / "all.yaml").write_text(MANIFESTS)
    return tmp_path


def test_a_script_for_each_interface(sluice, manifests):
    result = sluice("compile", "-f", manifests, "--backend", "tc")

    assert result.exit_code == 0
    lines = result.output.splitlines()
    heads = [place for place, line in enumerate(lines) if line.startswith("# ")]
    assert [lines[place : place + 3] for place in heads] == [
        ["# x/a net1 on x/net", "DEV=eth3", "tc qdisc add dev $DEV clsact"],
        [
            "# x/b net1 on x/net",
            "DEV=${X_B_NET1:?which device is net1 of x/b}",
            "tc qdisc add dev $DEV clsact",
        ],
    ]
    assert subprocess.run(["bash", "-n"], input=result.output, text=True, check=False).returncode == 0


def test_nothing_of_the_clusters_network_is_in_it(sluice, folder):
    result = sluice("compile", "-f", folder, "--backend", "tc")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "nothing: no Pod with an interface on a secondary network on node-1\n"


def test_nothing_of_it_is_in_the_switch(sluice, manifests):
    with_policy = sluice("compile", "-f", manifests, "--backend", "ovs")
    (manifests / "all.yaml").write_text(MANIFESTS.split("---\napiVersion: k8s.cni.cncf.io/v1beta1", maxsplit=1)[0])

    assert with_policy.exit_code == 0
    assert with_policy.output == sluice("compile", "-f", manifests, "--backend", "ovs").output


def test_json(sluice, manifests):
    said = json.loads(sluice("compile", "-f", manifests, "--backend", "tc", "-o", "json").output)

    first = said["interfaces"][0]
    assert (said["node"], said["backend"], said["problems"]) == ("node-1", "tc", [])
    assert (first["pod"], first["interface"], first["network"], first["device"], first["zone"]) == (
        "x/a",
        "net1",
        "x/net",
        "eth3",
        1,
    )


@pytest.mark.datapath
def test_tc_understands_every_command(sluice, manifests, tmp_path):
    """Its parser does; a kernel with cls_flower is what the guest tests have."""
    tc = shutil.which("tc")
    assert tc is not None, "install iproute2"
    said = json.loads(sluice("compile", "-f", manifests, "--backend", "tc", "-o", "json").output)
    commands = {line.replace("$DEV", "lo") for one in said["interfaces"] for line in one["commands"]}
    filters = sorted(line for line in commands if line.startswith("tc filter "))
    assert len(filters) > 60

    done = subprocess.run(
        ["unshare", "--net", tc, "-force", "-batch", "-"],
        input="\n".join(line.removeprefix("tc ") for line in filters),
        text=True,
        capture_output=True,
        check=False,
    )

    refusals = {
        line for line in done.stderr.splitlines() if not line.startswith(("Command failed", "We have an error"))
    }
    assert refusals <= {"Error: Parent Qdisc doesn't exists.", "Error: TC classifier not found."}, done.stderr
