"""Rejects are bounded, and each is answered or counted; two ends that reject each other do not go on about it."""

import asyncio
import json
import re
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Self

import pytest

from sluice.dataplane.ovs.pipeline import Table
from sluice.drivers import namespaces
from sluice.lab.lab import Lab
from sluice.lab.node import LabNode
from sluice.testkit.manifests import read

pytestmark = pytest.mark.datapath

OBJECTS = """
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: x, labels: {app: a}}
spec: {containers: [{name: main, image: any, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: x, labels: {app: b}}
spec: {containers: [{name: main, image: any}]}
---
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: both}
spec:
  priority: 5
  appliedTo: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: x}}}]
  ingress: [{action: Reject}]
"""
FLOOD, AT_ONCE = 5_000, 100
"""Packets: ten times what is answered in a second; a slice each 10 ms, since what comes faster the port misses."""

SO_RCVBUFFORCE = 33
"""Source: asm-generic/socket.h."""

PATIENCE_S = 60.0
"""In which all must be answered or counted: it is looked at each second, and what got lost a look later."""


class Sender:
    """A Pod's sockets: it sends UDP and hears all ICMP."""

    def __init__(self, path: Path) -> None:
        self.out, self._heard = namespaces.inside(path, self._sockets)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.out.close()
        self._heard.close()

    @staticmethod
    def _sockets() -> tuple[socket.socket, socket.socket]:
        heard = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        heard.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM), heard

    def send(self, to: str, count: int) -> None:
        while count:
            try:
                self.out.sendto(b"flood", (to, 80))
            except OSError:
                continue  # the ICMP error of one before
            count -= 1
            if count % AT_ONCE == 0:
                time.sleep(0.01)

    def prohibited(self) -> int:
        """How many errors came since the last call."""
        count = 0
        while True:
            try:
                packet = self._heard.recv(2048)
            except BlockingIOError:
                return count
            count += packet[20:22] == bytes((3, 10))


def unanswered(node: LabNode) -> Counter[str]:
    """What the programmer has told of."""
    said: Counter[str] = Counter()
    for line in node.programmer.log_file.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "rejects_not_answered":
            said.update({name: event[name] for name in ("over_rate", "lost")})
    return said


async def test_what_exceeds_the_rate_is_counted() -> None:
    async with await Lab.start("reject") as lab:
        await lab.change(apply=read(OBJECTS))
        await lab.realised()
        (node,) = lab.nodes.values()
        to, sandbox = lab.sandboxes()["x/a"].pod.addresses[0], lab.sandboxes()["x/b"]
        with Sender(sandbox.netns) as sender:
            await asyncio.to_thread(sender.send, to, 20)
            answered, deadline = 0, time.monotonic() + PATIENCE_S
            while answered < 20 and time.monotonic() < deadline:
                await asyncio.sleep(0.5)
                answered += sender.prohibited()
            await asyncio.sleep(0.5)
            assert answered + sender.prohibited() == 20  # one answer each, and none to any of them

            before = node.programmer.log_file.read_text().count("rejects_not_answered")
            async with asyncio.timeout(PATIENCE_S):
                while (counted := await asyncio.to_thread(rule_packets, node)) < 20:  # noqa: ASYNC110  # flows' counters come late
                    await asyncio.sleep(0.5)
            await asyncio.to_thread(sender.send, to, FLOOD)
            answered, arrived, deadline = 0, 0, time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline:
                await asyncio.sleep(1.5)
                # How many came to the rule: a switch that is late misses some of its ports' packets.
                arrived = await asyncio.to_thread(rule_packets, node) - counted
                answered += sender.prohibited()
                if answered + unanswered(node).total() == arrived:
                    break

        assert before == 0
        assert answered + unanswered(node).total() == arrived
        assert 0 < answered < arrived
        assert unanswered(node)["over_rate"] > 0


def rule_packets(node: LabNode) -> int:
    bridge = f"unix:{node.ovs.mgmt_socket()}"
    words = ["ovs-ofctl", "-O", "OpenFlow15", "--timeout=10", "dump-flows", bridge, f"table={Table.INGRESS_TIER:d}"]
    flows = subprocess.run(words, text=True, check=True, timeout=60, capture_output=True).stdout
    return sum(int(number) for number in re.findall(r"n_packets=(\d+).*actions=controller", flows))
