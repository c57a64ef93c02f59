"""Scenario files: what is read, and what is refused, where and why."""

import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

from sluice.contracts.kinds import Kind
from sluice.lab import reading, scenario
from sluice.lab.checks import expected, matrix, probes
from sluice.lab.ends import ends_of
from sluice.lab.reading import BadScenario, Story
from sluice.lab.world import Key, Placed, World

PODS = """\
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: x}
spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: y}
spec: {containers: [{name: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: h, namespace: y}
spec: {hostNetwork: true, containers: [{name: c}]}
"""

POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: y}
spec: {podSelector: {}}
"""


def written(folder: Path, spec: str, *, head: str = "", name: str = "s") -> Path:
    (folder / "pods.yaml").write_text(PODS)
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "bad.yaml").write_text(POLICY.replace("podSelector: {}", "podSelector: {matchLabels: {a: -b-}}"))
    path = folder / "scenario.yaml"
    metadata = f"metadata: {{name: {name}{head}}}\n"
    path.write_text("apiVersion: lab.sluice.dev/v1\nkind: Scenario\n" + metadata + textwrap.dedent(spec))
    return path


def read(folder: Path, spec: str, *, head: str = "") -> Story:
    (story,) = reading.read([written(folder, spec, head=head)])
    return story


class Refused(NamedTuple):
    name: str
    spec: str
    said: str
    """A piece of the message."""


REFUSED = [
    Refused("unknown field", "spec: {stepz: []}", "contains unknown field `stepz`"),
    Refused("no spec", "", "missing required field `spec`"),
    Refused(
        "bad expect",
        "spec: {manifests: [pods.yaml], steps: [{probes: [{from: x/a, to: y/b, port: 80, expect: allowed}]}]}",
        "scenario s, step 1: $.spec.steps[0].probes[0].expect: Invalid enum value 'allowed'",
    ),
    Refused(
        "no port",
        "spec: {manifests: [pods.yaml], steps: [{name: n, probes: [{from: x/a, to: y/b, expect: Allowed}]}]}",
        "scenario s, step n: $.spec.steps[0].probes[0]: TCP needs a `port`",
    ),
    Refused(
        "ICMP has no port",
        "spec: {steps: [{matrix: {protocol: ICMP, port: 80, default: Allowed}}]}",
        "$.spec.steps[0].matrix: ICMP has no ports",
    ),
    Refused(
        "no such pod",
        "spec: {manifests: [pods.yaml], steps: [{probes: [{from: x/a, to: y/c, port: 80, expect: Allowed}]}]}",
        "$.spec.steps[0].probes[0].to: y/c: no such end of a packet in this step (node:node-1, x/a, y/b, y/h)",
    ),
    Refused(
        "pod that was deleted before",
        """\
        spec:
          manifests: [pods.yaml]
          steps:
          - delete: [{kind: Pod, namespace: y, name: b}]
          - probes: [{from: x/a, to: y/b, port: 80, expect: Allowed}]
        """,
        "$.spec.steps[1].probes[0].to: y/b: no such end of a packet",
    ),
    Refused(
        "pattern of nobody",
        "spec: {manifests: [pods.yaml], "
        "steps: [{delete: [{kind: Pod, namespace: y, name: h}], "
        "matrix: {port: 80, default: Allowed, except: [{from: 'w/*', expect: Dropped}]}}]}",
        "$.spec.steps[0].matrix.except[0].from: w/*: no Pod is called that",
    ),
    Refused(
        "host network in a matrix",
        "spec: {manifests: [pods.yaml], steps: [{matrix: {port: 80, default: Allowed}}]}",
        "y/h: it is on the host's network, where only probes begin and end",
    ),
    Refused("no such file", "spec: {manifests: [nope.yaml]}", "nope.yaml: no such file"),
    Refused("bad manifest", "spec: {manifests: [bad.yaml]}", "bad.yaml:4: $.spec.podSelector.matchLabels.a: "),
    Refused(
        "bad inline object",
        """\
        spec:
          objects:
          - apiVersion: v1
            kind: Pod
            metadata: {name: A_b}
        """,
        "scenario.yaml:8: scenario s: $.spec.objects[0].metadata.name: ",
    ),
    Refused(
        "delete what is not there",
        "spec: {steps: [{delete: [{kind: NetworkPolicy, namespace: y, name: closed}]}]}",
        "$.spec.steps[0].delete[0]: NetworkPolicy closed in namespace y: there is no such object",
    ),
    Refused(
        "node of another cluster",
        "spec: {objects: [{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: far}}]}",
        "Pod default/p: its node far is none of the lab's (node-1): add it to spec.nodes",
    ),
    Refused("bad wait", "spec: {steps: [{wait: 5 sec}]}", "'5 sec' is no duration: write 250ms, 5s or 1m30s"),
    Refused(
        "connection of two kinds",
        "spec: {steps: [{connections: [{open: c, check: d}]}]}",
        "$.spec.steps[0].connections[0]: write either {open, from, to, port} or {check, expect}",
    ),
    Refused(
        "requests of several kinds",
        "spec: {steps: [{connections: [{check: c, http: {}, pipelined: [{path: /}], expect: Allowed}]}]}",
        "$.spec.steps[0].connections[0]: write one of `http`, `pipelined` and `tls`",
    ),
    Refused(
        "a request without a connection",
        "spec: {steps: [{probes: [{from: x/a, to: y/b, protocol: UDP, http: {}, expect: Allowed}]}]}",
        "$.spec.steps[0].probes[0]: `http` and `tls` go with protocol: TCP only",
    ),
    Refused(
        "a request within TLS",
        "spec: {steps: [{probes: [{from: x/a, to: y/b, http: {}, tls: {sni: a}, expect: Allowed}]}]}",
        "$.spec.steps[0].probes[0]: a request inside TLS is encrypted",
    ),
    Refused(
        "a method that is two words",
        "spec: {steps: [{probes: [{from: x/a, to: y/b, http: {method: GET /}, expect: Allowed}]}]}",
        "$.spec.steps[0].probes[0].http.method: Expected `str` matching regex",
    ),
    Refused(
        "a request on a connection that has none",
        "spec: {manifests: [pods.yaml], steps: [{connections: [{open: c, from: x/a, to: y/b, port: 80}]}, "
        "{connections: [{check: c, http: {path: /}, expect: Allowed}]}]}",
        "$.spec.steps[1].connections[0].check: c: it was not opened by a request: open it with `http`",
    ),
    Refused(
        "connection never opened",
        "spec: {steps: [{connections: [{check: c, expect: Allowed}]}]}",
        "$.spec.steps[0].connections[0].check: c: no connection of that name was opened",
    ),
    Refused("denial of nothing", "spec: {steps: [{denials: [{message: m}]}]}", "write either `object` or `delete`"),
    Refused(
        "denial without grammar",
        "spec: {steps: [{denials: [{object: bad.yaml, message: '('}]}]}",
        "'(' is no regular expression",
    ),
    Refused("no nodes", "spec: {nodes: []}", "$.spec.nodes"),
    Refused(
        "host beyond the cluster that nobody named",
        "spec: {manifests: [pods.yaml], externals: [{name: o, ip: 192.0.2.1}], "
        "steps: [{probes: [{from: p, to: x/a, port: 80, expect: Allowed}]}]}",
        "probes[0].from: p: no such end of a packet in this step (external:o, node:node-1, x/a, y/b, y/h)",
    ),
    Refused("external without address", "spec: {externals: [{name: o, ip: o}]}", "'o' does not appear to be an IPv4"),
    Refused(
        "externals of one address",
        "spec: {externals: [{name: o, ip: 'fd00::1'}, {name: p, ip: 'FD00:0::1'}]}",
        "externals: fd00::1 is given twice",
    ),
    Refused(
        "external of another family",
        "spec: {manifests: [pods.yaml], externals: [{name: o, ip: 'fd00::1'}], "
        "steps: [{probes: [{from: x/a, to: 'external:o', port: 80, expect: Allowed}]}]}",
        "x/a (10.64.0.2) and external:o (fd00::1) do not both have a family in common",
    ),
    Refused(
        "source port of ICMP",
        "spec: {steps: [{probes: [{from: x/a, to: y/b, protocol: ICMP, sourcePort: 80, expect: Allowed}]}]}",
        "ICMP has no ports: remove `sourcePort`",
    ),
    Refused(
        "no common family",
        """\
        spec:
          objects:
          - {apiVersion: v1, kind: Pod, metadata: {name: a}, status: {podIP: "fd00::1"}}
          - {apiVersion: v1, kind: Pod, metadata: {name: b}}
          steps: [{probes: [{from: default/a, to: default/b, port: 80, expect: Allowed}]}]
        """,
        "default/a (fd00::1) and default/b (10.64.0.2) do not both have a family in common",
    ),
    Refused(
        "a train of TCP",
        "spec: {steps: [{probes: [{from: x/a, to: y/b, port: 80, packets: 2, expect: Allowed}]}]}",
        "`packets` goes with protocol: UDP or ICMP, and without `sourcePort`",
    ),
    Refused(
        "receiver that nobody named",
        "spec: {externals: [{name: o, ip: 192.0.2.1}], steps: [{name: n, capture: [{on: collector}]}]}",
        "scenario s, step n: $.spec.steps[0].capture[0].on: collector: no such host beyond the cluster (o)",
    ),
    Refused(
        "receiver at a node that there is not",
        "spec: {steps: [{capture: [{on: 'port:tap0@node-2'}]}]}",
        "$.spec.steps[0].capture[0].on: node-2: no such node (node-1)",
    ),
    Refused(
        "sender that nobody hears",
        "spec: {steps: [{capture: [{on: 'port:tap0', from: x/z}]}]}",
        "$.spec.steps[0].capture[0].from: x/z: no such end of a packet in this step",
    ),
    Refused(
        "field of another tunnel",
        "spec: {steps: [{capture: [{on: 'port:tap0', proto: gre, vni: 1}]}]}",
        "$.spec.steps[0].capture[0]: `vni` goes with proto: geneve or vxlan only",
    ),
    Refused(
        "session of no tunnel",
        "spec: {steps: [{capture: [{on: 'port:tap0', sessionID: 1}]}]}",
        "`sessionID` goes with proto: erspan only",
    ),
    Refused(
        "into a host",
        "spec: {externals: [{name: o, ip: 192.0.2.1}], steps: [{capture: [{on: o, into: true}]}]}",
        "`into` goes with `on: port:",
    ),
    Refused(
        "port of no protocol",
        "spec: {steps: [{capture: [{on: 'port:tap0', port: 80}]}]}",
        "`port` and `sourcePort` need a `protocol` that has ports",
    ),
    Refused(
        "capture of nothing that is sent",
        "spec: {steps: [{capture: [{on: 'port:tap0'}]}]}",
        "no packet is sent in a scenario that asks for verdict() alone",
    ),
    Refused(
        "line with a field too few",
        "spec: {steps: [{logs: [{line: 'IngressRule * * *'}]}]}",
        "$.spec.steps[0].logs[0]: line: 4 fields, and a line has 14 after date and time: table, policy, rule",
    ),
    Refused(
        "line of a node that there is not",
        "spec: {steps: [{logs: [{line: '* * * * * * * * * * * * * *', on: node-2}]}]}",
        "$.spec.steps[0].logs[0].on: node-2: no such node (node-1)",
    ),
    Refused(
        "no line, three times",
        "spec: {steps: [{logs: [{line: '* * * * * * * * * * * * * *', absent: true, packets: 3}]}]}",
        "write either `absent` or `packets`",
    ),
    Refused(
        "forwarder to nowhere", "spec: {forwarders: [{from: tap0}]}", "write either `to`, a port, or `back`, a tunnel"
    ),
    Refused(
        "forwarder without grammar",
        "spec: {forwarders: [{from: tap0, to: tap1, drop: '('}]}",
        "drop: '(' is no regular expression",
    ),
    Refused(
        "forwarder with two minds",
        "spec: {forwarders: [{from: tap0, to: tap1, drop: a, suricata: [b]}]}",
        "Suricata has rules, and stands between two ports",
    ),
    Refused(
        "forwarder between a device and a port",
        "spec: {devices: [eno2], forwarders: [{from: eno2, to: tap1}]}",
        "$.spec.forwarders[0]: one end is a device and the other is not: add tap1 to spec.devices",
    ),
    Refused(
        "forwarder at nobody",
        "spec: {forwarders: [{from: ips, back: {proto: gre}}]}",
        "$.spec.forwarders[0].from: ips: tunnels end at a host beyond the cluster: name it in spec.externals",
    ),
    Refused(
        "device that is none",
        "spec: {devices: [eno2], steps: [{devices: {eno3: false}}]}",
        "$.spec.steps[0].devices: eno3: none of spec.devices (eno2)",
    ),
    Refused("device with a bad name", "spec: {devices: ['a/b']}", "$.spec.devices[0]"),
    Refused(
        "problem without grammar",
        "spec: {steps: [{problems: [{message: '('}]}]}",
        "'(' is no regular expression",
    ),
    Refused(
        "twice the same key", "spec: {nodes: [a], nodes: [b]}", "scenario.yaml:4: $: the key `nodes` is given twice"
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refused(case: Refused, tmp_path: Path) -> None:
    head = ", annotations: {lab.sluice.dev/offline: 'true'}" if "verdict() alone" in case.said else ""
    path = written(tmp_path, case.spec, head=head)

    with pytest.raises(BadScenario) as raised:
        reading.read([path])

    assert case.said in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path))


UNSUPPORTED = [
    ("spec: {steps: [{probes: [{from: 'svc:y/web', to: x/a, port: 80, expect: Allowed}]}]}", ".probes[0].from"),
    (
        "spec: {steps: [{probes: [{from: x/a, to: y/b, protocol: ICMP, icmp: {type: 3}, expect: Allowed}]}]}",
        ".probes[0].icmp",
    ),
]


SECONDARY = """\
spec:
  networks: [{name: x/n, cidrs: [10.1.0.0/24]}]
  objects:
  - apiVersion: v1
    kind: Pod
    metadata: {name: a, namespace: x, annotations: {k8s.v1.cni.cncf.io/networks: "ASKED"}}
  steps: [{probes: [{from: x/a@n, to: "external:out", port: 80, expect: Allowed}]}]
  externals: [{name: out, ip: 192.0.2.1}]
"""


def offline(tmp_path: Path, spec: str) -> reading.Story:
    path = tmp_path / "scenario.yaml"
    asks = "{name: s, annotations: {lab.sluice.dev/offline: 'true'}}"
    path.write_text(f"apiVersion: lab.sluice.dev/v1\nkind: Scenario\nmetadata: {asks}\n{spec}")
    (story,) = reading.read([path])
    return story


def test_interfaces_get_addresses_of_their_networks(tmp_path: Path) -> None:
    spec = offline(tmp_path, SECONDARY.replace("ASKED", "n")).scenario.spec
    world = World(spec.nodes, lambda: "u", lambda: "", spec.outside, networks=spec.networks)
    for made in offline(tmp_path, SECONDARY.replace("ASKED", "n")).objects:
        world.put(made)
        world.put(made)  # the same Pod keeps what it has

    assert ends_of(world)["x/a@x/n"].addresses == ("10.1.0.2",)
    assert Key(Kind.NETWORK_ATTACHMENT, "x", "n") in world.objects


def test_a_network_that_the_scenario_has_not_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=r"it asks for x/m, which is none of the scenario's"):
        offline(tmp_path, SECONDARY.replace("ASKED", "n,m"))
    with pytest.raises(BadScenario, match=r"is not a network; write NAME"):
        offline(tmp_path, SECONDARY.replace("ASKED", "n,,"))


def test_no_datapath_has_secondary_networks_yet(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=r"\$\.spec\.networks: packets on secondary networks .*not supported yet"):
        read(tmp_path, SECONDARY.replace("ASKED", "n"))


@pytest.mark.parametrize(("spec", "path"), UNSUPPORTED, ids=[spec for spec, _ in UNSUPPORTED])
def test_what_cannot_be_done_yet_is_refused(spec: str, path: str, tmp_path: Path) -> None:
    with pytest.raises(BadScenario) as raised:
        read(tmp_path, spec)

    (line, *_) = (line for line in raised.value.lines if "not supported yet" in line)
    assert path in line
    assert "scenario s" in line
    if ".steps" in path or path.startswith("."):
        assert "step 1" in line


FULL = """\
spec:
  nodes: [node-1, node-2]
  objects:
  - apiVersion: v1
    kind: Service
    metadata: {name: web, namespace: y}
    spec: {type: NodePort, ports: [{port: 80}]}
  manifests: [pods.yaml]
  externals: [{name: outside, ip: 192.0.2.10}]
  devices: [eno2]
  forwarders: [{from: tap0, to: tap1}, {from: outside, back: {proto: vxlan, vni: 2}}]
  dns: {www.foobar.com: {ips: [192.0.2.10], ttl: 5}, www.other.com: {cname: www.foobar.com}}
  steps:
  - name: policy is in force
    apply: [policy.yaml]
    delete: [{kind: Pod, namespace: y, name: h}]
    wait: 0s
    dns: {www.late.com: {ips: [192.0.2.10]}}
    devices: {eno2: false}
    problems: [{on: node-1, message: "no such device"}]
    capture:
    - {on: outside, proto: vxlan, vni: 1, from: x/a, packets: 100}
    - {on: outside, proto: erspan, version: 2, sessionID: 1, dir: 0, hardwareID: 4}
    - {on: "port:tap1@node-1", into: true, to: x/a, protocol: TCP, port: 80, atLeast: 2, family: IPv4}
    connections:
    - {open: c1, from: x/a, to: y/b, port: 80}
    - {check: c1, expect: Allowed}
    probes:
    - {from: x/a, to: y/b, protocol: TCP, port: 80, expect: Rejected}
    - {from: x/a, to: y/b, http: {method: GET, path: /public, host: foo.bar.com}, expect: Allowed}
    - {from: x/a, to: y/b, tls: {sni: foo.bar.com}, port: 443, expect: Allowed}
    - {from: x/a, to: y/b, tls: {sni: ""}, expect: Allowed}
    - {from: x/a, to: "svc:y/web", port: 80, expect: Allowed}
    - {from: outside, to: "nodeport:y/web", expect: Dropped}
    - {from: "node:node-1", to: x/a, port: 80, expect: Allowed}
    - {from: x/a, to: "external:outside", protocol: UDP, port: 53, sourcePort: 4000, expect: Allowed}
    - {from: x/a, to: "fqdn:www.foobar.com", port: 80, expect: Allowed}
    - {from: x/a, to: "fqdn:www.other.com", port: 80, resolve: TCP, expect: Allowed}
    - {from: x/a, to: "fqdn:www.late.com", port: 80, resolve: never, expect: Allowed}
    - {from: x/a, to: y/b, protocol: ICMP, icmp: {type: 8, code: 0}, expect: Dropped}
    matrix:
      protocol: TCP
      port: 80
      default: Allowed
      except:
      - {from: "y/*", to: x/a, expect: Dropped}
    denials:
    - {object: bad.yaml, message: "overlaps|same priority"}
    - {delete: {kind: Tier, name: emergency}, message: "reserved"}
"""


def test_all_of_the_format_is_understood(tmp_path: Path) -> None:
    story = read(tmp_path, FULL)

    named = {one.to: one.resolve for one in probes(story.steps[0].step, _ends(story)) if "fqdn" in one.to}
    assert {name: asked and (asked.name, asked.by) for name, asked in named.items()} == {
        "fqdn:www.foobar.com": ("www.foobar.com", "UDP"),
        "fqdn:www.other.com": ("www.other.com", "TCP"),
        "fqdn:www.late.com": None,
    }


def _ends(story: Story) -> dict[str, Placed]:
    spec = story.scenario.spec
    world = World(spec.nodes, lambda: "u", lambda: "", spec.outside, {**spec.dns, **story.steps[0].step.dns})
    for document in story.objects:
        world.put(document)
    return ends_of(world)


@pytest.mark.parametrize(
    ("record", "wrong"), [("{ips: [nope]}", "does not appear"), ("{ips: [1.1.1.1], cname: a.b}", "`ips` or `cname`")]
)
def test_records_of_dns(tmp_path: Path, record: str, wrong: str) -> None:
    with pytest.raises(BadScenario, match=wrong):
        read(tmp_path, f"spec: {{dns: {{a.com: {record}}}}}")


STORY = """\
spec:
  manifests: [pods.yaml]
  steps:
  - delete: [{kind: Pod, namespace: y, name: h}]
    matrix:
      port: 80
      default: Allowed
      except:
      - {from: "x/*", expect: Dropped}
      - {to: "y/b", expect: Rejected}
  - name: later
    apply:
    - policy.yaml
    - apiVersion: v1
      kind: Pod
      metadata: {name: c, namespace: z}
      status: {podIPs: [{ip: 10.1.1.1}, {ip: "FD00::1"}]}
    probes:
    - {from: x/a, to: z/c, protocol: UDP, port: 53, sourcePort: 4000, expect: Dropped}
"""


def test_a_story_holds_what_its_files_hold(tmp_path: Path) -> None:
    story = read(tmp_path, STORY)

    assert [document.object.key for document in story.objects] == [("x", "a"), ("y", "b"), ("y", "h")]
    assert [told.name for told in story.steps] == ["step 1", "later"]
    assert [document.object.metadata.name for document in story.steps[1].apply] == ["closed", "c"]


def test_questions_of_a_story(tmp_path: Path) -> None:
    story = read(tmp_path, STORY)
    world = World(("node-1",), lambda: "u", lambda: "")
    for document in (*story.objects, *story.steps[1].apply):
        world.put(document)
    pods = {name: pod for name, pod in world.pods().items() if not pod.host_network}

    asked = list(matrix(story.steps[0].step, pods))
    assert {(each.from_, each.to): each.expect for each in asked} == {
        ("x/a", "y/b"): "Rejected",
        ("x/a", "z/c"): "Dropped",
        ("y/b", "x/a"): "Allowed",
        ("y/b", "z/c"): "Allowed",
        ("z/c", "x/a"): "Allowed",
        ("z/c", "y/b"): "Rejected",
    }
    (probe,) = probes(story.steps[1].step, pods)
    assert (probe.what, probe.source, probe.address, probe.port, probe.source_port) == (
        "UDP 53",
        "10.64.0.2",
        "10.1.1.1",
        53,
        4000,
    )


def test_a_probe_is_asked_for_every_family_that_both_ends_have(tmp_path: Path) -> None:
    story = read(
        tmp_path,
        """\
        spec:
          objects:
          - {apiVersion: v1, kind: Pod, metadata: {name: a}, status: {podIPs: [{ip: 10.1.1.1}, {ip: "fd00::1"}]}}
          - {apiVersion: v1, kind: Pod, metadata: {name: b}, status: {podIPs: [{ip: 10.1.1.2}, {ip: "fd00::2"}]}}
          steps:
          - probes:
            - {from: default/a, to: default/b, port: 80, expect: Allowed}
            - {from: default/a, to: default/b, port: 80, family: IPv6, expect: Allowed}
        """,
    )
    world = World(("node-1",), lambda: "u", lambda: "")
    for document in story.objects:
        world.put(document)

    asked = [(each.what, each.address) for each in probes(story.steps[0].step, world.pods())]

    assert asked == [("TCP 80 IPv4", "10.1.1.2"), ("TCP 80 IPv6", "fd00::2"), ("TCP 80 IPv6", "fd00::2")]


def test_who_is_beyond_the_cluster_has_a_bare_name_or_a_prefix(tmp_path: Path) -> None:
    story = read(
        tmp_path,
        """\
        spec:
          externals: [{name: outside, ip: 192.0.2.10}]
          objects: [{apiVersion: v1, kind: Pod, metadata: {name: a}}]
          steps:
          - probes:
            - {from: outside, to: default/a, protocol: SCTP, port: 80, expect: Allowed}
            - {from: "external:outside", to: default/a, protocol: ICMP, icmp: {type: 13}, expect: Allowed}
            - {from: default/a, to: "external:outside", port: 80, sourcePort: 5, expect: Allowed}
            - {from: "node:node-1", to: default/a, port: 80, expect: Allowed}
        """,
    )
    spec = story.scenario.spec
    world = World(spec.nodes, lambda: "u", lambda: "", spec.outside)
    for document in story.objects:
        world.put(document)

    asked = [(each.from_, each.source, each.to, each.what) for each in probes(spec.steps[0], ends_of(world))]

    assert asked == [
        ("external:outside", "192.0.2.10", "default/a", "SCTP 80"),
        ("external:outside", "192.0.2.10", "default/a", "ICMP type 13 code 0"),
        ("default/a", "10.64.0.2", "external:outside", "TCP 80"),
        ("node:node-1", "10.64.0.1", "default/a", "TCP 80"),
    ]


def test_later_exceptions_win() -> None:
    asked = scenario.Matrix(
        default="Allowed",
        port=80,
        except_=(
            scenario.MatrixException(from_="x/*", expect="Dropped"),
            scenario.MatrixException(from_="x/a", to="y/*", expect="Rejected"),
        ),
    )

    assert [expected(asked, *pair) for pair in (("x/a", "y/a"), ("x/b", "y/a"), ("x/a", "z/a"), ("y/a", "x/a"))] == [
        "Rejected",
        "Dropped",
        "Dropped",
        "Allowed",
    ]


def test_offline_is_an_annotation(tmp_path: Path) -> None:
    story = read(tmp_path, "spec: {}", head=', annotations: {lab.sluice.dev/offline: "true"}')

    assert story.scenario.offline


def test_a_folder_is_searched_for_scenarios(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    written(tmp_path / "deep", "spec: {manifests: [pods.yaml]}")

    assert [path.name for path in reading.find([tmp_path])] == ["scenario.yaml"]
    with pytest.raises(BadScenario, match="no such file"):
        reading.find([tmp_path / "nope"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadScenario, match="no file in it is a Scenario"):
        reading.find([tmp_path / "empty"])


def test_a_manifest_is_no_scenario(tmp_path: Path) -> None:
    (tmp_path / "pods.yaml").write_text(PODS.removeprefix("apiVersion: v1\n"))

    with pytest.raises(BadScenario) as raised:
        reading.read([tmp_path / "pods.yaml"])

    said = "$.kind: Pod is not Scenario; manifests are applied by one, in spec.manifests, or by `sluice lab up -f`"
    assert raised.value.lines[0] == f"{tmp_path}/pods.yaml:1: {said}"


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    written(tmp_path / "one", "spec: {nodes: []}")
    written(tmp_path / "two", "spec: {steps: 5}")

    with pytest.raises(BadScenario) as raised:
        reading.read([tmp_path])

    assert len(raised.value.lines) == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0.0), ("0s", 0.0), ("250ms", 0.25), ("1m30s", 90.0), ("1.5s", 1.5), ("1h", 3600.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert scenario.seconds(scenario.Duration(text)) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-1s", "1d", "1s!"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(scenario.BadDuration):
        scenario.seconds(scenario.Duration(text))
