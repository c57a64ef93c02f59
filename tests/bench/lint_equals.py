"""LINT: lint of many policies of equal priority, or applied to the same Pods, in CPU seconds."""

import sys
from collections.abc import Callable, Iterator, Mapping

from tests.bench.figures import Figure, Watch, show

from sluice.contracts.antrea import AntreaPeer, AntreaPolicySpec, AntreaPort, AntreaRule, AppliedTo
from sluice.contracts.ids import Address, NodeName
from sluice.contracts.objects import (
    AnyObject,
    AnyPolicy,
    ClusterNetworkPolicy,
    IPBlock,
    K8sNetworkPolicy,
    K8sNetworkPolicySpec,
    LabelSelector,
    Namespace,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    ObjectMeta,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
)
from sluice.policy.lint import lint
from sluice.policy.state import ClusterState

COUNT, PODS = 3_000, 4
"""Policies, and Pods in a Namespace."""

ALL = LabelSelector()


def apart(count: int) -> Iterator[AnyObject]:
    """Each policy has a Namespace of its own: it allows some of its Pods and drops the rest."""
    for number in range(count):
        yield from _namespace(f"team-{number:05}", number)
        own = LabelSelector(match_labels={"kubernetes.io/metadata.name": f"team-{number:05}"})
        yield _policy(
            number,
            own,
            AntreaRule(action="Allow", from_=(AntreaPeer(namespace_selector=own),), ports=_port(8080)),
            AntreaRule(action="Drop"),
        )


def peers(count: int) -> Iterator[AnyObject]:
    """All policies apply to all Pods; each is about the Pods of one of 100 Namespaces, and a third of them drop."""
    for number in range(100):
        yield from _namespace(f"team-{number:05}", number)
    for number in range(count):
        other = LabelSelector(match_labels={"kubernetes.io/metadata.name": f"team-{number % 100:05}"})
        yield _policy(
            number,
            ALL,
            AntreaRule(
                action="Allow" if number % 3 else "Drop",
                from_=(AntreaPeer(namespace_selector=other),),
                ports=_port(1_000 + number),
            ),
        )


def blocks(count: int) -> Iterator[AnyObject]:
    """All policies apply to all Pods; each is about an IP block of its own, and half of them drop."""
    for number in range(100):
        yield from _namespace(f"team-{number:05}", number)
    for number in range(count):
        block = IPBlock(cidr=f"172.{16 + number // 65_536}.{number // 256 % 256}.{number % 256}/32")
        yield _policy(
            number, ALL, AntreaRule(action="Allow" if number % 2 else "Drop", from_=(AntreaPeer(ip_block=block),))
        )


def kubernetes(count: int) -> Iterator[AnyObject]:
    """All NetworkPolicies apply to the same Pods, behind a policy in a tier that covers none of them."""
    yield from _namespace("team", 0)
    yield _policy(0, ALL, AntreaRule(action="Drop", ports=_port(23)))
    for number in range(count):
        rule = NetworkPolicyIngressRule(
            from_=(NetworkPolicyPeer(pod_selector=LabelSelector(match_labels={"app": f"a-{number}"})),),
            ports=(NetworkPolicyPort(port=1_000 + number),),
        )
        yield K8sNetworkPolicy(
            api_version="networking.k8s.io/v1",
            kind="NetworkPolicy",
            metadata=ObjectMeta(name=f"np-{number}", namespace="team", uid=f"np-{number}"),
            spec=K8sNetworkPolicySpec(pod_selector=ALL, policy_types=("Ingress",), ingress=(rule,)),
        )


def _namespace(name: str, place: int) -> Iterator[AnyObject]:
    labels = {"kubernetes.io/metadata.name": name}
    yield Namespace(api_version="v1", kind="Namespace", metadata=ObjectMeta(name=name, uid=name, labels=labels))
    for index in range(PODS):
        number = place * PODS + index
        address = Address(f"10.{number // 62_500}.{number // 250 % 250}.{number % 250}")
        yield Pod(
            api_version="v1",
            kind="Pod",
            metadata=ObjectMeta(
                name=f"pod-{index}", namespace=name, uid=f"{name}-{index}", labels={"app": f"a-{index}"}
            ),
            spec=PodSpec(node_name=NodeName("node")),
            status=PodStatus(phase="Running", pod_ips=(PodIP(ip=address),)),
        )


def _port(number: int) -> tuple[AntreaPort, ...]:
    return (AntreaPort(protocol="TCP", port=number),)


def _policy(number: int, applied_to: LabelSelector, *rules: AntreaRule) -> AnyPolicy:
    return ClusterNetworkPolicy(
        api_version="crd.antrea.io/v1beta1",
        kind="ClusterNetworkPolicy",
        metadata=ObjectMeta(name=f"cnp-{number:05}", uid=f"cnp-{number}"),
        spec=AntreaPolicySpec(
            priority=5, tier="platform", applied_to=(AppliedTo(namespace_selector=applied_to),), ingress=rules
        ),
    )


SETS: Mapping[str, Callable[[int], Iterator[AnyObject]]] = {
    "each in a Namespace of its own": apart,
    "all on all Pods, each about a Namespace and a port": peers,
    "all on all Pods, each about an IP block": blocks,
    "all of Kubernetes, on the same Pods": kubernetes,
}
"""Of Antrea, of one tier and priority, unless they are of Kubernetes."""


def main(name: str, count: int = COUNT) -> None:
    for what, made in SETS.items():
        objects = list(made(count))
        state = ClusterState(objects)
        watch = Watch()
        found = lint(state, [one for one in objects if isinstance(one, AnyPolicy)])
        took = watch.read()
        show(Figure(name, f"{count:,} policies, {what}", took.seconds, "s", cpu=took.cpu_s), f"{len(found)} findings")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
