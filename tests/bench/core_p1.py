"""P1 to P5: the core alone, from bytes of objects to bytes of pages and programs, in one process.

group-resolver's part: Namespaces, Pods and policies are decoded, groups selected, pages, owns and locals encoded.
rule-compiler's part: policies are decoded, compiled, programs encoded. In a deployment the two are processes side by
side; here they run one after the other, and their sum is the figure. Seconds are of this process alone (CPU time), so
that others on the machine disturb less.
"""

import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.bench import workloads
from tests.bench.figures import Figure, show

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Local, Own, Page
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import POLICIES
from sluice.grouping.events import ObjectEvent, read
from sluice.grouping.index import Grouping
from sluice.policy.compiler import Compiler, Groups

BATCH = 512
"""As the services read."""

EPOCH = 1_700_000_000_000_000


def told(stored: list[workloads.Stored]) -> Iterator[ObjectEvent]:
    """What the messages of OBJECTS say."""
    for sequence, (subject, body) in enumerate(stored, start=1):
        yield read(subject, body, Revision(EPOCH, sequence))


def resolve(stored: list[workloads.Stored]) -> tuple[Grouping, Iterator[tuple[str, bytes]]]:
    """group-resolver's core: everything it would store."""
    groups, grouping = Groups(), Grouping()
    for event in told(stored):
        groups.evolve(event)
        grouping.evolve(event)
        if event.revision.sequence % BATCH == 0:
            groups.settle(event.revision)
            grouping.settle(event.revision)
    for group, selector in groups.drain().select.items():
        grouping.select(group, selector)
    return grouping, pages(grouping, Revision(EPOCH, len(stored)))


def pages(grouping: Grouping, cause: Revision) -> Iterator[tuple[str, bytes]]:
    changes = grouping.drain()
    for group, nodes in changes.pages.items():
        for node, members in grouping.pages(group, nodes):
            if members:
                page = Page(group=group, node=node, cause=cause, members=members)
                yield subjects.page(group, node), codec.encode(page)
    for node in changes.owns:
        own = Own(node=node, shard=0, cause=cause, groups=grouping.groups_on(node))
        yield subjects.own(node, 0), codec.encode(own)
    for node in changes.locals:
        yield subjects.local(node), codec.encode(Local(node=node, cause=cause, pods=grouping.pods_on(node)))


def compile_(stored: list[workloads.Stored]) -> tuple[Compiler, Iterator[tuple[str, bytes]]]:
    """rule-compiler's core: everything it would store."""
    compiler = Compiler()
    for event in told([message for message in stored if message.subject.kind in POLICIES]):
        compiler.evolve(event)
        if event.revision.sequence % BATCH == 0:
            compiler.settle(event.revision)
    put = compiler.drain().put
    return compiler, ((subjects.program("ovs", *key), codec.encode(made)) for key, made in put.items())


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
    gc.collect()
    gc.freeze()
    times, messages, size_bytes, held = [], 0, 0, []
    for work in (resolve, compile_):
        started = time.process_time()
        kept, made = work(stored)
        for _, body in made:
            messages += 1
            size_bytes += len(body)
        times.append(time.process_time() - started)
        held.append(kept)
    return Spent(times[0], times[1], messages, size_bytes)


CASES: dict[str, tuple[Callable[[], Iterator[workloads.Stored]], str, float]] = {
    "P1": (workloads.small_namespaces, "25k namespaces, 75k policies, 100k Pods", 6.10),
    "P2": (workloads.one_namespace, "1 namespace, 10k policies x 10k Pods, all selecting all", 10.66),
    "P3": (workloads.large_namespaces, "100 namespaces, 10,100 policies, 100k Pods", 10),
    "P4": (workloads.pairs, "a policy pair per Pod pair, 10k/10k, one namespace", 300),
    "P5": (workloads.across_namespaces, "1k namespaces, 10k policies across them, 100k Pods", 300),
}


def main(names: list[str]) -> None:
    for name in names or CASES:
        make, what, to_beat = CASES[name]
        stored = list(make())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        spent = spend(stored)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        gc.disable()
        without = spend(stored)
        gc.enable()
        show(
            Figure(name, what, spent.seconds, "s", to_beat),
            f"groups {spent.resolving_s:.2f} s + programs {spent.compiling_s:.2f} s; without garbage collection "
            f"{without.resolving_s:.2f} s + {without.compiling_s:.2f} s; {spent.messages:,} messages, "
            f"{spent.size_bytes / 1e6:.0f} MB; peak {after / 1024:.0f} MB, {before / 1024:.0f} MB of it before",
        )


if __name__ == "__main__":
    main(sys.argv[1:])
