"""P10: from a policy on the ledger to the first packet that is treated accordingly, on a real switch.

Twenty Pods that nobody may reach; for each a policy is written that lets the client in, and a thread in the client's
namespace tries to connect all the time. The clock starts with the timestamp that JetStream gave the policy, and ends
when a connection is accepted; both are of one machine. Needs root and Open vSwitch.
"""

import asyncio
import select
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path
from statistics import quantiles

from tests.bench.figures import Figure, show

from sluice.contracts import subjects
from sluice.contracts.kinds import Kind
from sluice.drivers import namespaces
from sluice.kube.manifest import Document, parse
from sluice.lab.lab import Lab
from sluice.runtime.follow import follow
from sluice.runtime.message import Message

TARGETS = 20
PORT = 80
TRY_S = 0.002
"""How long one attempt waits for its answer; the figure is as fine as this."""

PEER_P50_MS, PEER_P99_MS = 673.0, 758.0
"""SIG network's own sample of policy creation to first success, the least and the most of 20 targets."""


def pod(name: str, number: int) -> str:
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: p10, labels: {{app: {name}}}}}\n"
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


def read(*texts: str) -> list[Document]:
    return [one for one in parse("---\n".join(texts), "p10.yaml") if isinstance(one, Document)]


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
    async with follow(lab.bus, "LEDGER", [subject]) as events:
        async for event in events:
            if isinstance(event, Message) and event.body:
                return event.time_ns / 1e9
    raise AssertionError("a follower does not end")


async def measure() -> list[float]:
    """Milliseconds for each target."""
    names = [f"target-{number}" for number in range(TARGETS)]
    found = []
    async with await Lab.start() as lab:
        pods = [pod("client", 250), *(pod(name, number + 1) for number, name in enumerate(names))]
        await lab.change(apply=read(DENY, *pods))
        await lab.realised()
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


def main() -> list[Figure]:
    found = asyncio.run(measure())
    cuts = quantiles(found, n=100, method="inclusive")
    return [
        Figure("P10", "policy stored to first packet, p50 of 20", cuts[49], "ms", PEER_P50_MS),
        Figure("P10", "policy stored to first packet, p99 of 20", cuts[98], "ms", PEER_P99_MS),
    ]


if __name__ == "__main__":
    for figure in main():
        show(figure)
    sys.exit(0)
