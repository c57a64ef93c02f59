"""P7, and the past: whose policies apply to a Pod, any moment rebuilt, a planted change found, audit events stored."""

import random
import statistics
import tempfile
import time
from pathlib import Path

from tests.bench import workloads
from tests.bench.figures import Figure, show

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Revision
from sluice.contracts.objects import AnyObject
from sluice.grouping.events import key_of
from sluice.ledger import state
from sluice.ledger.chain import Entry
from sluice.ledger.history import replay
from sluice.ledger.state import State
from sluice.ledger.weaving import Weaver
from sluice.policy.bisecting import bisect
from sluice.policy.packet import Packet, PodEnd
from sluice.policy.past import cluster
from sluice.policy.state import ClusterState
from sluice.services.query_api.store import Event, Store
from sluice.testkit.builders import namespace, netpol, pod

POLICIES, PODS, QUERIES = 10_000, 10_000, 1_000
OBJECTS, EVENTS = 100_000, 100_000
STORED_A_SECOND, SECONDS = 10_000, 60


def address(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def applied() -> None:
    pods = [pod(f"x/p{number}", ip=address(number), app=f"a{number % 100}") for number in range(PODS)]
    policies = [
        netpol(f"x/n{number}", {"podSelector": {"matchLabels": {"app": f"a{number % 100}"}}})
        for number in range(POLICIES)
    ]
    known = ClusterState([namespace("x"), *pods, *policies])
    spent = []
    for number in range(QUERIES):
        started = time.perf_counter()
        known.programs_of(known.groups_of(known.pods["x", f"p{number}"]))
        spent.append(time.perf_counter() - started)
    show(
        Figure("P7", "which of 10k policies apply to a Pod, a query", statistics.mean(spent) * 1_000, "ms", 13.88, 1.0),
        f"mean of {QUERIES:,}; the first since a change of policy {max(spent) * 1_000:.0f} ms",
    )


def stored(objects: list[AnyObject], first: int = 1) -> list[Entry]:
    return [
        Entry(at, subjects.object_(*key_of(one)), codec.encode(one), at) for at, one in enumerate(objects, start=first)
    ]


def rebuilt() -> None:
    """From the parts of a checkpoint and 10,000 entries behind it, to the state that verdicts are given about."""
    weaver = Weaver(1, every=OBJECTS)
    made: list[AnyObject] = [
        pod(f"x/p{number}", ip=address(number), app=f"a{number % 100}") for number in range(OBJECTS)
    ]
    due = next(due for entry in stored(made) if (due := weaver.take(entry)))
    started = time.perf_counter()
    checkpoint, parts = due.make()
    making_s = time.perf_counter() - started
    later = stored(made[:10_000], OBJECTS + 1)
    started, cpu = time.perf_counter(), time.process_time()
    held = replay(state.read(parts, checkpoint.state), later, OBJECTS + 10_000)
    reading_s = time.perf_counter() - started
    cluster(held, 1)
    spent_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    show(
        Figure("PAST", f"the state at any sequence, {OBJECTS:,} objects", spent_s, "s", target=2.0, cpu=cpu_s),
        f"{reading_s:.2f} s of it for bytes of objects, the rest for what verdicts need; "
        f"a checkpoint is made in {making_s:.2f} s and has {sum(len(part.rows) for part in parts) >> 20} MiB",
    )


def found() -> None:
    base: list[AnyObject] = [
        namespace("x"),
        *(pod(f"x/p{number}", ip=address(number), app=f"a{number % 50}") for number in range(5_000)),
        *(
            netpol(f"x/n{number}", {"podSelector": {"matchLabels": {"app": f"a{number % 50}"}}})
            for number in range(1_000)
        ),
        pod("x/web", ip="10.9.0.1", app="web"),
        pod("x/db", ip="10.9.0.2", app="db"),
    ]
    before = stored(base)
    begun = State()
    for entry in before:
        begun.take(entry)
    churn = (before[1:] * (EVENTS // len(base) + 1))[:EVENTS]
    place = random.Random(workloads.SEED).randrange(EVENTS)
    churn[place] = stored([netpol("x/closed")])[0]
    entries = [entry._replace(sequence=at) for at, entry in enumerate(churn, start=len(before) + 1)]
    asked = Packet(source=PodEnd("x", "web"), destination=PodEnd("x", "db"), protocol="TCP", port=80)
    started, cpu = time.perf_counter(), time.process_time()
    turn = bisect(begun, entries, asked)
    spent_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    if turn.entry.subject != "objects.k8snetworkpolicies.x.closed":
        raise AssertionError(f"found {turn.entry.subject}")
    show(Figure("PAST", f"a planted change found among {EVENTS:,} events", spent_s, "s", target=2.0, cpu=cpu_s))


def kept() -> None:
    count = STORED_A_SECOND * SECONDS
    body = b'{"type":"np","at_us":1,"table":"IngressRule","policy":"K8sNetworkPolicy:x/p","action":"Allow"}' * 3

    def event(number: int) -> Event:
        return Event(number * 100, "node-1", "np", "Allow", "acnps:_:p", f"x/p{number % 500}", "x/db", body)

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), 30)
        started, cpu = time.perf_counter(), time.process_time()
        for first in range(0, count, 5_000):
            batches = [
                (f"batch-{at}", [event(number) for number in range(at, at + 100)])
                for at in range(first, first + 5_000, 100)
            ]
            store.add(batches, Revision(1, first + 5_000))
        spent_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        store.close()
    show(
        Figure(
            "PAST", f"{count:,} audit events into the indexed store", spent_s, "s", target=float(SECONDS), cpu=cpu_s
        ),
        f"{count / spent_s:,.0f} a second",
    )


def main() -> None:
    applied()
    rebuilt()
    found()
    kept()


if __name__ == "__main__":
    main()
