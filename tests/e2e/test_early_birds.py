"""A Pod that sends before its link is up gets nothing through that its policies deny."""

import asyncio
import os
import socket
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from sluice.drivers import namespaces
from sluice.lab import sweep
from sluice.lab.lab import Lab
from sluice.lab.node import LabNode
from sluice.testkit.manifests import read

pytestmark = [pytest.mark.datapath, pytest.mark.once, pytest.mark.slow]

ROUNDS, AT_ONCE = int(os.environ.get("SLUICE_BIRD_ROUNDS", "10")), 10
"""A hundred starts of Pods that may not send, and in each round one of a Pod that may. `SLUICE_BIRD_ROUNDS=30` makes
it three hundred, in a minute. Where a thread is so late that the link is up before it sends, there are more rounds."""

LISTENER, PORT = "10.10.4.1", 9999
SERVICE = "10.96.4.1"
"""The listener's: birds send there as well."""

SO_RCVBUFFORCE = 33
"""Source: asm-generic/socket.h."""

GAP_S = 0.001
"""Between two packets of a Pod."""


def pod(name: str, address: str, *, may_send: bool) -> str:
    return (
        f"apiVersion: v1\nkind: Pod\n"
        f"metadata: {{name: {name}, namespace: early, labels: {{bird: {'free' if may_send else 'caged'}, "
        f"role: {'listener' if address == LISTENER else 'bird'}}}}}\n"
        f"spec: {{containers: [{{name: main, image: any}}]}}\nstatus: {{podIP: {address}}}\n"
    )


SERVE = f"""
apiVersion: v1
kind: Service
metadata: {{name: listener, namespace: early}}
spec: {{clusterIP: {SERVICE}, selector: {{role: listener}}, ports: [{{protocol: UDP, port: {PORT}}}]}}
"""

DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: caged, namespace: early}
spec: {podSelector: {matchLabels: {bird: caged}}, policyTypes: [Egress]}
"""


class Bird:
    """Sends from a Pod's namespace from the moment that there is one, whatever its link does, until the end."""

    def __init__(self, name: str, path: Path) -> None:
        self._name, self._path = name, path
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sing, name=name)
        self.early = 0
        """Packets tried while there was no way out yet."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sing(self) -> None:
        out: socket.socket | None = None
        while not self._over.wait(GAP_S):
            try:
                out = out or namespaces.inside(self._path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                out.sendto(self._name.encode(), (LISTENER, PORT))
                out.sendto(f"{self._name} {SERVICE}".encode(), (SERVICE, PORT))
            except OSError:
                self.early += out is not None
        if out is not None:
            out.close()


def listen() -> socket.socket:
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    ear.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    ear.bind(("", PORT))
    return ear


def heard(ear: socket.socket) -> Counter[str]:
    names = Counter[str]()
    while True:
        try:
            names[ear.recv(100).decode()] += 1
        except BlockingIOError:
            return names


def namespace_of(lab: Lab, node: LabNode, number: int) -> Path:
    """Where the namespace of the node's Pod of this number is going to be."""
    return sweep.NAMESPACES / f"{sweep.netns_prefix(lab.name)}pod.{node.name}.{number}"


@pytest.mark.timeout(300 + 30 * ROUNDS)
async def test_nothing_gets_out_before_the_policies_are_in_force() -> None:
    total, early = Counter[str](), 0
    async with await Lab.start() as lab:
        node = lab.nodes[next(iter(lab.nodes))]
        await lab.change(apply=read(pod("listener", LISTENER, may_send=True), SERVE, DENY))
        await lab.realised()
        listener = lab.sandboxes()["early/listener"]
        assert listener.netns == namespace_of(lab, node, 1)
        ear = namespaces.inside(listener.netns, listen)
        number = 2
        for turn in range(3 * ROUNDS):
            if early >= ROUNDS * (AT_ONCE + 1):
                break
            names = [f"caged-{turn}-{index}" for index in range(AT_ONCE)] + [f"free-{turn}"]
            with ExitStack() as birds:
                flock = []
                for name in names:
                    flock.append(birds.enter_context(Bird(name, namespace_of(lab, node, number))))
                    number += 1
                await lab.change(
                    apply=read(
                        *(
                            pod(name, f"10.10.5.{(number + index) % 250 + 1}", may_send=name.startswith("free"))
                            for index, name in enumerate(names)
                        )
                    )
                )
                await lab.realised()
                free = {f"free-{turn}{way}" for way in ("", f" {SERVICE}")}
                async with asyncio.timeout(60):
                    while True:
                        await asyncio.sleep(0.1)  # packets have this long to get through, and threads to send them
                        total += heard(ear)
                        if free <= total.keys():
                            break
            early += sum(bird.early > 0 for bird in flock)
            total += heard(ear)
            await lab.change(delete=[key for key in lab.world.bodies if key.name in names])
        ear.close()

    assert early >= ROUNDS * (AT_ONCE + 1), "too few Pods sent before their link was up"
    assert not {name: count for name, count in total.items() if name.startswith("caged")}
