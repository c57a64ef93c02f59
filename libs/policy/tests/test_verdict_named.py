"""Whom names mean: groups, ServiceAccounts, Nodes, Services and names of DNS, as peers and in appliedTo."""

from typing import Any, NamedTuple

import pytest

from sluice.contracts.ids import Address
from sluice.contracts.objects import AnyObject
from sluice.contracts.programs import ServiceRef
from sluice.policy.l7 import HttpRequest, TlsHello
from sluice.policy.packet import AddressEnd, End, Packet, PodEnd
from sluice.policy.state import ClusterState
from sluice.policy.translate.targets import UNSUPPORTED_GROUP
from sluice.policy.verdict import Outcome, verdict
from sluice.testkit.builders import acnp, annp, cluster_group, group, namespace, node, pod, service

CLUSTER: list[AnyObject] = [
    namespace("x", env="prod"),
    namespace("y", env="test"),
    pod("x/a", ip="10.1.0.11", app="a"),
    pod("x/b", ip="10.1.0.12", app="b", account="robot"),
    pod("y/a", ip="10.1.0.21", node="node-3", app="a"),
    pod("y/b", ip="10.1.0.22", app="b", account="robot"),
    pod("y/host", ip="172.18.0.1", host_network=True),
    node("node-1", ip=["172.18.0.1"], pod_cidrs=["10.1.0.0/24"], transport="172.19.0.1", role="edge"),
    node("node-2", ip=["172.18.0.2"], pod_cidrs=["10.2.0.0/24"]),
]
ALL: Any = {"appliedTo": [{"podSelector": {}}]}


def pods(**labels: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": labels}}


def end(text: str) -> End:
    return PodEnd(*text.split("/")) if "/" in text else AddressEnd(Address(text))


def outcome(objects: list[AnyObject], ends: str, **more: Any) -> str:
    """What becomes of a TCP packet to port 80; the same whatever the order in which the objects come."""
    source, destination = ends.split()
    asked = Packet(**{"source": end(source), "destination": end(destination), "protocol": "TCP", "port": 80, **more})
    told = [*CLUSTER, *objects]
    found = {verdict(ClusterState(order), asked).outcome for order in (told, told[::-1])}
    assert len(found) == 1
    return found.pop()


class Case(NamedTuple):
    name: str
    peer: dict[str, Any]
    objects: list[AnyObject]
    source: str
    """Who sends to y/a."""

    matches: bool


G: Any = {"group": "g"}
ACCOUNT: Any = {"serviceAccount": {"name": "robot", "namespace": "x"}}
EDGE: Any = {"nodeSelector": {"matchLabels": {"role": "edge"}}}
BLOCKS: Any = {"ipBlocks": [{"cidr": "10.1.0.0/24", "except": ["10.1.0.12/32"]}]}
BY_SERVICE: Any = {"serviceReference": {"name": "s", "namespace": "x"}}
CHILDREN: Any = {"childGroups": ["pods", "blocks", "later"]}

PEERS = [
    Case("a group of Pods of every Namespace", G, [cluster_group("g", pods(app="b"))], "y/b", True),
    Case("and of no others", G, [cluster_group("g", pods(app="b"))], "x/a", False),
    Case(
        "of Namespaces", G, [cluster_group("g", {"namespaceSelector": {"matchLabels": {"env": "prod"}}})], "x/a", True
    ),
    Case("of others", G, [cluster_group("g", {"namespaceSelector": {"matchLabels": {"env": "prod"}}})], "y/b", False),
    Case(
        "of Pods of Namespaces",
        G,
        [cluster_group("g", {**pods(app="a"), "namespaceSelector": {"matchLabels": {"env": "prod"}}})],
        "x/b",
        False,
    ),
    Case("a group that nobody made is empty", G, [], "x/a", False),
    Case("a group that selects nothing is empty", G, [cluster_group("g")], "x/a", False),
    Case("a Group is no ClusterGroup", G, [group("y/g", {"podSelector": {}})], "x/a", False),
    Case("blocks", G, [cluster_group("g", BLOCKS)], "x/a", True),
    Case("but for an except", G, [cluster_group("g", BLOCKS)], "x/b", False),
    Case("a single block", G, [cluster_group("g", {"ipBlock": {"cidr": "10.1.0.11/32"}})], "x/a", True),
    Case("the Pods of a Service", G, [cluster_group("g", BY_SERVICE), service("x/s", app="b")], "x/b", True),
    Case("not what others call so", G, [cluster_group("g", BY_SERVICE), service("x/s", app="b")], "y/b", False),
    Case("a Service without a selector", G, [cluster_group("g", BY_SERVICE), service("x/s")], "x/b", False),
    Case("a Service that nobody made", G, [cluster_group("g", BY_SERVICE)], "x/b", False),
    Case(
        "children, and one that nobody made",
        G,
        [cluster_group("g", CHILDREN), cluster_group("pods", pods(app="a")), cluster_group("blocks", BLOCKS)],
        "y/b",
        True,
    ),
    Case(
        "Pods of a child",
        G,
        [
            cluster_group("g", CHILDREN),
            cluster_group("pods", pods(app="b")),
            cluster_group("blocks", {"ipBlocks": [{"cidr": "192.0.2.0/24"}]}),
        ],
        "x/b",
        True,
    ),
    Case(
        "a child with children drops everybody",
        G,
        [cluster_group("g", CHILDREN), cluster_group("pods", CHILDREN)],
        "x/a",
        True,
    ),
    Case("itself drops everybody", G, [cluster_group("g", {"childGroups": ["g"]})], "x/a", True),
    Case("Nodes of a group", G, [cluster_group("g", EDGE)], "172.18.0.1", True),
    Case("and no others of it", G, [cluster_group("g", EDGE)], "172.18.0.2", False),
    Case("a ServiceAccount", ACCOUNT, [], "x/b", True),
    Case("of another Namespace", ACCOUNT, [], "y/b", False),
    Case("another one", ACCOUNT, [], "x/a", False),
    Case("the default one", {"serviceAccount": {"name": "default", "namespace": "x"}}, [], "x/a", True),
    Case("is not all of them", {"serviceAccount": {"name": "default", "namespace": "x"}}, [], "x/b", False),
    Case("a Node by its address", EDGE, [], "172.18.0.1", True),
    Case("by its gateway", EDGE, [], "10.1.0.1", True),
    Case("by where its tunnels end", EDGE, [], "172.19.0.1", True),
    Case("by a Pod that has its address", EDGE, [], "y/host", True),
    Case("not another one", EDGE, [], "10.2.0.1", False),
    Case("nor its Pods", EDGE, [], "x/a", False),
    Case("every Node", {"nodeSelector": {}}, [], "10.2.0.1", True),
]


@pytest.mark.parametrize("case", PEERS, ids=lambda case: case.name)
def test_peers(case: Case) -> None:
    """A drop is about who matches; an allow before a drop of everybody lets them in, as far as nothing is refused."""
    drop = acnp("p", {**ALL, "ingress": [{"action": "Drop", "from": [case.peer]}]})
    allow = acnp("p", {**ALL, "ingress": [{"action": "Allow", "from": [case.peer]}, {"action": "Drop"}]})
    refused = case.name.endswith("drops everybody")

    assert outcome([drop, *case.objects], f"{case.source} y/a") == ("Dropped" if case.matches else "Allowed")
    expected = "Allowed" if case.matches and not refused else "Dropped"
    assert outcome([allow, *case.objects], f"{case.source} y/a") == expected


class Applied(NamedTuple):
    name: str
    entries: list[dict[str, Any]]
    objects: list[AnyObject]
    to: str
    """Who is sent something by 192.0.2.1."""

    applies: bool


APPLIED = [
    Applied("a group", [G], [cluster_group("g", pods(app="b"))], "y/b", True),
    Applied("and no others", [G], [cluster_group("g", pods(app="b"))], "y/a", False),
    Applied("a group that nobody made", [G], [], "y/a", False),
    Applied("blocks protect nobody", [G], [cluster_group("g", BLOCKS)], "x/a", False),
    Applied(
        "children",
        [G],
        [cluster_group("g", CHILDREN), cluster_group("pods", pods(app="b")), cluster_group("blocks", BLOCKS)],
        "y/b",
        True,
    ),
    Applied("too deep is nobody", [G], [cluster_group("g", CHILDREN), cluster_group("pods", CHILDREN)], "y/b", False),
    Applied("the Pods of a Service", [G], [cluster_group("g", BY_SERVICE), service("x/s", app="b")], "x/b", True),
    Applied("a ServiceAccount", [ACCOUNT], [], "x/b", True),
    Applied("and not its namesake", [ACCOUNT], [], "y/b", False),
    Applied("several entries", [ACCOUNT, G], [cluster_group("g", pods(app="a"))], "y/a", True),
    Applied("Nodes are not their Pods", [EDGE], [], "x/a", False),
    Applied("two things at once are nobody", [{**G, **ACCOUNT}], [cluster_group("g", pods(app="b"))], "x/b", False),
]


@pytest.mark.parametrize("case", APPLIED, ids=lambda case: case.name)
def test_applied_to(case: Applied) -> None:
    by_policy = acnp("p", {"appliedTo": case.entries, "ingress": [{"action": "Drop"}]})
    by_rule = acnp("p", {"ingress": [{"action": "Drop", "appliedTo": case.entries}]})

    for policy in (by_policy, by_rule):
        found = outcome([policy, *case.objects], f"192.0.2.1 {case.to}")
        assert found == ("Dropped" if case.applies else "Allowed")


# ------------------------------------------------------------------------------------------------------ Groups


class Namespaced(NamedTuple):
    name: str
    spec: dict[str, Any]
    """Of the Group y/g."""

    objects: list[AnyObject]
    as_peer: bool
    """x/b is in it."""

    applied: bool | None
    """y/b is in it; None: a policy that is applied to it has no effect."""


EVERYWHERE: Any = {"namespaceSelector": {}}
GROUPS = [
    Namespaced("Pods alone are of its own Namespace", pods(app="b"), [], as_peer=False, applied=True),
    Namespaced("of all Namespaces", EVERYWHERE, [], as_peer=True, applied=None),
    Namespaced(
        "of its own alone",
        {"namespaceSelector": {"matchLabels": {"env": "test"}}},
        [],
        as_peer=False,
        applied=True,
    ),
    Namespaced(
        "of a Namespace that does not exist",
        {"namespaceSelector": {"matchLabels": {"env": "none"}}},
        [],
        as_peer=False,
        applied=False,
    ),
    Namespaced("of a Service elsewhere", BY_SERVICE, [service("x/s", app="b")], as_peer=True, applied=None),
    Namespaced("of a Service that nobody made", BY_SERVICE, [], as_peer=False, applied=False),
    Namespaced(
        "of a Service of its own",
        {"serviceReference": {"name": "s", "namespace": "y"}},
        [service("y/s", app="b")],
        as_peer=False,
        applied=True,
    ),
    Namespaced("through a child", {"childGroups": ["c"]}, [group("y/c", EVERYWHERE)], as_peer=True, applied=None),
    Namespaced("a child elsewhere", {"childGroups": ["c"]}, [group("x/c", EVERYWHERE)], as_peer=False, applied=False),
    Namespaced(
        "a child that is a ClusterGroup", {"childGroups": ["c"]}, [cluster_group("c", EVERYWHERE)], False, False
    ),
    Namespaced("blocks", {"ipBlocks": [{"cidr": "10.1.0.12/32"}]}, [], as_peer=True, applied=False),
]


@pytest.mark.parametrize("case", GROUPS, ids=lambda case: case.name)
def test_groups_of_a_namespace(case: Namespaced) -> None:
    objects = [group("y/g", case.spec), *case.objects]
    peer = annp("y/p", {**ALL, "ingress": [{"action": "Drop", "from": [G]}]})
    applied = annp("y/p", {"appliedTo": [G], "ingress": [{"action": "Drop"}]})

    assert outcome([peer, *objects], "x/b y/a") == ("Dropped" if case.as_peer else "Allowed")
    assert outcome([applied, *objects], "192.0.2.1 y/b") == ("Dropped" if case.applied else "Allowed")
    assert outcome([applied, *objects], "192.0.2.1 x/b") == "Allowed"
    problems = ClusterState([*CLUSTER, applied, *objects]).compiler.problems
    assert [problem.code for problem in problems] == ([UNSUPPORTED_GROUP] if case.applied is None else [])


def test_a_group_that_begins_to_reach_elsewhere_takes_its_policies_out_of_force() -> None:
    ours = group("y/g", {"namespaceSelector": {"matchLabels": {"env": "test"}}})
    policy = annp("y/p", {"appliedTo": [G], "ingress": [{"action": "Drop"}]})

    assert outcome([ours, policy], "192.0.2.1 y/b") == "Dropped"
    assert outcome([ours, policy, namespace("z", env="test")], "192.0.2.1 y/b") == "Allowed"


# ------------------------------------------------------------------------------------------ relative to Namespaces


@pytest.mark.parametrize(
    ("entry", "allowed", "dropped"),
    [
        ({"group": "g"}, "x/a x/b", "y/a x/b"),
        ({"serviceAccount": {"name": "robot", "namespace": "x"}}, "x/a x/b", "y/a x/b"),
    ],
)
def test_self_of_those_that_a_name_means(entry: dict[str, Any], allowed: str, dropped: str) -> None:
    rules = [{"action": "Allow", "from": [{"namespaces": {"match": "Self"}}]}, {"action": "Drop"}]
    objects: list[AnyObject] = [acnp("p", {"appliedTo": [entry], "ingress": rules}), cluster_group("g", pods(app="b"))]

    assert outcome(objects, allowed) == "Allowed"
    assert outcome(objects, dropped) == "Dropped"


# --------------------------------------------------------------------------------------------- Services, names of DNS

SVC = ServiceRef(namespace="x", name="s")
OTHER = ServiceRef(namespace="x", name="other")


class To(NamedTuple):
    name: str
    rule: dict[str, Any]
    packet: dict[str, Any]
    matches: bool


FQDN: Any = {"to": [{"fqdn": "*foobar.com"}]}
TO = [
    To("a Service", {"toServices": [{"name": "s", "namespace": "x"}]}, {"service": SVC}, True),
    To("another Service", {"toServices": [{"name": "s", "namespace": "x"}]}, {"service": OTHER}, False),
    To("its endpoint, directly", {"toServices": [{"name": "s", "namespace": "x"}]}, {}, False),
    To("a name", {"to": [{"fqdn": "www.foobar.com"}]}, {"fqdn": "www.foobar.com."}, True),
    To("in capitals", {"to": [{"fqdn": "WWW.foobar.com"}]}, {"fqdn": "www.FooBar.com"}, True),
    To("another name", {"to": [{"fqdn": "www.foobar.com"}]}, {"fqdn": "wwwxfoobar.com"}, False),
    To("an address without a name", {"to": [{"fqdn": "*"}]}, {}, False),
    To("a star, and nothing", FQDN, {"fqdn": "foobar.com"}, True),
    To("a star, and a name", FQDN, {"fqdn": "www.foobar.com"}, True),
    To("a star, and several", FQDN, {"fqdn": "test.uswest.foobar.com"}, True),
    To("a star is no dot", FQDN, {"fqdn": "evilfoobar.com"}, True),
    To("nor what comes behind", FQDN, {"fqdn": "foobar.com.evil"}, False),
    To("IGMP", {"protocols": [{"igmp": {"igmpType": 0x16}}]}, {"protocol": "IGMP", "igmp_type": 0x16}, True),
    To("another IGMP", {"protocols": [{"igmp": {"igmpType": 0x16}}]}, {"protocol": "IGMP", "igmp_type": 0x12}, False),
    To(
        "IGMP of a group",
        {"protocols": [{"igmp": {"groupAddress": "225.1.2.3"}}]},
        {"protocol": "IGMP", "igmp_type": 0x16, "igmp_group": "225.1.2.4"},
        False,
    ),
]


@pytest.mark.parametrize("case", TO, ids=lambda case: case.name)
def test_destinations(case: To) -> None:
    policy = acnp("p", {**ALL, "egress": [{"action": "Drop", **case.rule}]})

    assert outcome([policy], "x/a y/a", **case.packet) == ("Dropped" if case.matches else "Allowed")


def test_what_comes_to_a_node_port_is_let_in_by_the_rules_of_the_service_and_then_of_the_pod() -> None:
    at_service = acnp(
        "svc",
        {
            "priority": 5,
            "appliedTo": [{"service": {"name": "s", "namespace": "x"}}],
            "ingress": [{"action": "Drop", "from": [{"ipBlock": {"cidr": "1.1.1.0/24"}}]}],
        },
    )
    at_pod = acnp(
        "pod", {"priority": 1, **ALL, "ingress": [{"action": "Allow", "from": [{"ipBlock": {"cidr": "1.1.1.7/32"}}]}]}
    )
    by_port: Any = {"service": SVC, "node_port": True}

    assert outcome([at_service], "1.1.1.1 x/a", **by_port) == "Dropped"
    assert outcome([at_service], "1.1.2.1 x/a", **by_port) == "Allowed"
    assert outcome([at_service], "1.1.1.1 x/a", service=OTHER, node_port=True) == "Allowed"
    assert outcome([at_service], "1.1.1.1 x/a", service=SVC) == "Allowed"
    assert outcome([at_service], "1.1.1.1 x/a") == "Allowed"
    assert outcome([at_service], "1.1.1.1 192.0.2.9", **by_port) == "Dropped"
    assert outcome([at_service, at_pod], "1.1.1.7 x/a", **by_port) == "Dropped"
    open_door = acnp(
        "svc",
        {"priority": 1, "appliedTo": [{"service": {"name": "s", "namespace": "x"}}], "ingress": [{"action": "Allow"}]},
    )
    closed = acnp(
        "pod", {"priority": 5, **ALL, "ingress": [{"action": "Drop", "from": [{"ipBlock": {"cidr": "1.1.1.0/24"}}]}]}
    )
    assert outcome([open_door, closed], "1.1.1.7 x/a", **by_port) == "Dropped"
    assert outcome([open_door, closed], "1.1.2.7 x/a", **by_port) == "Allowed"
    assert outcome([open_door, closed], "1.1.1.7 x/a", masked=Address("10.0.0.1"), **by_port) == "Allowed"


def test_a_pod_by_a_node_port_meets_the_policies_of_pods_alone() -> None:
    """What applies to the Service is about clients beyond the cluster; what a Pod sends to itself may be dropped."""
    at_service = acnp(
        "svc", {"appliedTo": [{"service": {"name": "s", "namespace": "x"}}], "ingress": [{"action": "Drop"}]}
    )
    sends_nothing = acnp("pod", {"appliedTo": [pods(app="a")], "egress": [{"action": "Drop"}]})
    by_port: Any = {"service": SVC, "node_port": True}

    assert outcome([at_service], "y/a x/a", **by_port) == outcome([at_service], "x/a x/a", **by_port) == "Allowed"
    assert outcome([sends_nothing], "y/a x/a", **by_port) == outcome([sends_nothing], "x/a x/a", **by_port) == "Dropped"
    assert outcome([sends_nothing], "x/a x/a") == "Allowed"


class Asking(NamedTuple):
    name: str
    packet: dict[str, Any]
    outcome: str


API = HttpRequest(method="GET", host="foo.bar.com", path="/api/v2/x")
ASKING = [
    Asking("the request", {"asks": API}, "Allowed"),
    Asking("another path", {"asks": HttpRequest(host="foo.bar.com", path="/api/v1/x")}, "Rejected"),
    Asking("no request", {}, "Rejected"),
    Asking("a handshake", {"asks": TlsHello(sni="foo.bar.com")}, "Rejected"),
    Asking("what is no TCP", {"protocol": "UDP"}, "Dropped"),
    Asking("what the rule is not about", {"port": 81, "protocol": "TCP"}, "Allowed"),
]


@pytest.mark.parametrize("case", ASKING, ids=lambda case: case.name)
def test_a_rule_about_http_decides_about_all_that_matches_it(case: Asking) -> None:
    """No later rule is asked; here it would allow everything."""
    looks = {"path": "/api/v2/*", "host": "foo.bar.com", "method": "GET"}
    ports = [{"port": 80}, {"protocol": "UDP", "port": 80}]
    rules = [{"action": "Allow", "ports": ports, "l7Protocols": [{"http": looks}]}, {"action": "Allow"}]
    policies: list[AnyObject] = [acnp("p", {**ALL, "ingress": rules})]

    assert outcome(policies, "x/b y/a", **case.packet) == case.outcome


@pytest.mark.parametrize("action", ["Allow", "Drop"])
def test_a_rule_at_a_service_is_about_addresses_alone(action: str) -> None:
    """A Drop of somebody that a Service cannot tell drops everybody; an Allow allows nobody."""
    entry = {"service": {"name": "s", "namespace": "x"}}
    rules = [{"action": action, "from": [pods(app="a")]}, {"action": "Drop"}]
    policy = acnp("p", {"appliedTo": [entry], "ingress": rules if action == "Allow" else rules[:1]})

    assert outcome([policy], "1.1.1.1 x/a", service=SVC, node_port=True) == Outcome.DROPPED
