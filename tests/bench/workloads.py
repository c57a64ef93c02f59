"""The scale tests of the peer's controller, object by object, as bytes on the bus.

Source: Antrea, pkg/controller/networkpolicy/networkpolicy_controller_perf_test.go. Policies are about both directions,
Pods have random addresses and nodes.
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

from sluice.contracts import codec
from sluice.contracts.antrea import (
    AntreaNetworkPolicy,
    AntreaPeer,
    AntreaPolicySpec,
    AntreaPort,
    AntreaRule,
    AppliedTo,
)
from sluice.contracts.ids import Address, NodeName
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import (
    AnyObject,
    K8sNetworkPolicy,
    K8sNetworkPolicySpec,
    LabelSelector,
    Namespace,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    ObjectMeta,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
)
from sluice.contracts.subjects import ObjectSubject
from sluice.grouping.events import key_of

NODES = 1_000
SEED = 1


class Stored(NamedTuple):
    """A message of OBJECTS; its sequence is its place in the list, from 1."""

    subject: ObjectSubject
    body: bytes


def stored(obj: AnyObject) -> Stored:
    return Stored(key_of(obj), codec.encode(obj))


def namespace(name: str, **labels: str) -> Stored:
    meta = ObjectMeta(name=name, uid=f"ns-{name}", labels=labels)
    return stored(Namespace(api_version="v1", kind="Namespace", metadata=meta))


def pod(of: str, name: str, labels: dict[str, str], chance: random.Random, nodes: range = range(NODES)) -> Stored:
    address = Address(f"10.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}")
    made = Pod(
        api_version="v1",
        kind="Pod",
        metadata=ObjectMeta(
            name=name,
            namespace=of,
            uid=f"{chance.getrandbits(128):032x}",
            labels=labels,
            creation_timestamp="2024-05-01T10:00:00Z",
        ),
        spec=PodSpec(node_name=NodeName(f"Node-{chance.choice(nodes)}")),
        status=PodStatus(phase="Running", pod_ip=address, pod_ips=(PodIP(ip=address),)),
    )
    return stored(made)


def policy(of: str, name: str, labels: dict[str, str], *peers: NetworkPolicyPeer) -> Stored:
    """About both directions: ingress from the peers, no egress."""
    resource = RESOURCES[Kind.K8S_NETWORK_POLICY]
    made = K8sNetworkPolicy(
        api_version=resource.api_version,
        kind=resource.kind,
        metadata=ObjectMeta(name=name, namespace=of, uid=f"np-{of}-{name}"),
        spec=K8sNetworkPolicySpec(
            pod_selector=LabelSelector(match_labels=labels),
            policy_types=("Ingress", "Egress"),
            ingress=(NetworkPolicyIngressRule(from_=peers),) if peers else (),
        ),
    )
    return stored(made)


def peer(labels: dict[str, str], company: str = "") -> NetworkPolicyPeer:
    namespaces = LabelSelector(match_labels={"company": company}) if company else None
    return NetworkPolicyPeer(pod_selector=LabelSelector(match_labels=labels), namespace_selector=namespaces)


def small_namespaces(count: int = 25_000) -> Iterator[Stored]:
    """P1: in each Namespace 3 policies and 4 Pods."""
    chance = random.Random(SEED)
    names = [f"namespace-{number:05}" for number in range(count)]
    for name in names:
        yield namespace(name, app=name)
    for name in names:
        yield policy(name, "default-deny-all", {})
        for number in (1, 2):
            labels = {f"app-{number}": f"scale-{number}"}
            yield policy(name, f"np-{number}", labels, peer(labels))
    for name in names:
        for number in (1, 1, 2, 2):
            labels = {f"app-{number}": f"scale-{number}"}
            yield pod(name, f"pod-{chance.getrandbits(48):012x}", labels, chance)


def one_namespace(count: int = 10_000) -> Iterator[Stored]:
    """P2: every policy selects every Pod, on both sides."""
    chance = random.Random(SEED)
    labels = {"app-1": "scale-1"}
    yield namespace("one", app="one")
    for number in range(count):
        yield policy("one", f"np-{number}", labels, peer(labels))
    for number in range(count):
        yield pod("one", f"pod-{number}", labels, chance)


def large_namespaces(count: int = 100) -> Iterator[Stored]:
    """P3: in each Namespace 101 policies and 1,000 Pods."""
    chance = random.Random(SEED)
    names = [f"namespace-{number:03}" for number in range(count)]
    for name in names:
        yield namespace(name, app=name)
        yield policy(name, "default-deny-all", {})
        for number in range(100):
            labels = {f"app-{number}": f"scale-{number}"}
            yield policy(name, f"np-{number}", labels, peer(labels))
    for name in names:
        for number in range(1_000):
            yield pod(name, f"pod-{number}", {f"app-{number % 100}": f"scale-{number % 100}"}, chance)


def pairs(count: int = 10_000) -> Iterator[Stored]:
    """P4: in one Namespace a policy for each Pod, from the other Pod of its pair."""
    chance = random.Random(SEED)
    yield namespace("one", app="one")
    labels = [{"app": f"{chance.getrandbits(64):016x}"} for _ in range(count)]
    for number in range(count):
        yield policy("one", f"np-{number}", labels[number], peer(labels[number ^ 1]))
    for number in range(count):
        yield pod("one", f"pod-{number}", labels[number], chance)


def antrea_pairs(count: int = 10_000) -> Iterator[Stored]:
    """P6: as P4, by Antrea NetworkPolicies: each lets the other Pod of the pair in on one port."""
    chance = random.Random(SEED)
    yield namespace("one", app="one")
    selectors = [LabelSelector(match_labels={"app": f"{chance.getrandbits(64):016x}"}) for _ in range(count)]
    resource = RESOURCES[Kind.ANTREA_NETWORK_POLICY]
    for number in range(count):
        rule = AntreaRule(
            action="Allow",
            from_=(AntreaPeer(pod_selector=selectors[number ^ 1]),),
            ports=(AntreaPort(protocol="TCP", port=8080),),
        )
        made = AntreaNetworkPolicy(
            api_version=resource.api_version,
            kind=resource.kind,
            metadata=ObjectMeta(name=f"np-{number}", namespace="one", uid=f"np-one-{number}"),
            spec=AntreaPolicySpec(priority=5, applied_to=(AppliedTo(pod_selector=selectors[number]),), ingress=(rule,)),
        )
        yield stored(made)
    for number in range(count):
        yield pod("one", f"pod-{number}", selectors[number].match_labels, chance)


def across_namespaces(count: int = 1_000) -> Iterator[Stored]:
    """P5: in each of 1,000 Namespaces 10 policies and 100 Pods; peers are Pods of 10 Namespaces of one company."""
    chance = random.Random(SEED)
    for number in range(count):
        name, company = f"namespace-{number:04}", f"company-{number % 100}"
        yield namespace(name, app=name, company=company)
        for role in range(10):
            labels = {"app": f"scale-{role}"}
            yield policy(name, f"np-{role}", labels, peer(labels, company))
    for number in range(count):
        for index in range(100):
            yield pod(f"namespace-{number:04}", f"pod-{index}", {"app": f"scale-{index % 10}"}, chance)
