"""SHARD: what a second shard of each central service brings, on P1's objects: the core of one shard alone, in CPU time.

Shards are processes on machines of their own, so the slower of two is what counts; they run one after the other here.
*core* is both services, as in P1.
"""

import gc
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.bench import workloads
from tests.bench.core_p1 import EPOCH, values
from tests.bench.figures import Figure, Watch, show

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import INPUTS, POLICIES
from sluice.contracts.shards import shard_of
from sluice.contracts.subjects import ObjectSubject
from sluice.grouping.bystanders import Bystander
from sluice.grouping.events import ObjectEvent, read
from sluice.policy.compiler import Compiler
from sluice.runtime import collector
from sluice.runtime.facts import BATCH
from sluice.services.group_resolver.concern import Concern
from sluice.services.group_resolver.derived import ShardGroups

NEEDED = 1.6
"""Times the throughput of one."""

ROUNDS = 7
"""One shard and each of two, one after the other. The median of the ratios counts: what else runs on the machine, or on
its host, slows whole rounds down."""


class Message(NamedTuple):
    """As the bus hands it over."""

    subject: ObjectSubject
    body: bytes
    revision: Revision


class Spent(NamedTuple):
    """CPU seconds."""

    whole: float
    """By one shard."""

    half: float
    """By one of two."""


Work = Callable[[list[Message], int, int], None]


def batches(messages: list[Message]) -> Iterator[list[ObjectEvent]]:
    for start in range(0, len(messages), BATCH):
        yield [read(*message) for message in messages[start : start + BATCH]]


def resolve(stored: list[Message], shard: int, shards: int) -> None:
    fold, concern = ShardGroups(shard, shards), Concern(shard, shards)
    for start in range(0, len(stored), BATCH):
        events: list[ObjectEvent] = []
        bystanders: list[Bystander] = []
        for subject, body, revision in stored[start : start + BATCH]:
            told = concern.read(subject, body, revision)
            if isinstance(told, Bystander):
                bystanders.append(told)
            elif told is not None:
                events.append(told)
        fold.evolve(events, revision, bystanders)
    for _ in values(fold, Revision(EPOCH, len(stored))):
        pass


def compile_(stored: list[Message], shard: int, shards: int) -> None:
    fold = Compiler()
    told = [
        message
        for message in stored
        if message.subject.kind in INPUTS
        and (message.subject.kind not in POLICIES or shard_of(subjects.unit(*message.subject), shards) == shard)
    ]
    for batch in batches(told):
        for event in batch:
            fold.evolve(event)
        fold.settle(batch[-1].revision)
    for program in fold.drain().put.values():
        codec.encode(program)


def spend(work: Work, stored: list[Message], shard: int, shards: int) -> float:
    """CPU seconds of one shard."""
    gc.collect()
    collector.suspend()
    watch = Watch()
    work(stored, shard, shards)
    took = watch.read().cpu_s
    collector.resume()
    return took


def main() -> None:
    objects = workloads.small_namespaces(int(os.environ.get("N", "25000")))
    stored = [Message(*one, Revision(EPOCH, sequence)) for sequence, one in enumerate(objects, start=1)]
    both = Spent(0, 0)
    for service, work in (("group-resolver", resolve), ("rule-compiler", compile_)):
        spent = measured(work, stored)
        both = Spent(both.whole + spent.whole, both.half + spent.half)
        tell(f"core of {service}", len(stored), *spent)
    tell("core", len(stored), *both)


def measured(work: Work, stored: list[Message]) -> Spent:
    """What one shard and the slower of two spent in the round whose ratio is the median."""
    rounds: tuple[list[Spent], ...] = ([], [])
    for _ in range(ROUNDS):
        whole = spend(work, stored, 0, 1)
        for shard, spents in enumerate(rounds):
            spents.append(Spent(whole, spend(work, stored, shard, 2)))
    medians = [sorted(spents, key=_ratio)[ROUNDS // 2] for spents in rounds]
    return min(medians, key=_ratio)


def _ratio(spent: Spent) -> float:
    return spent.whole / spent.half


def tell(what: str, events: int, whole: float, slower: float) -> None:
    """CPU seconds of one shard, and of the slower of two."""
    figure = Figure("SHARD", f"{what}, slower of 2 shards", slower, "s", whole, whole / NEEDED, slower)
    one, two = events / whole, events / slower
    show(figure, f"{one:,.0f} events a CPU second with one shard, {two:,.0f} with two: {two / one:.2f} times")


if __name__ == "__main__":
    main()
