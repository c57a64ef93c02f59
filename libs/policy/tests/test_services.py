"""Services and EndpointSlices as programs, and whom a client gets to."""

from typing import Any

import pytest

from sluice.contracts import codec, subjects
from sluice.contracts.ids import ALL_NODES, Address, NodeName, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import ServiceRef
from sluice.contracts.serving import EndpointPort, EndpointsProgram, ServedEndpoint, ServedPort, ServiceProgram
from sluice.grouping.events import ObjectEvent, ObjectKey, key_of
from sluice.kube.manifest import Document, parse
from sluice.policy.services import Asked, Services

WEB = ServiceRef(namespace="y", name="web")
AT = Revision(1, 7)


def obj(kind: str, name: str, labels: dict[str, str] | None = None, **said: Any) -> ObjectEvent:  # Any: JSON
    api = "v1" if kind == "Service" else "discovery.k8s.io/v1"
    raw = {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "namespace": "y", "labels": labels or {}},
        **said,
    }
    (document,) = parse(codec.encode(raw), "services.json")
    assert isinstance(document, Document), document
    return ObjectEvent(key_of(document.object), document.object, AT)


def service(**spec: Any) -> ObjectEvent:
    return obj("Service", "web", spec={"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}], **spec})


def slice_(*endpoints: Any, ports: Any = ({"port": 8080},), kind: str = "IPv4", name: str = "web-1") -> ObjectEvent:
    labels = {"kubernetes.io/service-name": "web"}
    return obj("EndpointSlice", name, labels, addressType=kind, ports=list(ports), endpoints=list(endpoints))


def program(event: ObjectEvent) -> object:
    services = Services()
    services.evolve(event)
    (made,) = services.programs.values() or (None,)
    return made


def served(**said: Any) -> ServiceProgram:
    given: dict[str, Any] = {"addresses": (Address("10.96.0.1"),), "ports": (ServedPort(port=80),), **said}
    return ServiceProgram(
        unit=subjects.unit(Kind.SERVICE, "y", "web"), applied_to=ALL_NODES, cause=AT, service=WEB, **given
    )


SERVICES = [
    ("one address", service(), served()),
    ("the older field", service(clusterIPs=[], clusterIP="10.96.0.1"), served()),
    ("two addresses", service(clusterIPs=["10.96.0.1", "fd00:96::0:1"]), served(addresses=("10.96.0.1", "fd00:96::1"))),
    ("headless", service(clusterIPs=["None"], clusterIP="None"), None),
    ("without an address yet", service(clusterIPs=[]), None),
    ("an alias", service(type="ExternalName", clusterIPs=[]), None),
    ("without ports", service(ports=[]), None),
    (
        "a NodePort",
        service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}], externalTrafficPolicy="Local"),
        served(ports=(ServedPort(port=80, node_port=30080),), node_port_here_only=True),
    ),
    ("a NodePort that its type does not have", service(ports=[{"port": 80, "nodePort": 30080}]), served()),
    ("affinity", service(sessionAffinity="ClientIP"), served(affinity_s=10_800)),
    ("endpoints of this node", service(internalTrafficPolicy="Local"), served(here_only=True)),
]


@pytest.mark.parametrize(("event", "made"), [case[1:] for case in SERVICES], ids=[case[0] for case in SERVICES])
def test_services(event: ObjectEvent, made: ServiceProgram | None):
    assert program(event) == made


def endpoint(address: str, node: str = "", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "nodeName": node, "conditions": conditions}


ENDPOINTS = [
    (
        "nothing said is ready",
        endpoint("10.0.0.1", "n"),
        [ServedEndpoint(address=Address("10.0.0.1"), node=NodeName("n"))],
    ),
    ("ready", endpoint("10.0.0.1", ready=True), [ServedEndpoint(address=Address("10.0.0.1"))]),
    ("not ready", endpoint("10.0.0.1", ready=False), []),
    ("serves but is not ready", endpoint("10.0.0.1", ready=False, serving=True), []),
    (
        "ends and serves",
        endpoint("10.0.0.1", ready=False, serving=True, terminating=True),
        [ServedEndpoint(address=Address("10.0.0.1"), state="ending")],
    ),
    ("ends and does not serve", endpoint("10.0.0.1", ready=False, serving=False, terminating=True), []),
]


@pytest.mark.parametrize(("given", "made"), [case[1:] for case in ENDPOINTS], ids=[case[0] for case in ENDPOINTS])
def test_endpoints(given: Any, made: list[ServedEndpoint]):
    found = program(slice_(given))

    assert isinstance(found, EndpointsProgram)
    assert list(found.endpoints) == made
    assert found.ports == (EndpointPort(port=8080),)


def test_a_slice_of_names_or_of_nobody_is_none():
    assert program(slice_(endpoint("a.example.org"), kind="FQDN")) is None
    assert program(obj("EndpointSlice", "stray", addressType="IPv4", endpoints=[], ports=[])) is None


def test_what_did_not_change_keeps_its_cause_and_what_goes_is_dropped():
    services = Services()
    unit = subjects.unit(Kind.SERVICE, "y", "web")
    assert services.evolve(service())
    services.drain()
    again = service()

    assert not services.evolve(ObjectEvent(again.key, again.object, Revision(1, 8)))
    assert services.drain() == ({}, set())
    assert services.evolve(ObjectEvent(ObjectKey(Kind.SERVICE, "y", "web"), None, Revision(1, 9)))
    assert services.drain() == ({}, {(ALL_NODES, unit)})
    assert not services.evolve(service())  # late


NEAR, FAR = NodeName("near"), NodeName("far")
BOTH = (endpoint("10.0.0.1", "near"), endpoint("10.0.0.2", "far"))
ALL = (("10.0.0.1", 8080), ("10.0.0.2", 8080))
NODE_PORT = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}
QUESTIONS: list[tuple[str, list[ObjectEvent], Asked, object]] = [
    ("all", [service(), slice_(*BOTH)], Asked(WEB, "TCP", 80, 4), ALL),
    ("no such Service", [slice_(*BOTH)], Asked(WEB, "TCP", 80, 4), None),
    ("no such port", [service(), slice_(*BOTH)], Asked(WEB, "TCP", 81, 4), None),
    ("no such protocol", [service(), slice_(*BOTH)], Asked(WEB, "UDP", 80, 4), None),
    ("nobody", [service()], Asked(WEB, "TCP", 80, 4), ()),
    ("of another family", [service(), slice_(*BOTH)], Asked(WEB, "TCP", 80, 6), ()),
    (
        "the ready before those that end",
        [service(), slice_(BOTH[0], {**endpoint("10.0.0.3", ready=False, serving=True, terminating=True)})],
        Asked(WEB, "TCP", 80, 4),
        ALL[:1],
    ),
    (
        "of the client's node",
        [service(internalTrafficPolicy="Local"), slice_(*BOTH)],
        Asked(WEB, "TCP", 80, 4, client_node=FAR),
        ALL[1:],
    ),
    ("by a NodePort", [service(**NODE_PORT), slice_(*BOTH)], Asked(WEB, "TCP", 30080, 4, NEAR), ALL),
    (
        "by a NodePort to this node",
        [service(**NODE_PORT, externalTrafficPolicy="Local"), slice_(*BOTH)],
        Asked(WEB, "TCP", 30080, 4, NEAR),
        ALL[:1],
    ),
    (
        "by a NodePort to this node, a Pod",
        [service(**NODE_PORT, externalTrafficPolicy="Local"), slice_(*BOTH)],
        Asked(WEB, "TCP", 30080, 4, NEAR, client_node=FAR),
        ALL,
    ),
    ("the Service's port is none of a node's", [service(**NODE_PORT)], Asked(WEB, "TCP", 80, 4, NEAR), None),
]


@pytest.mark.parametrize(
    ("events", "asked", "found"), [case[1:] for case in QUESTIONS], ids=[case[0] for case in QUESTIONS]
)
def test_whom_a_client_gets_to(events: list[ObjectEvent], asked: Asked, found: object):
    services = Services()
    for event in events:
        services.evolve(event)

    assert services.endpoints(asked) == found
