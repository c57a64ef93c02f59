"""What the API server refuses, and what it takes."""

from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.admission import names
from sluice.admission.admit import admit
from sluice.contracts.objects import K8sNetworkPolicy, Namespace, Node, Pod


class Case(NamedTuple):
    name: str
    spec: dict[str, object]
    refused: tuple[str, ...] = ()
    """path: a part of the reason"""


def made(kind, api_version="v1", **fields):
    fields.setdefault("metadata", {})
    fields["metadata"].setdefault("name", "a")
    if kind in (Pod, K8sNetworkPolicy):
        fields["metadata"].setdefault("namespace", "x")
    return msgspec.convert({"apiVersion": api_version, "kind": kind.__name__, **fields}, kind)


def check(refusals, expected):
    assert len(refusals) == len(expected), refusals
    for (path, reason), wanted in zip(refusals, expected, strict=True):
        where, _, part = wanted.partition(": ")
        assert path == where
        assert part in reason
        assert ";" in reason, "a reason says what to do"


def ingress(**rule):
    return {"ingress": [rule]}


def peer(**given):
    return ingress(**{"from": [given]})


def port(**given):
    return ingress(ports=[given])


def block(cidr, *excepts):
    return peer(ipBlock={"cidr": cidr, "except": list(excepts)})


def expression(**given):
    return {"podSelector": {"matchExpressions": [given]}}


FROM = "$.spec.ingress[0].from[0]"
PORT = "$.spec.ingress[0].ports[0]"
EXPRESSION = "$.spec.podSelector.matchExpressions[0]"
LONG = "a" * 64

POLICIES = [
    Case("nothing but a selector", {"podSelector": {}}),
    Case("no spec at all", {}),
    Case("empty lists", {"ingress": [], "egress": [{}], "policyTypes": []}),
    Case("both types", {"policyTypes": ["Ingress", "Egress"]}),
    Case("one type twice", {"policyTypes": ["Ingress", "Ingress"]}),
    Case("three types", {"policyTypes": ["Ingress", "Egress", "Egress"]}, ("$.spec.policyTypes: more than two",)),
    Case("everybody", peer(podSelector={})),
    Case("all namespaces", peer(namespaceSelector={})),
    Case("both selectors", peer(podSelector={}, namespaceSelector={"matchLabels": {"a": "b"}})),
    Case("a peer that selects nothing", peer(), (f"{FROM}: selects nothing",)),
    Case(
        "block and Pods",
        peer(podSelector={}, ipBlock={"cidr": "10.0.0.0/8"}),
        (f"{FROM}: both an ipBlock and selectors",),
    ),
    Case(
        "block and namespaces",
        peer(namespaceSelector={}, ipBlock={"cidr": "::/0"}),
        (f"{FROM}: both an ipBlock and selectors",),
    ),
    Case(
        "egress is looked at, too",
        {"egress": [{"to": [{}], "ports": [{"port": 0}]}]},
        ("$.spec.egress[0].ports[0].port: 0 is not a port", "$.spec.egress[0].to[0]: selects nothing"),
    ),
    Case("the lowest and the highest port", {"ingress": [{"ports": [{"port": 1}, {"port": 65535}]}]}),
    Case("port 0", port(port=0), (f"{PORT}.port: 0 is not a port",)),
    Case("port 65536", port(port=65536), (f"{PORT}.port: 65536",)),
    Case("a negative port", port(port=-1), (f"{PORT}.port: -1",)),
    Case("a protocol alone", port(protocol="SCTP")),
    Case("a range", port(port=80, endPort=90)),
    Case("a range of one", port(port=80, endPort=80)),
    Case("a range backwards", port(port=80, endPort=79), (f"{PORT}.endPort: 79 is less than port 80",)),
    Case("a range too far", port(port=80, endPort=65536), (f"{PORT}.endPort: 65536 is not a port",)),
    Case("a range without beginning", port(endPort=90), (f"{PORT}.port: missing",)),
    Case("a range from a name", port(port="http", endPort=90), (f"{PORT}.endPort: cannot begin with a name",)),
    Case("a named port", port(port="http-8080")),
    Case("a number in quotes", port(port="80"), (f"{PORT}.port: write it without quotes",)),
    Case("an empty name", port(port=""), (f"{PORT}.port: not a port name",)),
    Case("capitals in a name", port(port="HTTP"), (f"{PORT}.port: not a port name",)),
    Case("a name without a letter", port(port="8-0"), (f"{PORT}.port: with a letter",)),
    Case("two hyphens in a name", port(port="a--b"), (f"{PORT}.port: not a port name",)),
    Case("a hyphen at the end of a name", port(port="a-"), (f"{PORT}.port: not a port name",)),
    Case("16 letters in a name", port(port="a" * 16), (f"{PORT}.port: at most 15",)),
    Case("a base 60 number", port(port="1:20"), (f"{PORT}.port: not a port name",)),
    Case("IPv4", block("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24")),
    Case("IPv6", block("fd00::/8", "fd00:1::/32")),
    Case("the whole Internet", block("0.0.0.0/0", "10.0.0.0/8")),
    Case("one address", block("10.0.0.1/32")),
    Case("bits behind the prefix", block("10.1.2.3/8", "10.1.2.3/16")),
    Case("no prefix", block("10.0.0.0"), (f"{FROM}.ipBlock.cidr: not a CIDR",)),
    Case("a mask", block("10.0.0.0/255.0.0.0"), (f"{FROM}.ipBlock.cidr: not a CIDR",)),
    Case("a prefix too long", block("10.0.0.0/33"), (f"{FROM}.ipBlock.cidr: not a CIDR",)),
    Case("a prefix with a zero", block("10.0.0.0/08"), (f"{FROM}.ipBlock.cidr: not a CIDR",)),
    Case("leading zeros", block("010.0.0.0/8"), (f"{FROM}.ipBlock.cidr: not a CIDR",)),
    Case("no address", block("pod/24"), (f"{FROM}.ipBlock.cidr: not a CIDR",)),
    Case("nothing", block(""), (f"{FROM}.ipBlock.cidr: not a CIDR",)),
    Case("spaces", block(" 10.0.0.0/8"), (f"{FROM}.ipBlock.cidr: not a CIDR",)),
    Case("a newline", block("10.0.0.0/8\n"), (f"{FROM}.ipBlock.cidr: not a CIDR",)),
    Case("a zone", block("fe80::1%eth0/64"), (f"{FROM}.ipBlock.cidr: not a CIDR",)),
    Case("IPv4 as IPv6", block("::ffff:10.0.0.0/104"), (f"{FROM}.ipBlock.cidr: written as IPv6",)),
    Case("all of IPv6", block("::/0")),
    Case("except is all", block("10.0.0.0/8", "10.0.0.0/8"), (f"{FROM}.ipBlock.except[0]: not a smaller part of",)),
    Case("except is more", block("10.0.0.0/8", "0.0.0.0/0"), (f"{FROM}.ipBlock.except[0]: not a smaller part of",)),
    Case(
        "except is elsewhere", block("10.0.0.0/8", "11.0.0.0/16"), (f"{FROM}.ipBlock.except[0]: not a smaller part of",)
    ),
    Case(
        "except of the other family",
        block("10.0.0.0/8", "fd00::/16"),
        (f"{FROM}.ipBlock.except[0]: not a smaller part of",),
    ),
    Case("except is no CIDR", block("10.0.0.0/8", "10.1.0.0/16", "x"), (f"{FROM}.ipBlock.except[1]: not a CIDR",)),
    Case("In", expression(key="a", operator="In", values=["b", ""])),
    Case("Exists", expression(key="a.b/c", operator="Exists")),
    Case("In nothing", expression(key="a", operator="In"), (f"{EXPRESSION}.values: add one",)),
    Case("NotIn nothing", expression(key="a", operator="NotIn", values=[]), (f"{EXPRESSION}.values: add one",)),
    Case("Exists what", expression(key="a", operator="Exists", values=["b"]), (f"{EXPRESSION}.values: remove",)),
    Case(
        "DoesNotExist what", expression(key="a", operator="DoesNotExist", values=["b"]), (f"{EXPRESSION}.values: re",)
    ),
    Case("a bad key", expression(key="a b", operator="Exists"), (f"{EXPRESSION}.key: not a label key",)),
    Case("a bad value", expression(key="a", operator="In", values=["b", "c d"]), (f"{EXPRESSION}.values[1]: not a",)),
    Case("labels", {"podSelector": {"matchLabels": {"example.com/a_b": "B.c", "x": ""}}}),
    Case("a label too long", {"podSelector": {"matchLabels": {"a": LONG}}}, ("$.spec.podSelector.matchLabels.a: 63",)),
    Case(
        "a key too long", {"podSelector": {"matchLabels": {LONG: ""}}}, (f"$.spec.podSelector.matchLabels.{LONG}: 63",)
    ),
    Case(
        "a bad prefix",
        {"podSelector": {"matchLabels": {"Ex_/a": "b"}}},
        ("$.spec.podSelector.matchLabels['Ex_/a']: the prefix of the key",),
    ),
    Case(
        "an empty prefix",
        {"podSelector": {"matchLabels": {"/a": "b"}}},
        ("$.spec.podSelector.matchLabels['/a']: prefix",),
    ),
    Case(
        "selectors of peers",
        peer(
            podSelector={"matchLabels": {"a": "-"}},
            namespaceSelector={"matchExpressions": [{"key": "", "operator": "Exists"}]},
        ),
        (
            f"{FROM}.podSelector.matchLabels.a: label value",
            f"{FROM}.namespaceSelector.matchExpressions[0].key: label key",
        ),
    ),
]


@pytest.mark.parametrize("case", POLICIES, ids=lambda case: case.name)
def test_a_policy(case):
    policy = made(K8sNetworkPolicy, "networking.k8s.io/v1", spec=case.spec)

    check(admit(policy), case.refused)


METADATA = [
    (Namespace, {"name": "a-1"}, ()),
    (Namespace, {"name": "a.b"}, ("$.metadata.name: not a DNS label",)),
    (Namespace, {"name": "a" * 64}, ("$.metadata.name: at most 63",)),
    (Namespace, {"namespace": "x"}, ("$.metadata.namespace: belongs to no namespace",)),
    (Node, {"name": "node.example.com"}, ()),
    (Node, {"name": "-a"}, ("$.metadata.name: not a DNS name",)),
    (Node, {"namespace": "default"}, ("$.metadata.namespace: belongs to no namespace",)),
    (Pod, {"name": "a.b-c.0"}, ()),
    (Pod, {"name": ""}, ("$.metadata.name: not a DNS name",)),
    (Pod, {"name": "A"}, ("$.metadata.name: not a DNS name",)),
    (Pod, {"name": "a_b"}, ("$.metadata.name: not a DNS name",)),
    (Pod, {"name": "a..b"}, ("$.metadata.name: not a DNS name",)),
    (Pod, {"name": "a\n"}, ("$.metadata.name: not a DNS name",)),
    (Pod, {"name": "a" * 254}, ("$.metadata.name: at most 253",)),
    (Pod, {"namespace": "a.b"}, ("$.metadata.namespace: not a DNS label",)),
    (Pod, {"uid": "6f5e-1"}, ()),
    (Pod, {"uid": "a:b"}, ("$.metadata.uid: not a UID",)),
    (Pod, {"labels": {"a": "b c"}}, ("$.metadata.labels.a: not a label value",)),
    (K8sNetworkPolicy, {"name": "a.b"}, ()),
    (
        K8sNetworkPolicy,
        {"name": "a b", "namespace": "-"},
        ("$.metadata.name: DNS name", "$.metadata.namespace: DNS label"),
    ),
]


@pytest.mark.parametrize(("kind", "metadata", "refused"), METADATA)
def test_metadata(kind, metadata, refused):
    check(admit(made(kind, metadata=dict(metadata))), refused)


def status(*addresses, ip=None):
    listed = {"podIPs": [{"ip": address} for address in addresses]} if addresses else {}
    return {"status": {**({"podIP": ip} if ip else {}), **listed}}


def ports(*given):
    return {"spec": {"containers": [{"ports": list(given)}]}}


PODS = [
    Case("no address yet", {}),
    Case("one address", status(ip="10.10.0.1")),
    Case("both families", status("10.10.0.1", "fd00::1", ip="10.10.0.1")),
    Case("no address at all", status(ip="10.10.0"), ("$.status.podIP: not an IP address",)),
    Case("leading zeros", status("10.10.0.01"), ("$.status.podIPs[0].ip: not an IP address",)),
    Case("a prefix", status("10.10.0.1/24"), ("$.status.podIPs[0].ip: not an IP address",)),
    Case("a zone", status("fe80::1%eth0"), ("$.status.podIPs[0].ip: zone",)),
    Case("IPv4 as IPv6", status("::ffff:10.0.0.1"), ("$.status.podIPs[0].ip: holds an IPv4 address",)),
    Case("two of a family", status("10.10.0.1", "10.10.0.2"), ("$.status.podIPs[1].ip: second IPv4",)),
    Case("two stories", status("10.10.0.2", ip="10.10.0.1"), ("$.status.podIP: must agree",)),
    Case("a port", ports({"containerPort": 80, "name": "http"}, {"containerPort": 80, "protocol": "UDP"})),
    Case("port 0", ports({"containerPort": 0}), ("$.spec.containers[0].ports[0].containerPort: 0 is not a port",)),
    Case(
        "a name twice",
        ports({"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}),
        ("$.spec.containers[0].ports[1].name: also the name of an earlier port",),
    ),
    Case("a bad name", ports({"containerPort": 1, "name": "A"}), ("$.spec.containers[0].ports[0].name: port name",)),
    Case("a bad node", {"spec": {"nodeName": "a b"}}, ("$.spec.nodeName: not a DNS name",)),
]


@pytest.mark.parametrize("case", PODS, ids=lambda case: case.name)
def test_a_pod(case):
    check(admit(made(Pod, **case.spec)), case.refused)


NODES = [
    Case("all is well", {"spec": {"podCIDR": "10.10.0.0/24", "podCIDRs": ["10.10.0.0/24", "fd00::/64"]}}),
    Case("no network", {"spec": {"podCIDR": "10.10.0.0"}}, ("$.spec.podCIDR: not a CIDR",)),
    Case("one of them", {"spec": {"podCIDRs": ["10.10.0.0/24", "x"]}}, ("$.spec.podCIDRs[1]: not a CIDR",)),
    Case(
        "addresses",
        {"status": {"addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "n"}]}},
        ("$.status.addresses[1].address: not an IP address",),
    ),
]


@pytest.mark.parametrize("case", NODES, ids=lambda case: case.name)
def test_a_node(case):
    check(admit(made(Node, **case.spec)), case.refused)


@given(st.text())
def test_what_is_admitted_as_a_name_is_safe_in_a_subject(text):
    """No `_`, no space, no wildcard, never empty: `contracts.subjects` counts on it."""
    if names.dns_subdomain(text) is None:
        assert text
        assert not set(text) & set("_*> \t\n:")


@pytest.mark.parametrize(("written", "refused"), [("end", ()), ("keep", ()), ("End", ("neither keep nor end",))])
def test_what_becomes_of_established_connections(written, refused):
    annotation = "policy.sluice.dev/established"
    policy = made(
        K8sNetworkPolicy,
        "networking.k8s.io/v1",
        metadata={"annotations": {annotation: written}},
        spec={"podSelector": {}},
    )

    check(admit(policy), [f"$.metadata.annotations['{annotation}']: {part}" for part in refused])
