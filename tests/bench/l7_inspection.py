"""What it costs to go by the inspection engine, and how soon its rules are in force.

A client and a server on one node, first without a policy, then with a rule about requests on the server, which all of
its connections go by. Then policies with rule sets of their own, one after the other. Needs root, Open vSwitch and
Suricata. `l7_inspection.py NUMBER` makes so many policies (200).
"""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles

from tests.bench.figures import Figure, show

from sluice.drivers import namespaces
from sluice.kube.manifest import Document, parse
from sluice.lab.lab import Lab
from sluice.lab.node import LabNode

PORT = 8000
SERVER = "10.10.8.1"
REQUESTS, BYTES = 400, 100 << 20
POLICIES = 200
SERVE = f"""
import socket, threading
piece = bytes(1 << 16)
def serve(sock):
    with sock:
        head = sock.recv(4096)
        length = {BYTES} if b"/big" in head else 2
        sock.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % length)
        while length > 0:
            length -= sock.send(piece[:length])
listener = socket.create_server(("", {PORT}), backlog=512)
while True:
    threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
"""


def pods() -> str:
    return "---\n".join(
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: x, labels: {{app: {name}}}}}\n"
        f"spec: {{containers: [{{name: c, image: any}}]}}\nstatus: {{podIP: 10.10.8.{number}}}\n"
        for number, name in enumerate(("server", "client"), start=1)
    )


def policy(name: str, app: str, path: str) -> str:
    applied = f"[{{podSelector: {{matchLabels: {{app: {app}}}}}}}]"
    rule = f"{{name: web, action: Allow, l7Protocols: [{{http: {{path: '{path}'}}}}]}}"
    return (
        f"apiVersion: crd.antrea.io/v1beta1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: x}}\n"
        f"spec: {{priority: 5, tier: application, appliedTo: {applied}, ingress: [{rule}]}}\n"
    )


def read(text: str) -> list[Document]:
    return [one for one in parse(text, "l7.yaml") if isinstance(one, Document)]


@contextmanager
def serving(netns: Path) -> Iterator[None]:
    process = subprocess.Popen(("ip", "netns", "exec", netns.name, sys.executable, "-c", SERVE))
    try:
        namespaces.inside(netns, partial(_until_served, process))
        yield
    finally:
        process.kill()
        process.wait()


def _until_served(process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", PORT), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not serve")


def get(path: str) -> tuple[float, int]:
    """Seconds, and how many octets came."""
    began, got = time.perf_counter(), 0
    with socket.create_connection((SERVER, PORT), timeout=30) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        while piece := sock.recv(1 << 18):
            got += len(piece)
    return time.perf_counter() - began, got


def asked() -> tuple[list[float], float]:
    """Milliseconds of new connections with a request, and octets a second of a download; the best of three."""
    for _ in range(20):
        get("/public/warm")
    times = [1000 * get("/public/small")[0] for _ in range(REQUESTS)]
    return times, max(got / seconds for seconds, got in (get("/public/big") for _ in range(3)))


async def realised_s(lab: Lab, text: str) -> float:
    began = time.perf_counter()
    await lab.change(apply=read(text))
    await lab.realised()
    return time.perf_counter() - began


def engine_kib(node: LabNode) -> int:
    """Resident memory of the engine."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and f"{node.folder}/l7/suricata.yaml".encode() in _words(entry):
            status = (entry / "status").read_text()
            return int(status.partition("VmRSS:")[2].split()[0])
    raise AssertionError("no engine runs")


def _words(entry: Path) -> list[bytes]:
    try:
        return (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


async def measure(policies: int) -> None:
    async with await Lab.start() as lab:
        await lab.change(apply=read(pods()))
        await lab.realised()
        (node,) = lab.nodes.values()
        client, server = (lab.sandboxes()[f"x/{name}"].netns for name in ("client", "server"))
        with serving(server):
            direct, direct_rate = await asyncio.to_thread(namespaces.inside, client, asked)
            await realised_s(lab, policy("other", "client", "/other/*"))  # the engine runs from here on
            first_s = await realised_s(lab, policy("in", "server", "/public/*"))
            inspected, inspected_rate = await asyncio.to_thread(namespaces.inside, client, asked)
        p50, p99 = (quantiles(inspected, n=100)[cut] for cut in (49, 98))
        detail = f"p99 {p99:.2f} ms; direct p50 {median(direct):.2f}, p99 {quantiles(direct, n=100)[98]:.2f} ms"
        show(Figure("L7", "connect and GET, p50", p50, "ms", target=2.5 * median(direct), detail=detail))
        detail = f"{inspected_rate / 1e6:.0f} MB/s, direct {direct_rate / 1e6:.0f} MB/s"
        show(
            Figure(
                "L7", "download of 100 MiB", BYTES / inspected_rate, "s", target=2 * BYTES / direct_rate, detail=detail
            )
        )
        show(Figure("L7", "first policy about requests realised", first_s, "s", target=2.0))
        before_kib = engine_kib(node)
        took = [await realised_s(lab, policy(f"p{one}", "server", f"/p/{one}/*")) for one in range(policies)]
        last = median(took[-9:])
        memory = f"the engine has {before_kib >> 10} MiB, then {engine_kib(node) >> 10} MiB"
        detail = f"the first nine {median(took[:9]):.2f} s; {memory}"
        show(Figure("L7", f"policy number {policies} realised, median of nine", last, "s", target=1.5, detail=detail))


if __name__ == "__main__":
    asyncio.run(measure(next((int(word) for word in sys.argv[1:] if word.isdigit()), POLICIES)))
