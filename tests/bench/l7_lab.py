"""L7: what inspection costs: connections, throughput, and policies that come into force. `l7_recovery` has the rest.

A lab of one node, with a client and two equal servers; a layer 7 rule is about one of them. Both are asked in turns, so
that what the machine does otherwise disturbs them alike. Needs root, Open vSwitch and Suricata.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median, quantiles

from tests.bench.figures import Figure, show

from sluice.contracts.ids import NodeName
from sluice.drivers import namespaces
from sluice.kube.manifest import Document
from sluice.lab.lab import Lab
from sluice.lab.reading import found
from sluice.lab.scenario import ObjectName
from sluice.testkit.manifests import read

NODE = NodeName("node-1")
PORT = 80
GETS = 300
DOWNLOADS, SIZE = 3, 64 << 20
MANY, LAST = 200, 10
"""Policies in the end, and how many of these come one after the other; those before are written at once."""

LATENCY_FACTOR, THROUGHPUT_FACTOR = 2.5, 2.0
"""Of what a connection costs that nobody inspects."""

FIRST_S, LATER_S = 2.0, 1.5

SCENERY = """
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: x}
---
apiVersion: v1
kind: Pod
metadata: {name: direct, namespace: x, labels: {app: direct}}
---
apiVersion: v1
kind: Pod
metadata: {name: inspected, namespace: x, labels: {app: inspected}}
"""

SERVER = f"""
import socket
listener = socket.create_server(("", {PORT}), backlog=512)
body = b"x" * (1 << 20)
while True:
    connection, _ = listener.accept()
    with connection:
        request = connection.recv(65536)
        many = {SIZE} if b"/public/big" in request else 3
        try:
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % many)
            for _ in range(many >> 20):
                connection.sendall(body)
            connection.sendall(b"x" * (many & 0xFFFFF))
        except OSError:
            pass
"""


def policy(name: str, app: str, path: str) -> list[Document]:
    made = {
        "apiVersion": "crd.antrea.io/v1beta1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "x"},
        "spec": {
            "priority": 5,
            "appliedTo": [{"podSelector": {"matchLabels": {"app": app}}}],
            "ingress": [{"name": "web", "action": "Allow", "l7Protocols": [{"http": {"path": path}}]}],
        },
    }
    return read(json.dumps(made))


def get(address: str, path: str, timeout_s: float = 5.0) -> float:
    """Seconds for a connection and the whole answer. Runs inside the client's namespace."""
    began = time.perf_counter()
    with socket.create_connection((address, PORT), timeout=timeout_s) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        while sock.recv(1 << 20):
            pass
    return time.perf_counter() - began


async def change(lab: Lab, documents: list[Document]) -> float:
    """Seconds until it is in force."""
    began = time.perf_counter()
    await lab.change(apply=documents)
    await lab.realised(timeout_s=120)
    return time.perf_counter() - began


def compare(inside: Callable[[Callable[[], float]], float], addresses: dict[str, str]) -> None:
    took: dict[str, list[float]] = {name: [] for name in addresses}
    for _ in range(GETS):
        for name, address in addresses.items():
            took[name].append(inside(partial(get, address, "/public/x")) * 1_000)
    direct, inspected = (median(took[name]) for name in ("direct", "inspected"))
    tail = ", ".join(f"{name} {quantiles(took[name], n=100)[98]:.3g}" for name in took)
    what = "connect, GET and close through the engine, p50"
    show(Figure("L7", what, inspected, "ms", target=LATENCY_FACTOR * direct), f"direct {direct:.3g}; p99: {tail}")
    loads: dict[str, list[float]] = {name: [] for name in addresses}
    for _ in range(DOWNLOADS):
        for name, address in addresses.items():
            loads[name].append(inside(partial(get, address, "/public/big", 60.0)))
    direct, inspected = (min(loads[name]) for name in ("direct", "inspected"))
    detail = f"{SIZE / inspected / 1e6:.3g} MB/s; direct {SIZE / direct / 1e6:.3g} MB/s"
    show(Figure("L7", "64 MiB through the engine", inspected, "s", target=THROUGHPUT_FACTOR * direct), detail)


def serving(netns: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["nsenter", f"--net={netns}", sys.executable, "-c", SERVER])


async def measure() -> None:
    async with await Lab.start() as lab:
        await lab.change(apply=read(SCENERY))
        await lab.realised()
        boxes = {name: lab.sandboxes()[f"x/{name}"] for name in ("client", "direct", "inspected")}
        servers = [serving(boxes[name].netns) for name in ("direct", "inspected")]
        try:
            await compared(lab, {name: boxes[name].pod.addresses[0] for name in ("direct", "inspected")})
        finally:
            for server in servers:
                server.kill()
                server.wait()


async def compared(lab: Lab, addresses: dict[str, str]) -> None:
    client = lab.sandboxes()["x/client"].netns
    inside = partial(namespaces.inside, client)
    start_s = await change(lab, policy("p0", "direct", "/0"))
    show(Figure("L7", "the first layer 7 policy in force, the start of node-l7 and engine included", start_s, "s"))
    await lab.change(delete=[found(lab.world, ObjectName(kind="NetworkPolicy", namespace="x", name="p0"))])
    await lab.realised()
    first_s = await change(lab, policy("first", "inspected", "/public/*"))
    show(Figure("L7", "the first layer 7 policy in force, where both run", first_s, "s", target=FIRST_S))
    await asyncio.to_thread(compare, inside, addresses)
    made = [policy(f"p{number}", "direct", f"/{number}") for number in range(1, MANY)]
    once = MANY - LAST - 1
    at_once_s = await change(lab, [one for each in made[:once] for one in each])
    show(Figure("L7", f"{once} policies that are written at once in force", at_once_s, "s"))
    took = [await change(lab, each) for each in made[once:]]
    what = f"the {MANY}th policy in force, p50 of the last {LAST}"
    show(Figure("L7", what, median(took), "s", target=LATER_S), f"the longest of them {max(took):.3g} s")


if __name__ == "__main__":
    asyncio.run(measure())
