"""Manifests to objects: what is taken, what travels, and what is refused with line and path."""

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec, objects
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import TYPES, ClusterGroup, EndpointSlice, IPBlock, LabelSelector, NetworkPolicyPeer
from sluice.contracts.status import DocumentProblem
from sluice.kube import manifest, nodes, schema
from sluice.kube.manifest import Document, Ignored, Unsupported, parse

POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: shop
spec:
  podSelector: {}
"""


def policy(spec, **metadata):
    document = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web", **metadata},
        "spec": spec,
    }
    return json.dumps(document)


def only(text, file="f.yaml"):
    (found,) = parse(text, file)
    return found


def taken(text, file="f.yaml") -> Document:
    found = only(text, file)
    assert isinstance(found, Document), found
    return found


def refused(text, file="f.yaml"):
    """(line, path, reason) of every problem in the text."""
    found = [one if isinstance(one, DocumentProblem) else pytest.fail(str(one)) for one in parse(text, file)]
    assert found
    return [(one.line, one.path, one.reason) for one in found]


def sorted_out(text):
    """(documents, problems)"""
    found = parse(text, "f.yaml")
    documents = [one for one in found if isinstance(one, Document)]
    return documents, [one for one in found if isinstance(one, DocumentProblem)]


def test_a_policy_becomes_its_struct():
    text = POLICY + (
        "  policyTypes: [Ingress, Egress]\n"
        "  ingress:\n"
        "  - from:\n"
        "    - podSelector: {matchLabels: {app: web}}\n"
        "      namespaceSelector:\n"
        "    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}\n"
        "    ports:\n"
        "    - {port: 0x50, endPort: 010, protocol: null}\n"
        "    - {port: http}\n"
    )
    made = taken(text).object

    assert isinstance(made, objects.K8sNetworkPolicy)
    assert made.key == ("shop", "web")
    assert made.spec.policy_types == ("Ingress", "Egress")
    (rule,) = made.spec.ingress
    assert rule.from_ == (
        NetworkPolicyPeer(pod_selector=LabelSelector(match_labels={"app": "web"})),
        NetworkPolicyPeer(ip_block=IPBlock(cidr="10.0.0.0/8", except_=("10.1.0.0/16",))),
    )
    assert [(port.protocol, port.port, port.end_port) for port in rule.ports] == [("TCP", 80, 8), ("TCP", "http", None)]


def test_what_people_write_travels_whole_but_for_status_and_managed_fields():
    text = POLICY.replace(
        "spec:", "  annotations: {why: '1'}\n  managedFields: [{manager: kubectl}]\nstatus: {conditions: []}\nspec:"
    )
    body = json.loads(taken(text).body)

    assert body == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web", "namespace": "shop", "annotations": {"why": "1"}},
        "spec": {"podSelector": {}},
    }


def test_the_body_is_the_object():
    for text in (POLICY, POLICY.replace("  namespace: shop\n", ""), "{apiVersion: v1, kind: Pod, metadata: {name: a}}"):
        document = taken(text).identified("u-1")

        assert document.object.metadata.uid == "u-1"
        assert codec.decode(document.body, TYPES[document.kind]) == document.object


def test_a_pod_is_trimmed_and_its_addresses_are_canonical():
    text = """
    apiVersion: v1
    kind: Pod
    metadata: {name: a, namespace: x, labels: {app: web}, annotations: {a: b}, ownerReferences: [{}]}
    spec:
      nodeName: node-1
      containers: [{name: c, image: nginx, ports: [{containerPort: 80, hostIP: ""}]}]
      volumes: [{name: v}]
    status: {phase: Running, podIP: 10.10.1.2, podIPs: [{ip: 10.10.1.2}, {ip: "FD00:0::7"}], hostIP: 10.0.0.1}
    """
    document = taken(text)

    assert json.loads(document.body) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "x", "labels": {"app": "web"}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]},
        "status": {"phase": "Running", "podIP": "10.10.1.2", "podIPs": [{"ip": "10.10.1.2"}, {"ip": "fd00::7"}]},
    }


def test_of_a_pod_the_lines_of_what_is_read_are_kept():
    text = """\
apiVersion: v1
kind: Pod
metadata:
  name: a
  managedFields: [{manager: kubelet}]
  labels: {app: web}
spec:
  volumes:
    - name: data
  containers:
    - name: web
      env: [{name: A, value: b}]
      ports:
        - containerPort: 80
status: {podIP: 10.0.0.1, hostIP: 192.0.2.1}
"""
    pod = only(text)

    lines = {path: pod.problem(path, "").line for path in ("$.metadata.labels.app", "$.spec", "$.status.podIP")}
    assert lines == {"$.metadata.labels.app": 6, "$.spec": 7, "$.status.podIP": 15}
    assert pod.problem("$.spec.containers[0].ports[0].containerPort", "").line == 14
    assert nodes.plain(pod.node) == {
        "metadata": {"name": "a", "labels": {"app": "web"}},
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {"containers": [{"name": "web", "ports": [{"containerPort": 80}]}]},
        "status": {"podIP": "10.0.0.1"},
    }
    assert pod.identified("u").object.metadata.uid == "u"


def test_of_a_policy_everything_is_kept():
    whole = only(policy({"podSelector": {}}, annotations={"note": "x"}, finalizers=["f"]))

    assert nodes.plain(whole.node.entries["metadata"].node) == {
        "name": "web",
        "annotations": {"note": "x"},
        "finalizers": ["f"],
    }


def test_of_the_annotations_of_a_pod_those_of_its_networks_travel():
    text = """
    apiVersion: v1
    kind: Pod
    metadata:
      name: a
      annotations: {k8s.v1.cni.cncf.io/networks: net-a, k8s.v1.cni.cncf.io/network-status: "[]", other: "1"}
    """
    document = taken(text)

    assert json.loads(document.body)["metadata"]["annotations"] == {
        "k8s.v1.cni.cncf.io/networks": "net-a",
        "k8s.v1.cni.cncf.io/network-status": "[]",
    }


def test_an_address_that_is_none_is_left_to_admission():
    document = taken("{apiVersion: v1, kind: Pod, metadata: {name: a}, status: {podIP: 010.1.1.1}}")

    assert isinstance(document.object, objects.Pod)
    assert document.object.addresses == ("010.1.1.1",)


def test_defaults_are_those_of_the_api_server():
    assert taken(POLICY.replace("  namespace: shop\n", "")).object.key == ("default", "web")
    assert taken("{apiVersion: v1, kind: Node, metadata: {name: n}}").object.key == ("", "n")
    namespace = taken("{apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {a: b}}}").object
    named = {"kubernetes.io/metadata.name": "x", "antrea.io/metadata.name": "x"}
    assert namespace.metadata.labels == {"a": "b", **named}


def test_spec_may_be_missing_as_in_kubernetes():
    made = taken("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a}, spec: }").object

    assert isinstance(made, objects.K8sNetworkPolicy)
    assert made.spec == objects.K8sNetworkPolicySpec()


def test_dates_of_kubectl_need_no_quotes():
    made = taken(POLICY.replace("spec:", "  creationTimestamp: 2024-01-01T10:00:00Z\nspec:")).object
    assert made.metadata.creation_timestamp == "2024-01-01T10:00:00Z"
    made = taken(POLICY.replace("spec:", "  creationTimestamp: null\nspec:")).object
    assert made.metadata.creation_timestamp == ""


def test_lists_are_expanded():
    text = """
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: x}
- apiVersion: v1
  kind: PodList
  items:
  - metadata: {name: a, namespace: x}
  - metadata: {name: b, namespace: x, labels: {on: 1, a: 1}}
- 5
"""
    assert refused(text)[0][1] == "$"  # `on` is no key: the whole document is unreadable

    (namespace, pod), (problem, nothing) = sorted_out(text.replace("on: 1, ", ""))

    assert (namespace.kind, namespace.path, namespace.line) == (Kind.NAMESPACE, "$.items[0]", 5)
    assert (pod.kind, pod.path, pod.object.key, pod.line) == (Kind.POD, "$.items[1].items[0]", ("x", "a"), 11)
    assert (problem.path, problem.line) == ("$.items[1].items[1].metadata.labels.a", 12)
    assert (nothing.path, nothing.line) == ("$.items[2]", 13)
    assert pod.problem("$.spec.containers[0]", "why") == DocumentProblem(
        file="f.yaml", line=11, path="$.items[1].items[0].spec.containers[0]", reason="why"
    )


def test_a_problem_of_admission_gets_its_line():
    text = POLICY + "  ingress:\n  - from:\n    - ipBlock:\n        cidr: 10.0.0.0/99\n"
    problem = taken(text).problem("$.spec.ingress[0].from[0].ipBlock.cidr", "bad")

    assert (problem.file, problem.line, problem.path) == ("f.yaml", 11, "$.spec.ingress[0].from[0].ipBlock.cidr")


@pytest.mark.parametrize(
    ("spec", "path", "reason"),
    [
        (
            "{podSelecter: {}}",
            "$.spec.podSelecter",
            "unknown field, so it would mean nothing; did you mean `podSelector`",
        ),
        ("{podSelector: {app: a}}", "$.spec.podSelector.app", "unknown field.*known are matchExpressions, matchLabels"),
        ("{podSelector: {matchLabels: {a: yes}}}", "$.spec.podSelector.matchLabels.a", 'boolean.*quote it: "yes"'),
        ("{podSelector: {matchLabels: {a: 1.0}}}", "$.spec.podSelector.matchLabels.a", 'number.*quote it: "1.0"'),
        ("{podSelector: {matchLabels: {a: 010}}}", "$.spec.podSelector.matchLabels.a", 'integer.*quote it: "010"'),
        ("{podSelector: {matchLabels: {a: 2024-01-01}}}", "$.spec.podSelector.matchLabels.a", 'quote it: "2024-01-01"'),
        ("{podSelector: {matchLabels: {a.b/c: null}}}", "$.spec.podSelector.matchLabels['a.b/c']", 'write ""'),
        ("{podSelector: {matchLabels: {a: [b]}}}", "$.spec.podSelector.matchLabels.a", "a list where text belongs"),
        ("{podSelector: {matchLabels: [a]}}", "$.spec.podSelector.matchLabels", "a list where a map belongs"),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: in}]}}",
            "$.spec.podSelector.matchExpressions[0].operator",
            "`in` is not known here; write In",
        ),
        ("{podSelector: {matchExpressions: [{key: a}]}}", "$.spec.podSelector.matchExpressions[0].operator", "missing"),
        (
            "{podSelector: {matchExpressions: [{key: a, operator: In, values: [1]}]}}",
            "$.spec.podSelector.matchExpressions[0].values[0]",
            'quote it: "1"',
        ),
        ("{policyTypes: Ingress}", "$.spec.policyTypes", '"Ingress" is text where a list belongs'),
        ("{policyTypes: [Both]}", "$.spec.policyTypes[0]", "write one of Egress, Ingress"),
        ("{ingress: {from: []}}", "$.spec.ingress", "a map where a list belongs"),
        ("{ingress: [null]}", "$.spec.ingress[0]", "an empty item"),
        ("{ingress: [{from: [{}, ]}, {to: []}]}", "$.spec.ingress[1].to", "unknown field"),
        ("{egress: [{from: []}]}", "$.spec.egress[0].from", "unknown field"),
        ("{ingress: [{ports: [{protocol: ICMP}]}]}", "$.spec.ingress[0].ports[0].protocol", "one of SCTP, TCP, UDP"),
        (
            "{ingress: [{ports: [{port: 80.5}]}]}",
            "$.spec.ingress[0].ports[0].port",
            "a number where an integer or text",
        ),
        (
            "{ingress: [{ports: [{port: true}]}]}",
            "$.spec.ingress[0].ports[0].port",
            "a boolean where an integer or text",
        ),
        ("{ingress: [{ports: [{port: {}}]}]}", "$.spec.ingress[0].ports[0].port", "a map where an integer or text"),
        ('{ingress: [{ports: [{endPort: "90"}]}]}', "$.spec.ingress[0].ports[0].endPort", "write it without quotes"),
        ("{ingress: [{from: [{ipBlock: {}}]}]}", "$.spec.ingress[0].from[0].ipBlock.cidr", "missing"),
        (
            "{ingress: [{from: [{ipBlock: 10.0.0.0/8}]}]}",
            "$.spec.ingress[0].from[0].ipBlock",
            "text where a map belongs",
        ),
        ("[]", "$.spec", "a list where a map belongs"),
    ],
)
def test_a_policy_of_another_shape_is_refused_with_its_path(spec, path, reason):
    ((line, where, why),) = refused(POLICY.replace("spec:\n  podSelector: {}", f"spec:\n  {spec}"))

    assert (line, where) == (7, path)
    assert re.search(reason, why), why


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("5", "$"),
        ("[]", "$"),
        ("a: 1", "$.apiVersion"),
        ("{apiVersion: v1, kind: 5}", "$.kind"),
        ("{apiVersion: 1, kind: Pod}", "$.apiVersion"),
        ("{apiVersion: v1, kind: List}", "$.items"),
        ("{apiVersion: v1, kind: List, items: {}}", "$.items"),
        ("{apiVersion: v1, kind: Pod}", "$.metadata"),
        ("{apiVersion: v1, kind: Pod, metadata: }", "$.metadata"),
        ("{apiVersion: v1, kind: Pod, metadata: {generateName: a-}}", "$.metadata.name"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: 1}}", "$.metadata.name"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {x: no}}}", "$.metadata.labels.x"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {hostNetwork: 1}}", "$.spec.hostNetwork"),
        ("{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {x: }}}", "$.metadata.labels.x"),
    ],
)
def test_what_is_no_object_is_refused_with_its_path(text, path):
    assert path in [where for _, where, _ in refused(text)]


def test_all_that_is_wrong_is_said():
    text = POLICY.replace("podSelector: {}", "podSelector: {a: 1}\n  ingres: []\n  egress: [{ports: [{prot: TCP}]}]")

    assert [(line, path) for line, path, _ in refused(text)] == [
        (7, "$.spec.podSelector.a"),
        (8, "$.spec.ingres"),
        (9, "$.spec.egress[0].ports[0].prot"),
    ]


@pytest.mark.parametrize(
    ("api_version", "kind", "meant"),
    [
        ("networking.k8s.io/v1", "networkpolicy", "NetworkPolicy"),
        ("networking.k8s.io/v1", "NetworkPolicies", "NetworkPolicy"),
        ("crd.antrea.io/v1beta1", "Clusternetworkpolicy", "ClusterNetworkPolicy"),
        ("v1", "pod", "Pod"),
    ],
)
def test_a_kind_that_is_written_otherwise_is_not_passed_over(api_version, kind, meant):
    found = only(f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a}}")

    assert isinstance(found, Unsupported)
    assert (found.line, found.path) == (1, "$.kind")
    assert found.reason == f"there is no kind {kind}, so nothing would enforce it; write {meant}"


def test_a_bad_document_stops_nothing_else():
    text = f"{POLICY}---\na: [\n---\n\x07\n---\n{POLICY.replace('web', 'db')}---\nb: 1\nb: 2\n---\n# nothing\n"
    (first, second), (bracket, bell, twice) = sorted_out(text)

    assert (first.object.key, second.object.key) == (("shop", "web"), ("shop", "db"))
    assert [(one.line, one.path) for one in (bracket, bell, twice)] == [(9, "$"), (11, "$"), (22, "$")]
    assert second.line == 13


@pytest.mark.parametrize(
    ("api_version", "kind", "expected"),
    [
        ("apps/v1", "Deployment", Ignored),
        ("v1", "ConfigMap", Ignored),
        ("v1", "ConfigMapList", Ignored),
        ("metrics.example.com/v1", "Node", Ignored),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", Ignored),
        ("crd.antrea.io/v1alpha1", "Tier", Unsupported),
        ("crd.antrea.io/v1alpha3", "ClusterGroup", Unsupported),
        ("k8s.cni.cncf.io/v1beta2", "MultiNetworkPolicy", Unsupported),
        ("k8s.cni.cncf.io/v1alpha1", "NetworkAttachmentDefinition", Unsupported),
        ("policy.networking.k8s.io/v1alpha2", "AdminNetworkPolicy", Unsupported),
        ("cilium.io/v2", "CiliumNetworkPolicy", Unsupported),
        ("extensions/v1beta1", "NetworkPolicy", Unsupported),
        ("apps/v1", "Pod", Unsupported),
        ("apps/v1", "Tier", Ignored),
    ],
)
def test_other_kinds_are_left_unless_somebody_counts_on_them(api_version, kind, expected):
    found = only(f"# first\napiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: 1}}")

    assert isinstance(found, expected)
    assert found.line == 2
    match found:
        case Unsupported(path=path, reason=reason):
            assert path == "$.kind"
            assert "not supported yet" in reason
        case Ignored(api_version=said, kind=also):
            assert (said, also) == (api_version, kind)


def test_a_removed_version_names_the_one_to_write():
    (found,) = refused("{apiVersion: networking.k8s.io/v1beta1, kind: NetworkPolicy}")

    assert "write apiVersion: networking.k8s.io/v1" in found[2]


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        (b"a: 1\nb: \xff\n", 2, "byte 0xff is not UTF-8"),
        ("a: 1\n".encode("utf-16"), 1, "byte 0xff is not UTF-8"),
        ("a: 1\nb: \ud800", 2, "half a character"),
        (b"a" * (nodes.MAX_DOCUMENT_BYTES + 1), 1, "larger than 16 MiB"),
    ],
)
def test_what_is_no_text_is_refused(source, line, reason):
    (problem,) = refused(source)

    assert problem[0] == line
    assert reason in problem[2]


def test_a_byte_order_mark_is_no_harm():
    assert taken(b"\xef\xbb\xbf" + POLICY.encode()).object.key == ("shop", "web")


def test_json_is_told_by_the_name_of_the_file():
    text = policy({"podSelector": {}}).replace(" ", "\t")

    assert taken(text, "f.json").object.key == ("default", "web")
    assert taken(text.replace("\t", " ") + "\n", "f.yaml").object.key == ("default", "web")
    assert [path for _, path, _ in refused("a: 1", "f.json")] == ["$"]
    assert len(parse(text + text, "f.json")) == 2


def test_an_object_too_large_for_kubernetes_is_refused():
    text = policy({"podSelector": {}}, annotations={"a": "x" * manifest.MAX_OBJECT_BYTES})

    assert "Kubernetes takes 1500000" in refused(text)[0][2]


LEAVES = (
    st.sampled_from(["a", "TCP", "In", "Ingress", "80", "yes", "1", "", "10.0.0.0/8"]) | st.integers() | st.booleans()
)
WORDS = """podSelector matchLabels matchExpressions key operator values ingress egress from to ports port endPort
protocol ipBlock cidr except namespaceSelector policyTypes x"""
KEYS = st.sampled_from(WORDS.split())
SPECS = st.recursive(
    st.none() | LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(SPECS)
def test_what_has_no_finding_converts_and_nothing_crashes(spec):
    found = parse(policy(spec), "f.json")

    for one in found:
        if isinstance(one, Document):
            assert codec.decode(one.body, TYPES[one.kind]) == one.object
        else:
            assert isinstance(one, DocumentProblem)
            assert "not a NetworkPolicy" not in one.reason  # the last resort: conversion found what the schema had not


@given(st.text() | st.binary())
def test_no_text_crashes(source):
    for file in ("f.yaml", "f.json"):
        assert isinstance(parse(source, file), list)


def test_every_field_of_a_kind_is_known_to_the_schema():
    """A struct with a type that `schema` cannot check would only be found by a user."""
    for kind in TYPES.values():
        pending = [msgspec.inspect.type_info(kind)]
        while pending:
            match pending.pop():
                case msgspec.inspect.StructType(fields=fields):
                    pending += [field.type for field in fields]
                case msgspec.inspect.UnionType(types=types):
                    pending += [one for one in types if not isinstance(one, msgspec.inspect.NoneType)]
                case msgspec.inspect.VarTupleType(item_type=item):
                    pending.append(item)
                case msgspec.inspect.DictType(value_type=value):
                    pending.append(value)
                case msgspec.inspect.LiteralType():
                    pass
                case scalar:
                    assert type(scalar) in schema._NOUNS


NOT_YET = [
    (
        "a machine",
        {"appliedTo": [{"externalEntitySelector": {}}]},
        "$.spec.appliedTo[0].externalEntitySelector",
    ),
    (
        "a scope",
        {"ingress": [{"action": "Drop", "from": [{"scope": "ClusterSet"}]}]},
        "$.spec.ingress[0].from[0].scope",
    ),
    (
        "the scope of a Service",
        {"egress": [{"action": "Drop", "toServices": [{"name": "s", "namespace": "x", "scope": "ClusterSet"}]}]},
        "$.spec.egress[0].toServices[0].scope",
    ),
]


@pytest.mark.parametrize("kind", ["ClusterNetworkPolicy", "NetworkPolicy"])
@pytest.mark.parametrize(("name", "spec", "path"), NOT_YET, ids=[row[0] for row in NOT_YET])
def test_what_is_not_enforced_yet_is_refused_and_not_dropped(name, spec, path, kind):
    written = {
        "apiVersion": "crd.antrea.io/v1beta1",
        "kind": kind,
        "metadata": {"name": "p"},
        "spec": {"priority": 1, **spec},
    }

    problem = only(json.dumps(written), "f.json")

    assert isinstance(problem, DocumentProblem)
    assert problem.path == path
    assert "not supported yet by this version" in problem.reason


def test_services_and_endpoints_are_trimmed_to_what_is_read():
    service = taken(
        """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: x, annotations: {a: b}, managedFields: []}
spec:
  type: NodePort
  clusterIP: 10.96.0.7
  clusterIPs: [10.96.0.7]
  ipFamilyPolicy: SingleStack
  selector: {app: web}
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  externalTrafficPolicy: Local
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30080, appProtocol: x}]
status: {loadBalancer: {ingress: [{ip: 192.0.2.1, ipMode: VIP}]}}
"""
    )
    slice_ = taken(
        """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: x, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1], conditions: {ready: true, serving: null}, nodeName: n, zone: z}]
ports: [{name: http, port: 8080, protocol: TCP}, {port: null}]
"""
    )

    assert isinstance(slice_.object, EndpointSlice)
    assert slice_.object.service == "web"
    assert json.loads(slice_.body)["endpoints"] == [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "nodeName": "n"}
    ]
    assert json.loads(service.body) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "x"},
        "spec": {
            "type": "NodePort",
            "clusterIP": "10.96.0.7",
            "clusterIPs": ["10.96.0.7"],
            "selector": {"app": "web"},
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
            "externalTrafficPolicy": "Local",
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    }


def test_a_node_keeps_the_annotation_that_is_read():
    made = taken(
        "{apiVersion: v1, kind: Node, metadata: {name: n, annotations: {sluice.dev/transport-address: 10.9.9.9, a: b}}}"
    ).object

    assert made.metadata.annotations == {"sluice.dev/transport-address": "10.9.9.9"}


def test_a_namespace_keeps_the_annotation_that_is_read():
    logging = "networkpolicy.antrea.io/enable-logging"
    made = taken(
        f'{{apiVersion: v1, kind: Namespace, metadata: {{name: x, annotations: {{{logging}: "true", a: b}}}}}}'
    )

    assert made.object.metadata.annotations == {logging: "true"}


def test_every_field_of_a_group_is_read():
    made = taken(
        """\
apiVersion: crd.antrea.io/v1beta1
kind: ClusterGroup
metadata: {name: g}
spec:
  ipBlocks: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]
  ipBlock: {cidr: 10.0.0.0/8}
  serviceReference: {name: s, namespace: x}
  childGroups: [a, b]
  podSelector: {}
  namespaceSelector: {}
  nodeSelector: {}
"""
    ).object

    assert isinstance(made, ClusterGroup)
    assert made.spec.child_groups == ("a", "b")
    assert made.spec.ip_blocks[0].except_ == ("10.1.0.0/16",)
