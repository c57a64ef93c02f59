"""P10 and P11: from a policy on the ledger to the first packet that is treated accordingly, on a real switch.

Twenty Pods that nobody may reach; for each a policy is written that lets the client in, and a thread in the client's
namespace tries to connect all the time. The clock starts with the timestamp that JetStream gave the policy, and ends
when a connection is accepted; both are of one machine. P11 does the same in a cluster that has 240 Namespaces with ten
Pods each, on 100 other nodes, and 4,800 policies: 19 in each of the Namespaces, and 240 that let the Pods of one of
them reach the targets, so that the node has something of all. Needs root and Open vSwitch.
"""

import asyncio
import random
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import quantiles

from tests.bench import workloads
from tests.bench.figures import Figure, show

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.status import NodeStatus
from sluice.drivers import namespaces
from sluice.lab.lab import Lab
from sluice.runtime.follow import follow
from sluice.runtime.message import Message
from sluice.testkit.manifests import read

TARGETS = 20
PORT = 80
CROWD_S = 120
TRY_S = 0.002
"""How long one attempt waits for its answer; the figure is as fine as this."""

NAMESPACES, PODS, POLICIES, OTHER_NODES = 240, 10, 19, 100

PEER_P50_MS, PEER_P99_MS = 673.0, 758.0
"""SIG network's own sample of policy creation to first success, the least and the most of 20 targets."""


def pod(name: str, number: int) -> str:
    labels = f"{{app: {name}, client: '{'yes' if name == 'client' else 'no'}'}}"
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: p10, labels: {labels}}}\n"
        f"spec: {{containers: [{{name: main, image: any, ports: [{{containerPort: {PORT}}}]}}]}}\n"
        f"status: {{podIP: 10.10.9.{number}}}\n"
    )


DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: p10}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""


def allow(name: str) -> str:
    return (
        f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: allow-{name}, namespace: p10}}\n"
        f"spec: {{podSelector: {{matchLabels: {{app: {name}}}}}, ingress: [{{from: [{{podSelector: {{}}}}]}}]}}\n"
    )


def first_success(address: str, over: threading.Event) -> float:
    """When a connection was accepted, seconds since 1970. Runs inside the client's namespace."""
    while not over.is_set():
        attempt = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        attempt.connect_ex((address, PORT))
        poll = select.poll()
        poll.register(attempt, select.POLLOUT)
        if poll.poll(TRY_S * 1000) and not attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            now = time.time()
            attempt.close()
            return now
        attempt.close()
    return float("nan")


async def stored_at(lab: Lab, name: str) -> float:
    """When the policy was stored, seconds since 1970."""
    subject = subjects.object_(Kind.K8S_NETWORK_POLICY, "p10", f"allow-{name}")
    return (await message(lab, "LEDGER", subject)).time_ns / 1e9


def background() -> Iterator[tuple[str, bytes]]:
    """Files of manifests."""
    chance = random.Random(workloads.SEED)
    for number in range(NAMESPACES):
        name = f"namespace-{number:03}"
        made = [workloads.namespace(name, company=name)]
        for role in range(POLICIES):
            labels = {"role": f"role-{role % PODS}"}
            made.append(workloads.policy(name, f"np-{role}", labels, workloads.peer(labels)))
        for role in range(PODS):
            labels = {"role": f"role-{role}"}
            made.append(workloads.pod(name, f"pod-{role}", labels, chance, range(OTHER_NODES)))
        made.append(workloads.policy("p10", f"from-{name}", {"client": "no"}, workloads.peer({}, company=name)))
        yield f"{name}.json", b"\n".join(body for _, body in made)


async def crowd(lab: Lab) -> None:
    """Return when the background is in force on the node."""
    for name, content in background():
        (lab.manifests / name).write_bytes(content)
    last = subjects.object_(Kind.K8S_NETWORK_POLICY, "p10", f"from-namespace-{NAMESPACES - 1:03}")
    (node,) = lab.nodes
    async with asyncio.timeout(CROWD_S):
        stored = await message(lab, "LEDGER", last)
        await message(lab, "STATUS", subjects.status(node, "ovs"), lambda body: applied(body) >= stored.revision)


def applied(body: bytes) -> Revision:
    return codec.decode(body, NodeStatus).applied


async def message(lab: Lab, stream: str, subject: str, wanted: Callable[[bytes], bool] = lambda _: True) -> Message:
    """The first of the subject that holds something, and that is wanted."""
    async with follow(lab.bus, stream, [subject]) as events:
        async for event in events:
            if isinstance(event, Message) and event.body and wanted(event.body):
                return event
    raise AssertionError("a follower does not end")


async def measure(*, crowded: bool) -> list[float]:
    """Milliseconds for each target."""
    names = [f"target-{number}" for number in range(TARGETS)]
    found = []
    async with await Lab.start() as lab:
        pods = [pod("client", 250), *(pod(name, number + 1) for number, name in enumerate(names))]
        await lab.change(apply=read(DENY, *pods))
        await lab.realised()
        if crowded:
            await crowd(lab)
        client: Path = lab.sandboxes()["p10/client"].netns
        for number, name in enumerate(names):
            over = threading.Event()
            address = f"10.10.9.{number + 1}"
            attempts = partial(first_success, address, over)
            trying = asyncio.create_task(asyncio.to_thread(namespaces.inside, client, attempts))
            await asyncio.sleep(0.2)
            assert not trying.done(), "it was reached before it may be"
            await lab.change(apply=read(allow(name)))
            try:
                async with asyncio.timeout(30):
                    reached = await trying
            finally:
                over.set()
            found.append(1000 * (reached - await stored_at(lab, name)))
    return found


def main(names: list[str]) -> None:
    for name in names or ["P10", "P11"]:
        crowded = name == "P11"
        found = asyncio.run(measure(crowded=crowded))
        cuts = quantiles(found, n=100, method="inclusive")
        what = "policy stored to first packet" + (", beside 2,400 Pods and 4,800 policies" if crowded else "")
        p50_ms, p99_ms = (None, 250.0) if crowded else (20.0, 100.0)
        show(Figure(name, f"{what}, p50 of {TARGETS}", cuts[49], "ms", PEER_P50_MS, p50_ms))
        show(Figure(name, f"{what}, p99 of {TARGETS}", cuts[98], "ms", PEER_P99_MS, p99_ms))


if __name__ == "__main__":
    main(sys.argv[1:])
