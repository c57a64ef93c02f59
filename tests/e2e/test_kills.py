"""Every process is killed, again and again, while packets are sent and policies change.

What the old and the new state of a policy both deny never gets through, whoever is dead; what both allow gets through
again soon after. Two nodes, both IP versions, each Pod itself and by a Service, one world: `server` has a policy that
changes all the time (does it let `c` in?), `pinned` has one that never does, `free` has none. Before the Kubernetes
policies stand those of tiers: a ClusterNetworkPolicy on `walled` changes as well (does it pass `c` on, and so let it
in?), and lets `a` through before a drop that never goes; what a drop of a tier before says of `b`, `free` and `pinned`
holds whoever is dead.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count, cycle, islice, takewhile
from typing import NamedTuple

import pytest

from sluice.contracts.ids import NodeName
from sluice.contracts.kinds import Kind
from sluice.lab.checks import Question
from sluice.lab.lab import Lab
from sluice.lab.parts import ProbeProtocol
from sluice.lab.trains import ask_again
from sluice.lab.world import Key
from sluice.testkit.manifests import read

pytestmark = [pytest.mark.datapath, pytest.mark.once, pytest.mark.slow]

ROUNDS = int(os.environ.get("SLUICE_KILL_ROUNDS", "3"))
"""How often each process is killed. `SLUICE_KILL_ROUNDS=20 ./task test tests/e2e/test_kills.py -s` takes 14 minutes."""

PROBES_PER_S = 500
BATCH_S = 0.1
RECOVERY_S = 5.0
"""Pairs that may talk do so again this long after a kill, if the machine has little else to do."""

PATIENCE_S = 60.0
"""In which they must, whatever it has to do."""

WATCHED_S, LEAST_WATCHED = 0.6, 60
"""After the recovery, before the next kill: so long, and so many probes of pairs that may talk."""

ENOUGH = 0.99
"""Of the probes of pairs that may talk. UDP is not sent again, and the machine may stall."""

CHANGE_S = 0.35
"""Between two changes of the server's policy."""

NODES = ("node-1", "node-2")
"""Pods are spread over them in order: of each kind of pair some are on one node and some are not."""

FAMILIES = 2
PODS = {
    name: (f"10.10.3.{number}", f"fd00:10:3::{number}")
    for number, name in enumerate(("a", "b", "c", "server", "pinned", "free", "walled"), start=1)
}

SERVICES = {
    name: tuple(ip.replace("10.10.3.", "10.96.3.").replace("10:3", "96:3") for ip in PODS[name]) for name in PODS
}
"""Each Pod has one of its name."""

WAYS = (PODS, SERVICES)

ALLOWED = [
    ("a", "server"),
    ("a", "pinned"),
    ("a", "free"),
    ("b", "free"),
    ("c", "free"),
    ("server", "free"),
    ("a", "walled"),
    ("server", "walled"),
]
DENIED = [
    ("b", "server"),
    ("free", "server"),
    ("pinned", "server"),
    ("b", "pinned"),
    ("c", "pinned"),
    ("free", "pinned"),
    ("b", "walled"),
    ("free", "walled"),
    ("pinned", "walled"),
]
CHANGING = [("c", "server"), ("c", "walled")]


Asked = tuple[tuple[str, str], ProbeProtocol, int, int]
"""A pair, and how it is asked: the family, and the place in WAYS."""


class Seen(NamedTuple):
    """One probe and what became of it."""

    at_s: float
    pair: tuple[str, str]
    protocol: str
    got: str


def pods() -> str:
    documents = ["apiVersion: v1\nkind: Namespace\nmetadata: {name: k}\n"]
    documents += [
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: k, labels: {{app: {name}}}}}\n"
        f"spec: {{containers: [{{name: main, image: any, ports: [{{containerPort: 80}}]}}]}}\n"
        f"status: {{podIPs: [{{ip: {old}}}, {{ip: '{new}'}}]}}\n"
        for name, (old, new) in PODS.items()
    ]
    documents += [
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: k}}\n"
        f"spec: {{clusterIPs: [{old}, '{new}'], selector: {{app: {name}}}, "
        f"ports: [{{name: t, protocol: TCP, port: 80}}, {{name: u, protocol: UDP, port: 80}}]}}\n"
        for name, (old, new) in SERVICES.items()
    ]
    return "---\n".join(documents)


def policy(name: str, *sources: str) -> str:
    peers = ", ".join(f"{{podSelector: {{matchLabels: {{app: {source}}}}}}}" for source in sources)
    return (
        f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: k}}\n"
        f"spec: {{podSelector: {{matchLabels: {{app: {name}}}}}, ingress: [{{from: [{peers}]}}]}}\n"
    )


def wall(*passed: str) -> str:
    """Passes these on, lets `a` and `server` in, and drops the rest.

    It changes by more than one rule: what is passed stands before, so that all others have another priority.
    """
    rules = [f"{{action: Pass, from: [{{podSelector: {{matchLabels: {{app: {name}}}}}}}]}}" for name in passed]
    rules += [
        f"{{action: Allow, from: [{{podSelector: {{matchLabels: {{app: {name}}}}}}}]}}" for name in ("a", "server")
    ]
    rules.append("{action: Drop}")
    return (
        "apiVersion: crd.antrea.io/v1beta1\nkind: ClusterNetworkPolicy\nmetadata: {name: wall}\n"
        "spec:\n  tier: application\n  priority: 5\n"
        "  appliedTo: [{podSelector: {matchLabels: {app: walled}}, namespaceSelector: {}}]\n"
        f"  ingress: [{', '.join(rules)}]\n"
    )


TIERS = """\
apiVersion: crd.antrea.io/v1beta1
kind: NetworkPolicy
metadata: {name: never, namespace: k}
spec:
  tier: securityops
  priority: 1
  appliedTo: [{podSelector: {matchLabels: {app: walled}}}]
  ingress:
    - action: Drop
      from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: [b, free]}]}}]
"""
"""What a tier before the wall's says, and never changes."""


def question(pair: tuple[str, str], protocol: ProbeProtocol, family: int = 0, way: int = 0) -> Question:
    source, target = pair
    return Question(
        kind="probe",
        from_=f"k/{source}",
        to=f"k/{target}",
        what=f"{protocol} 80",
        expect="Allowed",
        protocol=protocol,
        source=PODS[source][family],  # type: ignore[arg-type]  # an Address is text
        address=WAYS[way][target][family],  # type: ignore[arg-type]  # the same
        port=80,
    )


class Kill(NamedTuple):
    at_s: float
    name: str
    back_s: float
    """When pairs that may talk did so again."""


class Traffic:
    """Sends all the time, and remembers what became of it."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.seen: list[Seen] = []

    async def send(self) -> None:
        pairs = ALLOWED + DENIED + CHANGING
        asked: Iterator[Asked] = cycle(
            [
                (pair, protocol, family, way)
                for pair in pairs
                for protocol in ("TCP", "UDP")
                for family in range(FAMILIES)
                for way in range(len(WAYS))
            ]
        )
        start = time.monotonic()
        async with asyncio.TaskGroup() as answers:
            for number in count(1):
                answers.create_task(self._ask(list(islice(asked, round(PROBES_PER_S * BATCH_S)))))
                await asyncio.sleep(max(0.0, start + number * BATCH_S - time.monotonic()))

    async def _ask(self, asked: list[Asked]) -> None:
        now = time.monotonic()
        results = await self._lab.ask([question(*each) for each in asked])
        for (pair, protocol, _, _), result in zip(asked, results, strict=True):
            self.seen.append(Seen(now, pair, protocol, result.result))

    def allowed(self, since_s: float) -> list[str]:
        """What became of probes of pairs that may talk and that began after this, the last of them first."""
        later = takewhile(lambda one: one.at_s > since_s - PATIENCE_S, reversed(self.seen))
        return [one.got for one in later if one.at_s > since_s and one.pair in ALLOWED]

    async def back(self, since_s: float) -> float:
        """When a whole round of them has been answered."""
        whole = len(ALLOWED) * 2 * FAMILIES * len(WAYS)
        while self.allowed(since_s)[:whole].count("Allowed") < whole:  # noqa: ASYNC110  # others send
            await asyncio.sleep(0.05)
        return time.monotonic()

    async def watched(self, since_s: float) -> list[str]:
        """What came after this, when that is enough to say something of it."""
        await asyncio.sleep(WATCHED_S)
        while len(self.allowed(since_s)) < LEAST_WATCHED:  # noqa: ASYNC110  # others send
            await asyncio.sleep(0.05)
        return self.allowed(since_s)

    async def recovered(self, killed_s: float) -> float:
        """When it was back for good: of what it was asked from then on enough came through."""
        async with asyncio.timeout(PATIENCE_S):
            since_s = await self.back(killed_s)
            while (seen := await self.watched(since_s)).count("Allowed") < ENOUGH * len(seen):
                since_s = time.monotonic()
        return since_s


async def keep_changing(lab: Lab) -> None:
    """Let `c` in and out again at both, and make and remove a policy that says nothing new."""
    idle = read(policy("free", "a", "b", "c", "server"))
    for number in count():
        await lab.change(apply=read(policy("server", *("a", "c")[: 1 + number % 2])))
        await lab.change(apply=read(wall(*("c",)[: number // 2 % 2])))
        if number % 4 == 0:
            await lab.change(apply=idle)
        elif number % 4 == 2:
            await lab.change(delete=[Key(Kind.K8S_NETWORK_POLICY, "k", "free")])
        await asyncio.sleep(CHANGE_S)


def processes(lab: Lab, turn: int) -> dict[str, int | None]:
    """Pids, by name; None while one is being started again. The nodes take turns."""
    node = lab.nodes[NodeName(NODES[turn % len(NODES)])]
    services = {name: program.pid for name, program in lab.running.programs.items() if not name.startswith("node-ovs")}
    return {
        "nats-server": lab.nats.pid,
        **services,
        "node-ovs": node.programmer.pid,
        "ovsdb-server": node.ovs.ovsdb_pid,
        "ovs-vswitchd": node.ovs.vswitchd_pid,
    }


async def kill(lab: Lab, name: str, turn: int) -> float:
    """End it as the out-of-memory killer would; when that was."""
    async with asyncio.timeout(60):
        while (pid := processes(lab, turn)[name]) is None:  # noqa: ASYNC110  # /proc tells nobody when a pid is there
            await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return time.monotonic()


@pytest.mark.timeout(1800)
async def test_nothing_opens_and_everything_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    async with await Lab.start(nodes=NODES) as lab:
        always = (pods(), policy("server", "a"), policy("pinned", "a"), wall(), TIERS)
        await lab.change(apply=read("---\n".join(always)))
        await lab.realised()
        traffic = Traffic(lab)
        kills: list[Kill] = []
        turns = [(turn, name) for turn in range(ROUNDS) for name in processes(lab, turn)]
        async with asyncio.TaskGroup() as background:
            sending = background.create_task(traffic.send())
            changing = background.create_task(keep_changing(lab))
            for turn, name in turns:
                at_s = await kill(lab, name, turn)
                await asyncio.sleep(RECOVERY_S)
                kills.append(Kill(at_s, name, await traffic.recovered(at_s)))
            sending.cancel()
            changing.cancel()
        end = time.monotonic()
        await lab.realised()
        final = await ask_again(
            lab,
            [
                question(pair, "TCP", family, way)
                for family in range(FAMILIES)
                for way in range(len(WAYS))
                for pair in ALLOWED + DENIED
            ],
        )

    leaks = [seen for seen in traffic.seen if seen.pair in DENIED and seen.got == "Allowed"]
    with capsys.disabled():
        print(report(traffic.seen, kills, end))  # noqa: T201  # what a run is worth reading for
    assert not leaks, f"{len(leaks)} packets that both states deny got through: {leaks[:5]}"
    assert [result.result for result in final] == FAMILIES * len(WAYS) * (
        ["Allowed"] * len(ALLOWED) + ["Dropped"] * len(DENIED)
    )
    late = [got for _, gots in recovered(traffic.seen, kills, end) for got in gots]
    assert len(late) > 50 * len(kills), "too few probes after the recoveries to say anything"
    assert late.count("Allowed") >= ENOUGH * len(late)


def recovered(seen: list[Seen], kills: list[Kill], end: float) -> Iterator[tuple[str, list[str]]]:
    """For each kill, what became of the probes of allowed pairs that began after the recovery and before the next."""
    nexts = [one.at_s for one in kills[1:]] + [end]
    for one, until in zip(kills, nexts, strict=True):
        yield (
            one.name,
            [each.got for each in seen if each.pair in ALLOWED and one.back_s < each.at_s < until - BATCH_S],
        )


def report(seen: list[Seen], kills: list[Kill], end: float) -> str:
    total, good, lost = Counter[str](), Counter[str](), Counter[str]()
    for name, gots in recovered(seen, kills, end):
        total[name] += len(gots)
        good[name] += gots.count("Allowed")
    longest: dict[str, float] = {}
    for at_s, name, back_s in kills:
        longest[name] = max(longest.get(name, 0.0), back_s - at_s)
        lost[name] += sum(one.pair in ALLOWED and one.got != "Allowed" and at_s <= one.at_s < back_s for one in seen)
    lines = [f"\n{len(seen)} probes, {len(kills)} kills, {len(kills) // max(1, len(total))} of each process"]
    lines += [
        f"  {name:<20} {good[name]}/{total[name]} through from at most {longest[name]:.1f} s after; "
        f"{lost[name] / (len(kills) / len(total)):.0f} lost within, a kill"
        for name in total
    ]
    return "\n".join(lines)
