"""Policies on Nodes that use every feature of a table, one after the other: for tests with a real kernel."""

from typing import Any

from msgspec.structs import replace

from sluice.contracts.objects import AnyObject
from sluice.grouping.events import ObjectEvent
from sluice.testkit import builders
from sluice.testkit.expanders import story

END = {"policy.sluice.dev/established": "end"}
PODS: dict[str, Any] = {"podSelector": {"matchLabels": {"app": "web"}}, "namespaceSelector": {}}
NODES: dict[str, Any] = {"nodeSelector": {"matchLabels": {"role": "edge"}}}
BLOCK: dict[str, Any] = {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.64/26", "192.0.2.200/32"]}}
BLOCK6: dict[str, Any] = {"ipBlock": {"cidr": "2001:db8::/32"}}
EVERYBODY: dict[str, Any] = {"ipBlock": {"cidr": "0.0.0.0/0"}}

INGRESS: list[dict[str, Any]] = [
    {"action": "Allow", "from": [PODS, NODES], "ports": [{"protocol": "TCP", "port": 80}]},
    {"action": "Drop", "from": [BLOCK, BLOCK6], "ports": [{"protocol": "UDP", "port": 53, "endPort": 60}]},
    {"action": "Reject", "from": [EVERYBODY], "ports": [{"protocol": "SCTP", "port": 80}]},
    {"action": "Pass", "ports": [{"protocol": "TCP", "port": 81, "sourcePort": 1024, "sourceEndPort": 2047}]},
    {"action": "Reject", "protocols": [{"icmp": {"icmpType": 8, "icmpCode": 0}}], "enableLogging": True},
    {"action": "Drop", "protocols": [{"icmp": {}}], "enableLogging": True},
    {"action": "Drop", "protocols": [{"igmp": {"igmpType": 17}}]},
    {"action": "Drop", "ports": [{"protocol": "SCTP"}]},
    {"action": "Drop"},
]
EGRESS: list[dict[str, Any]] = [
    {"action": "Allow", "to": [PODS], "ports": [{"protocol": "TCP", "port": "web"}]},
    {"action": "Allow", "ports": [{"protocol": "UDP", "port": "web"}]},
    {"action": "Drop", "to": [NODES, BLOCK], "protocols": [{"icmp": {}}]},
    {"action": "Reject", "to": [BLOCK6]},
]


def events() -> list[ObjectEvent]:
    """A cluster of two nodes whose policies are created, changed and deleted."""

    def policy(name: str, notes: dict[str, str] | None = None, **spec: object) -> AnyObject:
        made = builders.acnp(name, {"priority": 1, "appliedTo": [{"nodeSelector": {}}], **spec})
        return replace(made, metadata=replace(made.metadata, annotations=notes or {}))

    def pod(number: int) -> AnyObject:
        ip = (f"10.0.0.{number}", f"fd00::{number}")
        ports: tuple[builders.Port, ...] = (("web", 80 + number), ("web", 53, "UDP"))
        return builders.pod(f"x/pod-{number}", ip=ip, node="node-2", ports=ports, labels={"app": "web"})

    return story(
        builders.namespace("x"),
        builders.node("node-1", ip=("192.168.77.10", "fd00:77::10"), pod_cidrs=("10.1.0.0/24", "fd00:1::/64")),
        builders.node("node-2", ip=("192.168.77.11", "fd00:77::11"), labels={"role": "edge"}),
        pod(1),
        policy("in", ingress=INGRESS),
        pod(2),
        policy("out", egress=EGRESS),
        policy("last", tier="baseline", ingress=[{"action": "Drop", "from": [BLOCK]}], egress=[{"action": "Pass"}]),
        builders.node("node-1", ip=("192.168.77.10",), pod_cidrs=("10.1.0.0/23",)),
        policy("in", END, ingress=INGRESS[1:]),
        policy("out", egress=EGRESS[:1]),
        builders.node("node-1", ip=("192.168.77.10",), pod_cidrs=("10.1.0.0/25",)),
        policy("in", ingress=INGRESS[:1]),
    )
