"""P12: one Pod changes a label among 1,000, 10,000 and 100,000: from the object's bytes to the bytes of all pages.

100 Pods a node and 100 a Namespace, and ten Namespaces on ten nodes, whatever the size: only the size differs.
"""

import gc
import random
import statistics
import time

from tests.bench import workloads
from tests.bench.core_p1 import EPOCH, batches, values
from tests.bench.figures import Figure, show

from sluice.contracts.ids import Revision
from sluice.grouping.events import read
from sluice.services.group_resolver.derived import ShardGroups

PER_NAMESPACE = 100
TOGETHER = 10
"""Namespaces that share as many nodes."""

ROLES = 10
CHANGES = 200
TARGET_S = 0.005


def cluster(pods: int) -> list[workloads.Stored]:
    """Namespaces of 100 Pods in ten roles, and a policy for each role, from all Namespaces of the company."""
    chance = random.Random(workloads.SEED)
    stored = []
    for number in range(pods // PER_NAMESPACE):
        name, company = f"namespace-{number:04}", f"company-{number % 10}"
        stored.append(workloads.namespace(name, app=name, company=company))
        stored.append(workloads.policy(name, "default-deny-all", {}))
        for role in range(ROLES):
            labels = {"role": f"role-{role}"}
            stored.append(workloads.policy(name, f"np-{role}", labels, workloads.peer(labels)))
    stored += [moved(number, number % ROLES, chance) for number in range(pods)]
    return stored


def moved(number: int, role: int, chance: random.Random) -> workloads.Stored:
    """The Pod of this number in this role, on any of the nodes that it can be on."""
    namespace = number // PER_NAMESPACE
    first = namespace // TOGETHER * TOGETHER
    labels = {"role": f"role-{role}"}
    return workloads.pod(f"namespace-{namespace:04}", f"pod-{number}", labels, chance, range(first, first + TOGETHER))


def measure(pods: int) -> tuple[float, float, int]:
    """Median and worst seconds of a change, and how many messages it makes."""
    fold = ShardGroups(0, 1)
    for batch in batches(cluster(pods)):
        fold.evolve(batch, batch[-1].revision)
    fold.drain()
    chance = random.Random(workloads.SEED + 1)
    spent, messages = [], 0
    gc.collect()
    gc.freeze()
    for change in range(CHANGES):
        number = chance.randrange(pods)
        at = Revision(EPOCH, 1_000_000 + change)
        subject, body = moved(number, (number + 1 + change) % ROLES, chance)
        started = time.perf_counter()
        fold.evolve([read(subject, body, at)], at)
        made = list(values(fold, at))
        spent.append(time.perf_counter() - started)
        messages += len(made)
    return statistics.median(spent), max(spent), messages // CHANGES


def main() -> None:
    for pods in (1_000, 10_000, 100_000):
        median, worst, messages = measure(pods)
        what = f"one Pod of {pods:,} changes label and node, until its pages are out"
        figure = Figure("P12", what, median * 1_000, "ms", target=TARGET_S * 1_000)
        show(figure, f"median of {CHANGES}, worst {worst * 1_000:.2f} ms, {messages} messages a change")


if __name__ == "__main__":
    main()
