"""P1 to P6: the core alone, from bytes of objects to bytes of pages and programs, in one process.

group-resolver's part: Namespaces, Pods and policies are decoded, groups selected, pages, owns and locals encoded.
rule-compiler's part: policies are decoded, compiled, programs encoded. Both as the services do it: batch by batch, and
without the garbage collector until all is told. In a deployment the two are processes side by side; here they run one
after the other, and their sum is the figure. Seconds are of this process alone (CPU time).
"""

import gc
import resource
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from tests.bench import workloads
from tests.bench.figures import Figure, Watch, show

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import INPUTS
from sluice.grouping.events import ObjectEvent, read
from sluice.policy.backends import backend_of
from sluice.policy.compiler import Compiler
from sluice.runtime import collector
from sluice.runtime.facts import BATCH
from sluice.services.group_resolver.derived import ShardGroups

EPOCH = 1_700_000_000_000_000
Made = Iterator[tuple[str, bytes]]


def told(stored: list[workloads.Stored]) -> Iterator[ObjectEvent]:
    """What the messages of OBJECTS say."""
    for sequence, (subject, body) in enumerate(stored, start=1):
        yield read(subject, body, Revision(EPOCH, sequence))


def batches(stored: list[workloads.Stored]) -> Iterator[list[ObjectEvent]]:
    events = told(stored)
    while batch := list(islice(events, BATCH)):
        yield batch


def resolve(stored: list[workloads.Stored]) -> tuple[ShardGroups, Made]:
    """group-resolver's core: everything it would store."""
    fold = ShardGroups(0, 1)
    for batch in batches(stored):
        fold.evolve(batch, batch[-1].revision)
    return fold, values(fold, Revision(EPOCH, len(stored)))


def values(fold: ShardGroups, cause: Revision) -> Made:
    """What changed in the fold, as it is stored."""
    changes = fold.drain()
    for group, nodes in changes.pages.items():
        for node, page in fold.pages(group, nodes, cause):
            if page:
                yield subjects.page(group, node), codec.encode(page)
    for node in changes.owns:
        if own := fold.own(node, cause):
            yield subjects.own(node, 0), codec.encode(own)
    for node in changes.locals:
        if local := fold.local(node, cause):
            yield subjects.local(node), codec.encode(local)


def compile_(stored: list[workloads.Stored]) -> tuple[Compiler, Made]:
    """rule-compiler's core: everything it would store."""
    compiler = Compiler()
    for batch in batches([message for message in stored if message.subject.kind in INPUTS]):
        for event in batch:
            compiler.evolve(event)
        compiler.settle(batch[-1].revision)
    put = compiler.drain().put
    return compiler, (
        (subjects.program(backend_of(made), group, unit), codec.encode(made)) for (group, unit), made in put.items()
    )


class Spent(NamedTuple):
    resolving_s: float
    compiling_s: float
    messages: int
    size_bytes: int

    @property
    def seconds(self) -> float:
        return self.resolving_s + self.compiling_s


def spend(stored: list[workloads.Stored]) -> Spent:
    """One load, from nothing; what it made is held until the end, as the services do."""
    times, messages, size_bytes, held = [], 0, 0, []
    for work in (resolve, compile_):
        gc.collect()
        watch = Watch()
        collector.suspend()
        kept, made = work(stored)
        for _, body in made:
            messages += 1
            size_bytes += len(body)
        collector.resume()
        times.append(watch.read().cpu_s)
        held.append(kept)
    return Spent(times[0], times[1], messages, size_bytes)


class Case(NamedTuple):
    make: Callable[[], Iterator[workloads.Stored]]
    what: str
    to_beat_s: float
    target_s: float


CASES = {
    "P1": Case(workloads.small_namespaces, "25k Namespaces, 75k policies, 100k Pods: core", 6.10, 2),
    "P2": Case(workloads.one_namespace, "1 Namespace, 10k policies x 10k Pods, all selecting all: core", 10.66, 1),
    "P3": Case(workloads.large_namespaces, "100 Namespaces, 10,100 policies, 100k Pods: core", 10, 2),
    "P4": Case(workloads.pairs, "a policy pair per Pod pair, 10k/10k, one Namespace: core", 300, 1),
    "P5": Case(workloads.across_namespaces, "1k Namespaces, 10k policies across them, 100k Pods: core", 300, 2),
    "P6": Case(workloads.antrea_pairs, "an Antrea NetworkPolicy per peer pair, 10k/10k: core", 10, 1),
}
PEAK_MB, PEAK_TO_BEAT_MB = 800, {"P1": 1626, "P2": 1157}
REPEATS = 2


def main(names: list[str]) -> None:
    for name in names or CASES:
        case = CASES[name]
        stored = list(case.make())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        first = spend(stored)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        spent = min([first, *(spend(stored) for _ in range(REPEATS - 1))], key=lambda one: one.seconds)
        show(
            Figure(name, case.what, spent.seconds, "s", case.to_beat_s, case.target_s, spent.seconds),
            f"best of {REPEATS}: groups {spent.resolving_s:.2f} s + programs {spent.compiling_s:.2f} s; "
            f"{spent.messages:,} messages, {spent.size_bytes / 1e6:.0f} MB; of the peak {before / 1024:.0f} MB are the "
            "objects themselves",
        )
        if name in PEAK_TO_BEAT_MB:
            show(Figure(name, "the same, peak memory", peak / 1024, "MB", PEAK_TO_BEAT_MB[name], PEAK_MB))


if __name__ == "__main__":
    main(sys.argv[1:])
