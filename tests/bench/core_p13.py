"""P13: one verdict against 294 policies of 68 rules each, whose peers are 3,708 different groups."""

import random
import statistics
import time

from tests.bench import workloads
from tests.bench.figures import Figure, show

from sluice.contracts.ids import Address, NodeName
from sluice.contracts.objects import (
    AnyObject,
    K8sNetworkPolicy,
    K8sNetworkPolicySpec,
    LabelSelector,
    NetworkPolicyIngressRule,
    NetworkPolicyPort,
    ObjectMeta,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
)
from sluice.policy.packet import Packet, PodEnd
from sluice.policy.state import ClusterState
from sluice.policy.verdict import verdict

POLICIES, RULES, GROUPS = 294, 68, 3_708
VERDICTS = 1_000
TO_BEAT_MS, TARGET_MS = 3.7, 0.2


def objects(chance: random.Random) -> list[AnyObject]:
    """Every policy is about every Pod; every Pod is in one of the groups that rules name."""
    made: list[AnyObject] = [
        Pod(
            api_version="v1",
            kind="Pod",
            metadata=ObjectMeta(
                name=f"pod-{number}", namespace="one", uid=f"{number}", labels={f"g-{number % GROUPS}": "yes"}
            ),
            spec=PodSpec(node_name=NodeName("node")),
            status=PodStatus(phase="Running", pod_ips=(PodIP(ip=Address(f"10.0.{number // 250}.{number % 250}")),)),
        )
        for number in range(5_000)
    ]
    for number in range(POLICIES):
        rules = tuple(
            NetworkPolicyIngressRule(
                from_=(workloads.peer({f"g-{chance.randrange(GROUPS)}": "yes"}),),
                ports=(NetworkPolicyPort(port=chance.randrange(1, 100)),),
            )
            for _ in range(RULES)
        )
        made.append(
            K8sNetworkPolicy(
                api_version="networking.k8s.io/v1",
                kind="NetworkPolicy",
                metadata=ObjectMeta(name=f"np-{number}", namespace="one", uid=f"np-{number}"),
                spec=K8sNetworkPolicySpec(pod_selector=LabelSelector(), ingress=rules),
            )
        )
    return made


def main() -> None:
    chance = random.Random(workloads.SEED)
    state = ClusterState(objects(chance))
    ends = [PodEnd("one", f"pod-{number}") for number in chance.sample(range(5_000), 20)]
    spent = []
    for _ in range(VERDICTS):
        packet = Packet(
            source=chance.choice(ends), destination=chance.choice(ends), protocol="TCP", port=chance.randrange(1, 100)
        )
        started = time.perf_counter()
        verdict(state, packet)
        spent.append(time.perf_counter() - started)
    what = f"one verdict against {POLICIES} policies x {RULES} rules, {GROUPS:,} groups"
    show(
        Figure("P13", what, statistics.median(spent) * 1_000, "ms", TO_BEAT_MS, TARGET_MS),
        f"median of {VERDICTS}, mean {statistics.mean(spent) * 1_000:.3f} ms; the first about a Pod since a change of "
        f"policy {max(spent) * 1_000:.0f} ms",
    )


if __name__ == "__main__":
    main()
