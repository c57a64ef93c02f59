"""`sluice compile`: the text is what a node would hold, and packets walk through it as policy says."""

import json
import sys
from io import BytesIO
from ipaddress import ip_address

import pytest

from sluice.cli.compile_ovs import Switches
from sluice.dataplane.ovs import parse
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Groups
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.dataplane.protocols import EthType, IpProto
from sluice.testkit.walker import Walker

TO_PORT = {"TCP": (IpProto.TCP, Field.TCP_SRC, Field.TCP_DST), "UDP": (IpProto.UDP, Field.UDP_SRC, Field.UDP_DST)}
PORTS = {"x/a": (1, "10.0.0.1"), "y/b": (2, "10.0.0.2")}
"""By name, as the command numbers them."""


def packet(source: str, destination: str, protocol: str, port: int) -> dict[Field, int]:
    in_port, address = PORTS[source]
    number, from_port, to_port = TO_PORT[protocol]
    return {
        Field.IN_PORT: in_port,
        Field.ETH_SRC: int.from_bytes(bytes((0x0A, 0x58)) + ip_address(address).packed),
        Field.ETH_DST: VIRTUAL_MAC,
        Field.ETH_TYPE: EthType.IPV4,
        Field.IPV4_SRC: int(ip_address(address)),
        Field.IPV4_DST: int(ip_address(PORTS[destination][1])),
        Field.IP_PROTO: number,
        from_port: 40_000,
        to_port: port,
    }


WALKS = [
    ("y/b", "x/a", "TCP", 80, True),
    ("y/b", "x/a", "TCP", 81, False),
    ("y/b", "x/a", "UDP", 80, False),
    ("x/a", "y/b", "TCP", 9999, True),
]


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: " ".join(map(str, walk)))
def test_packets_walk_through_the_text(sluice, folder, walk) -> None:
    source, destination, protocol, port, arrives = walk
    result = sluice("compile", "-f", folder, "--backend", "ovs")
    assert result.exit_code == 0

    walked = Walker(parse.read_all(result.output)).walk(packet(source, destination, protocol, port))

    assert (PORTS[destination][0] in walked.ports) is arrives


def test_the_order_of_documents_does_not_matter(sluice, folder, tmp_path) -> None:
    documents = [
        text
        for file in ("namespaces", "pods", "policy")
        for text in (folder / f"{file}.yaml").read_text().split("---\n")
    ]
    (tmp_path / "all.yaml").write_text("---\n".join(reversed(documents)))

    one = sluice("compile", "-f", folder, "--backend", "ovs")
    other = sluice("compile", "-f", tmp_path / "all.yaml", "--backend", "ovs")

    assert set(one.output.splitlines()) == set(other.output.splitlines())


def test_json_has_the_same_lines(sluice, folder) -> None:
    text = sluice("compile", "-f", folder, "--backend", "ovs").output
    said = json.loads(sluice("compile", "-f", folder, "--backend", "ovs", "-o", "json").output)

    assert said == {"node": "node-1", "backend": "ovs", "flows": text.splitlines(), "groups": [], "problems": []}


def test_of_several_nodes_one_is_named(sluice, folder) -> None:
    pods = (folder / "pods.yaml").read_text()
    (folder / "pods.yaml").write_text(pods.replace("status: {podIP: 10.0.0.2}", "spec: {nodeName: node-2}"))
    (folder / "node.yaml").write_text("apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\n")

    unnamed = sluice("compile", "-f", folder, "--backend", "ovs")
    first = sluice("compile", "-f", folder, "--backend", "ovs", "--node", "node-1")
    second = sluice("compile", "-f", folder, "--backend", "ovs", "--node", "node-2")
    unknown = sluice("compile", "-f", folder, "--backend", "ovs", "--node", "node-3")

    assert unnamed.exit_code == unknown.exit_code == 2
    assert "name one of node-1, node-2" in unnamed.output
    assert "--node node-3: there is no such node; name one of node-1, node-2" in unknown.output
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "table=80, priority=100,ip,nw_dst=10.0.0.1 " in first.output
    assert "table=80, priority=99,ip,nw_dst=10.0.0.1 actions=set_field:192.168.77.10->tun_dst" in second.output


def test_several_nodes_are_printed_one_after_the_other(sluice, folder) -> None:
    pods = (folder / "pods.yaml").read_text()
    (folder / "pods.yaml").write_text(pods.replace("status: {podIP: 10.0.0.2}", "spec: {nodeName: node-2}"))
    (folder / "node.yaml").write_text("apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\n")
    each = [sluice("compile", "-f", folder, "--backend", "ovs", "--node", node).output for node in ("node-1", "node-2")]

    everything = sluice("compile", "-f", folder, "--backend", "ovs", "--all-nodes").output
    backwards = sluice("compile", "-f", folder, "--backend", "ovs", "--node", "node-2", "--node", "node-1").output
    both = sluice("compile", "-f", folder, "--backend", "ovs", "--all-nodes", "--node", "node-1")

    assert everything == f"# node node-1\n{each[0]}# node node-2\n{each[1]}"
    assert backwards == f"# node node-2\n{each[1]}# node node-1\n{each[0]}"
    assert (both.exit_code, "leave one out" in both.output) == (2, True)


def test_a_node_is_printed_before_the_next_one_is_compiled(sluice, folder, monkeypatch) -> None:
    (folder / "nodes.json").write_text(
        "\n".join(
            json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{number}"}})
            for number in range(3)
        )
    )
    printed, of = [], Switches.of

    def told(switches, node):
        assert isinstance(sys.stdout.buffer, BytesIO)  # of click.testing
        printed.append(sys.stdout.buffer.getvalue().count(b"# node "))
        return of(switches, node)

    monkeypatch.setattr(Switches, "of", told)
    sluice("compile", "-f", folder, "--backend", "ovs", "--all-nodes")

    assert printed == [0, 1, 2]


NAMED = """
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: named}
spec:
  priority: 5
  appliedTo: [{podSelector: {}}]
  ingress: [{action: Allow, from: [{ipBlock: {cidr: 192.0.2.0/24}}]}]
  egress: [{action: Allow, to: [{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: web, protocol: TCP}]}]
"""


def test_what_cannot_be_held_is_told_with_its_unit_once(sluice, folder) -> None:
    (folder / "named.yaml").write_text(NAMED)

    result = sluice("compile", "-f", folder, "--backend", "ovs")

    assert result.exit_code == 0
    (told,) = result.stderr.splitlines()
    assert told.startswith("acnps:_:named: egress rule 0")
    assert told.count("acnps:_:named") == 1


def test_bad_objects_are_not_compiled(sluice, folder) -> None:
    (folder / "bad.yaml").write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: B, namespace: x}\n")

    result = sluice("compile", "-f", folder, "--backend", "ovs")

    assert result.exit_code == 2
    assert result.output.startswith(f"{folder}/bad.yaml:3: $.metadata.name: ")


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: x}
spec: {clusterIP: 10.96.0.9, selector: {}, ports: [{port: 8000, targetPort: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: x, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.0.0.1]}]
"""


def test_services_are_compiled_with_their_groups(sluice, folder, tmp_path) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(SERVICE)
    result = sluice("compile", "-f", folder, "-f", str(file), "--backend", "ovs")
    assert result.exit_code == 0, result.output
    said = json.loads(sluice("compile", "-f", folder, "-f", str(file), "--backend", "ovs", "-o", "json").output)

    (group,) = (line for line in result.output.splitlines() if line.startswith("# group_id="))
    assert said["groups"] == [group.removeprefix("# ")]
    actions = group.partition("actions=")[2]
    _, made = parse.read(f"actions={actions}")
    asked = {**packet("y/b", "x/a", "TCP", 8000), Field.IPV4_DST: int(ip_address("10.96.0.9"))}
    groups: Groups = {int(group.split("=")[1].split(",")[0]): (made.actions,)}
    assert Walker(parse.read_all(result.output), groups=groups).walk(asked).ports == (1,)


CONTROLS = """
apiVersion: crd.antrea.io/v1alpha2
kind: TrafficControl
metadata: {name: ips}
spec:
  appliedTo: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: x}}}
  direction: Both
  action: Redirect
  targetPort: {ovsInternal: {name: tap0}}
  returnPort: {ovsInternal: {name: tap1}}
---
apiVersion: crd.antrea.io/v1alpha2
kind: TrafficControl
metadata: {name: second}
spec:
  appliedTo: {podSelector: {}}
  direction: Egress
  action: Redirect
  targetPort: {ovsInternal: {name: tap2}}
  returnPort: {ovsInternal: {name: tap3}}
"""


def test_traffic_controls_are_compiled_with_their_order(sluice, folder) -> None:
    (folder / "controls.yaml").write_text(CONTROLS)

    result = sluice("compile", "-f", folder, "--backend", "ovs", "-o", "json")
    said = json.loads(result.output)

    walker = Walker(parse.read_all("\n".join(said["flows"])))
    tap0, tap2 = 6, 8  # after three Pods, the tunnel and the gateway
    assert walker.walk(packet("x/a", "y/b", "TCP", 9999)).ports == (tap0,)
    assert walker.walk(packet("y/b", "x/a", "TCP", 80)).ports == (tap2,)
    (problem,) = said["problems"]
    assert "x/a" in str(problem)
    assert "trafficcontrols:_:ips" in str(problem)
