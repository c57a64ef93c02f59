"""`sluice verdict`: the answer, and the line of the rule that decides it."""

import json

import pytest

CLOSED = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: %s, namespace: y}\nspec: %s\n"


def ask(sluice, folder, words: str, *more: object):
    source, destination, *options = words.split()
    return sluice("verdict", "-f", folder, "--from", source, "--to", destination, *options, *more)


def test_the_rule_that_allows_and_its_line(sluice, folder) -> None:
    result = ask(sluice, folder, "y/b x/a --port 80")

    assert result.output.splitlines() == [
        "y/b to x/a, TCP 80: Allowed",
        "  egress   allow  no policy applies",
        f"  ingress  allow  NetworkPolicy x/to-a, rule 1  {folder}/policy.yaml:9",
    ]
    assert result.exit_code == 0


def test_the_policies_that_isolate_and_their_lines(sluice, folder) -> None:
    for name in ("one", "two"):
        (folder / f"{name}.yaml").write_text(CLOSED % (name, "{podSelector: {}, policyTypes: [Egress]}"))

    result = ask(sluice, folder, "y/c x/a --protocol udp --port 80")

    words = "no rule allows it; isolated by NetworkPolicy"
    assert [" ".join(line.split()) for line in result.output.splitlines()] == [
        "y/c to x/a, UDP 80: Dropped",
        f"egress drop {words} y/one {folder}/one.yaml:4",
        f"NetworkPolicy y/two {folder}/two.yaml:4",
        f"ingress drop {words} x/to-a {folder}/policy.yaml:5",
    ]
    assert result.exit_code == 0


IGMP = """\
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: reports}
spec:
  priority: 5
  appliedTo: [{podSelector: {}}]
  egress: [{action: Drop, protocols: [{igmp: {igmpType: 0x16, groupAddress: 225.1.2.3}}]}]
"""


def test_reports_of_igmp(sluice, folder) -> None:
    (folder / "igmp.yaml").write_text(IGMP)
    way = "y/b 225.1.2.3 --protocol igmp"

    for words, outcome in (
        (f"{way} --igmp-type 22 --igmp-group 225.1.2.3", "Dropped"),
        (f"{way} --igmp-type 22 --igmp-group 225.1.2.4", "Allowed"),
        (f"{way} --igmp-type 18 --igmp-group 225.1.2.3", "Allowed"),
    ):
        assert ask(sluice, folder, words).output.splitlines()[0] == f"y/b to 225.1.2.3, IGMP: {outcome}"
    for wrong, words in (
        ("an IGMP packet has no ports", f"{way} --port 80"),
        ("a TCP packet has none", "y/b x/a --port 80 --igmp-type 22"),
        ("not an address", f"{way} --igmp-group all"),
    ):
        refused = ask(sluice, folder, words)
        assert refused.exit_code == 2
        assert wrong in refused.output


MULTI = """\
apiVersion: v1
kind: Pod
metadata:
  name: m
  namespace: x
  annotations: {k8s.v1.cni.cncf.io/network-status: '[{"name": "net", "ips": ["10.1.0.1"]}]'}
---
apiVersion: v1
kind: Pod
metadata:
  name: n
  namespace: x
  annotations: {k8s.v1.cni.cncf.io/network-status: '[{"name": "net", "ips": ["10.1.0.2"]}]'}
---
apiVersion: k8s.cni.cncf.io/v1beta1
kind: MultiNetworkPolicy
metadata: {name: web, namespace: x, annotations: {k8s.v1.cni.cncf.io/policy-for: net}}
spec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}
"""


def test_interfaces_on_secondary_networks(sluice, folder) -> None:
    (folder / "multi.yaml").write_text(MULTI)

    result = ask(sluice, folder, "x/m@net x/n@x/net --port 80")
    refused = ask(sluice, folder, "x/m@net x/n@net --port 81")
    nowhere = ask(sluice, folder, "x/m@other x/n@net --port 80")

    assert [" ".join(line.split()) for line in result.output.splitlines()] == [
        "x/m@net to x/n@x/net, TCP 80: Allowed",
        "egress allow no policy applies",
        f"ingress allow MultiNetworkPolicy x/web, rule 0 {folder}/multi.yaml:18",
    ]
    assert refused.output.splitlines()[0] == "x/m@net to x/n@net, TCP 81: Dropped"
    assert nowhere.exit_code == 2
    assert "no such interface on x/other" in nowhere.output


ANSWERS = [
    ("x/a y/b --port 80", "Allowed"),
    ("y/b x/a --port 81", "Dropped"),
    ("y/b x/a --port 80 --protocol SCTP", "Dropped"),
    ("10.0.0.2 10.0.0.1 --port 80", "Allowed"),
    ("10.0.0.3 x/a --port 80", "Dropped"),
    ("x/a 192.0.2.1 --protocol ICMP --icmp-type 8", "Allowed"),
    ("192.0.2.1 192.0.2.2 --port 1", "Allowed"),
    ("x/a x/a --port 1", "Allowed"),
]


@pytest.mark.parametrize(("words", "outcome"), ANSWERS, ids=[row[0] for row in ANSWERS])
def test_answers(sluice, folder, words, outcome) -> None:
    result = ask(sluice, folder, words)

    assert result.output.splitlines()[0].rpartition(": ")[2] == outcome


def test_json_says_the_same(sluice, folder) -> None:
    (folder / "closed.yaml").write_text(CLOSED % ("closed", "{podSelector: {}, policyTypes: [Egress]}"))

    result = ask(sluice, folder, "y/b x/a --port 80", "-o", "json")

    policy = {"kind": "NetworkPolicy", "namespace": "y", "name": "closed", "file": f"{folder}/closed.yaml", "line": 4}
    rule = {"kind": "NetworkPolicy", "namespace": "x", "name": "to-a", "file": f"{folder}/policy.yaml", "line": 9}
    assert json.loads(result.output) == {
        "from": "y/b",
        "to": "x/a",
        "protocol": "TCP",
        "port": 80,
        "outcome": "Dropped",
        "egress": {"action": "drop", "reason": "isolation", "isolated_by": [policy], "passed": []},
        "ingress": {
            "action": "allow",
            "reason": "rule",
            "rule": {**rule, "rule": 1, "rule_name": "", "action": "allow"},
            "passed": [],
        },
    }
    assert ask(sluice, folder, "y/b x/a --port 80", "-o", "json").output == result.output


def test_json_of_what_no_policy_is_about(sluice, folder) -> None:
    said = json.loads(ask(sluice, folder, "x/a 192.0.2.1 --port 80 --family 4", "-o", "json").output)

    assert said["egress"] == {"action": "allow", "reason": "no-policy", "passed": []}
    assert said["ingress"] is None


def test_a_node_reaches_the_pods_that_it_runs(sluice, folder) -> None:
    (folder / "one.yaml").write_text(CLOSED % ("closed", "{podSelector: {}}"))

    assert ask(sluice, folder, "10.9.0.1 y/c --port 80").output.startswith("10.9.0.1 to y/c, TCP 80: Dropped\n")
    status = "{addresses: [{type: InternalIP, address: 10.9.0.1}]}"
    (folder / "node.yaml").write_text(f"apiVersion: v1\nkind: Node\nmetadata: {{name: node-1}}\nstatus: {status}\n")
    assert ask(sluice, folder, "10.9.0.1 y/c --port 80").output.splitlines() == [
        "10.9.0.1 to y/c, TCP 80: Allowed",
        "  egress   -      not a Pod, so no policy applies to it",
        "  ingress  allow  a node may always reach the Pods that it runs",
    ]


SERVICES = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: x}
spec: {clusterIPs: [10.96.0.1], selector: {role: web}, ports: [{port: 8080, targetPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: idle, namespace: x}
spec: {clusterIPs: [10.96.0.2], selector: {role: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: x, labels: {role: web, open: "yes"}}
status: {podIP: 10.0.0.11}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: x, labels: {role: web}}
status: {podIP: 10.0.0.12}
"""


def test_what_is_sent_to_a_service_is_told_of_each_endpoint(sluice, folder) -> None:
    (folder / "services.yaml").write_text(SERVICES)
    for words, outcome in (
        ("x/a svc:x/web --port 8080", "Allowed"),
        ("x/a svc:x/web --port 80", "Dropped"),
        ("x/a svc:x/web --port 8080 --protocol UDP", "Dropped"),
        ("x/a svc:x/idle --port 80", "Rejected"),
        ("x/a 10.96.0.1 --port 8080", "Allowed"),
        ("x/a 10.96.0.1 --port 80", "Dropped"),
        ("x/a 10.96.0.2 --port 80", "Rejected"),
    ):
        assert ask(sluice, folder, words).output.splitlines()[0].rpartition(": ")[2] == outcome, words
    assert ask(sluice, folder, "x/a svc:x/web --port 80").output.splitlines()[1:] == ["  the Service has no such port"]
    assert ask(sluice, folder, "x/a svc:x/idle --port 80").output.splitlines()[1:] == ["  the Service has no endpoint"]

    selected = "{matchLabels: {role: web}, matchExpressions: [{key: open, operator: DoesNotExist}]}"
    closed = CLOSED % ("closed", f"{{podSelector: {selected}}}")
    (folder / "closed.yaml").write_text(closed.replace("namespace: y", "namespace: x"))
    varied = ask(sluice, folder, "x/a svc:x/web --port 8080")
    assert [" ".join(line.split()) for line in varied.output.splitlines()] == [
        "x/a to svc:x/web, TCP 8080: Varies",
        "10.0.0.11 80: Allowed",
        "egress allow no policy applies",
        "ingress allow no policy applies",
        "10.0.0.12 80: Dropped",
        "egress allow no policy applies",
        f"ingress drop no rule allows it; isolated by NetworkPolicy x/closed {folder}/closed.yaml:4",
    ]
    said = json.loads(ask(sluice, folder, "x/a svc:x/web --port 8080", "-o", "json").output)
    assert (said["outcome"], said["ingress"]) == ("Varies", None)
    assert [(one["address"], one["port"], one["outcome"]) for one in said["endpoints"]] == [
        ("10.0.0.11", 80, "Allowed"),
        ("10.0.0.12", 80, "Dropped"),
    ]
    by_address = json.loads(ask(sluice, folder, "x/a 10.96.0.1 --port 8080", "-o", "json").output)
    assert by_address == {**said, "to": "10.96.0.1"}


REFUSED = [
    ("x/a svc:x/none --port 80", "svc:x/none: no such Service with a ClusterIP"),
    ("svc:x/none x/a --port 80", "a Service sends no packets"),
    ("x/a svc:none --port 80", "'svc:none' cannot be the source or destination of a packet"),
    ("x/a y/nobody --port 1", "y/nobody: no such Pod"),
    ("x/a b --port 1", "'b' cannot be the source or destination of a packet"),
    ("x/a y/b/c --port 1", "'y/b/c' cannot be the source or destination of a packet"),
    ("x/a y/b", "--port is missing"),
    ("x/a y/b --protocol ICMP --port 1", "an ICMP packet has no ports"),
    ("x/a y/b --port 1 --icmp-type 8", "a TCP packet has none"),
    ("x/a y/b --port 0", "0 is not in the range 1<=x<=65535"),
    ("x/a y/b --port 1 --family 6", "no addresses of the same family (IPv6)"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_bad_questions(sluice, folder, words, message) -> None:
    result = ask(sluice, folder, words)

    assert result.exit_code == 2
    assert message in result.output


def test_objects_that_are_refused_are_no_ground_for_an_answer(sluice, folder) -> None:
    (folder / "bad.yaml").write_text(CLOSED % ("bad", "{podSelector: {}, ingress: [{ports: [{port: 0}]}]}"))

    result = ask(sluice, folder, "x/a y/b --port 80")

    assert result.exit_code == 2
    assert result.output.startswith(f"{folder}/bad.yaml:4: $.spec.ingress[0].ports[0].port: ")


def test_a_pod_on_a_node_that_has_no_room_is_bad_input(sluice, folder) -> None:
    (folder / "node.yaml").write_text(
        "apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\nspec: {podCIDR: 10.9.0.0/31}\n"
    )

    result = ask(sluice, folder, "x/a y/b --port 80")

    assert result.exit_code == 2
    assert f"{folder}/pods.yaml:12: $: node node-1: no address is left in 10.9.0.0/31" in result.output


BY_NAME = """\
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: out}
spec:
  priority: 5
  appliedTo: [{podSelector: {matchLabels: {app: b}}}]
  egress:
    - {action: Allow, to: [{fqdn: "*.foo.com"}], l7Protocols: [{http: {path: /public/*}}, {tls: {sni: www.foo.com}}]}
    - {action: Drop}
"""


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ((), "Dropped"),
        (("--fqdn", "www.foo.com"), "Rejected"),
        (("--fqdn", "www.foo.com", "--http", "GET /public/x"), "Allowed"),
        (("--fqdn", "www.foo.com", "--http", "POST www.foo.com/public/x"), "Allowed"),
        (("--fqdn", "www.foo.com", "--http", "GET www.foo.com/x"), "Rejected"),
        (("--fqdn", "www.foo.com", "--sni", "www.foo.com"), "Allowed"),
        (("--fqdn", "foo.com", "--sni", "www.foo.com"), "Dropped"),
    ],
)
def test_names_and_what_is_asked(sluice, folder, more, outcome) -> None:
    (folder / "out.yaml").write_text(BY_NAME)

    result = ask(sluice, folder, "y/b 192.0.2.7 --port 80", *more)

    assert result.output.splitlines()[0] == f"y/b to 192.0.2.7, TCP 80: {outcome}"
