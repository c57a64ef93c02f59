"""A policy is edited again and again under traffic: what all of its versions deny never passes, what all allow does.

Versions differ in everything else: tier, priority, the order of rules, their ports, other rules between them. So the
flows of all rules move all the time. Each packet begins a connection, directly or by a Service; one connection a client
lasts. Whoever denies a packet counts it, so that no denial goes unseen: of those who may talk none is counted.
"""

import asyncio
import os
import random
import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack
from typing import Self

import pytest
from nats.aio.msg import Msg

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NodeName
from sluice.contracts.stats import NodeStats
from sluice.drivers import namespaces
from sluice.lab.lab import Lab
from sluice.testkit.manifests import read

pytestmark = [pytest.mark.datapath, pytest.mark.slow]

EDITS = int(os.environ.get("SLUICE_EDITS", "30"))
"""`SLUICE_EDITS=500 ./task test tests/e2e/test_edits.py -s` takes two minutes."""

NODE = NodeName("node-1")
PODS = {name: (f"10.10.9.{number}", f"fd00:10:9::{number}") for number, name in enumerate(("a", "b", "s"), start=1)}
SERVICE = ("10.96.9.1", "fd00:96:9::1")
PORT = 9000
GAP_S = 0.002
"""Between two packets of a client."""

LOST_IN_A_THOUSAND = 2
"""What a loaded machine may lose of packets that no rule denied."""

SO_RCVBUFFORCE = 33
"""Source: asm-generic/socket.h."""


def objects() -> str:
    documents = [
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: x, labels: {{app: {name}}}}}\n"
        f"spec: {{containers: [{{name: main, image: any}}]}}\nstatus: {{podIPs: [{{ip: {old}}}, {{ip: '{new}'}}]}}\n"
        for name, (old, new) in PODS.items()
    ]
    documents.append(
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: s, namespace: x}}\n"
        f"spec: {{clusterIPs: [{SERVICE[0]}, '{SERVICE[1]}'], selector: {{app: s}}, "
        f"ports: [{{protocol: UDP, port: {PORT}}}]}}\n"
    )
    documents.append(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: closed, namespace: x}\n"
        "spec: {podSelector: {matchLabels: {app: s}}, policyTypes: [Ingress]}\n"
    )
    return "---\n".join(documents)


def version(chance: random.Random) -> str:
    """Lets a in and drops b, in one way of many."""

    def rule(action: str, of: str, ports: list[int]) -> str:
        peer = f"{{podSelector: {{matchLabels: {{app: {of}}}}}, namespaceSelector: {{}}}}"
        listed = ", ".join(f"{{protocol: UDP, port: {port}}}" for port in ports)
        return f"action: {action}, from: [{peer}], ports: [{listed}]"

    def others() -> list[int]:
        return chance.sample(range(1, 50), chance.randrange(4))

    rules = [rule("Allow", "a", [PORT, *others()]), rule("Drop", "b", [PORT, *others()])]
    rules += [rule(chance.choice(("Allow", "Drop", "Pass")), "s", [1, *others()]) for _ in range(chance.randrange(4))]
    chance.shuffle(rules)
    named = (f"{{name: r{place}, {text}}}" for place, text in enumerate(rules))
    return (
        "apiVersion: crd.antrea.io/v1beta1\nkind: ClusterNetworkPolicy\nmetadata: {name: edited}\n"
        f"spec:\n  tier: {chance.choice(('emergency', 'securityops', 'application'))}\n"
        f"  priority: {chance.randrange(1, 100)}\n"
        "  appliedTo: [{podSelector: {matchLabels: {app: s}}, namespaceSelector: {}}]\n"
        f"  ingress: [{', '.join(named)}]\n"
    )


class Client:
    """A Pod that sends all the time, each packet with a number of its own."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._name, self._path = name, lab.sandboxes()[f"x/{name}"].netns
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        namespaces.inside(self._path, self._send)

    def _send(self) -> None:
        families = (socket.AF_INET, socket.AF_INET6)
        with ExitStack() as lasting:
            kept = [lasting.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for family in families]
            while not self._over.wait(GAP_S):
                new = self.sent % 2
                target = (PODS["s"], PODS["s"], SERVICE)[self.sent % 3][new]
                payload = f"{self._name} {self.sent}".encode()
                if self.sent % 5 == 0:
                    kept[new].sendto(payload, (target, PORT))
                else:
                    with socket.socket(families[new], socket.SOCK_DGRAM) as out:
                        out.sendto(payload, (target, PORT))
                self.sent += 1


def listen(lab: Lab) -> socket.socket:
    def made() -> socket.socket:
        ear = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        ear.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
        ear.bind(("", PORT))
        return ear

    return namespaces.inside(lab.sandboxes()["x/s"].netns, made)


def heard(ear: socket.socket) -> Counter[str]:
    names = Counter[str]()
    while True:
        try:
            names[ear.recv(100).split()[0].decode()] += 1
        except BlockingIOError:
            return names


@pytest.mark.timeout(300 + EDITS)
async def test_an_edit_opens_nothing_and_does_not_blink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_NODE_OVS_STATS_INTERVAL_S", "0.5")
    chance, total, denied = random.Random(7), Counter[str](), dict[tuple[str, int | None], int]()

    async def take(message: Msg) -> None:
        for one in codec.decode(message.data, NodeStats).rules:
            denied[subjects.unit_parts(one.unit)[2], one.rule] = one.packets

    async with await Lab.start() as lab:
        await lab.bus.nc.subscribe(subjects.stats(NODE, "ovs"), cb=take)
        await lab.change(apply=read(objects() + "---\n" + version(chance)))
        await lab.realised()
        with listen(lab) as ear, Client(lab, "a") as a, Client(lab, "b") as b:
            started = time.monotonic()
            for _ in range(EDITS):
                await lab.change(apply=read(version(chance)))
                await lab.realised()
                total += heard(ear)
            elapsed_s = time.monotonic() - started
            for client in (a, b):
                client.stop()
            await asyncio.sleep(2)
            total += heard(ear)
            await asyncio.sleep(2)
        closed = denied.get(("closed", None), 0)

    lost = a.sent - total["a"]
    print(  # noqa: T201  # what a run is worth reading for
        f"\n{EDITS} edits in {elapsed_s:.1f} s; a: {a.sent} sent, {lost} lost; b: {b.sent} sent, {total['b']} through; "
        f"{closed} fell through to isolation"
    )
    assert total["b"] == 0
    assert closed == 0, "a packet met a moment at which its rule was not there"
    assert a.sent > 10 * EDITS
    assert lost * 1_000 <= LOST_IN_A_THOUSAND * a.sent
