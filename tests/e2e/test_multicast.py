"""Multicast with real packets: Pods join groups on two nodes, and policies say who may send and who may join."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sluice.contracts.ids import Address
from sluice.contracts.tracing import FromPod, Traced, TraceQuestion
from sluice.dataplane.ovs.pipeline import Table
from sluice.lab.lab import Lab
from sluice.lab.node import LabNode
from sluice.runtime import tracing
from sluice.testkit.manifests import read

pytestmark = pytest.mark.datapath

GROUP, OTHER, UNKNOWN = "225.1.2.3", "225.1.2.4", "225.9.9.9"
PODS = "".join(
    f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: x, labels: {{app: {name}}}}}
spec: {{nodeName: {node}, containers: [{{name: main, image: any, ports: [{{containerPort: 80}}]}}]}}
---
"""
    for name, node in (("sender", "node-1"), ("near", "node-1"), ("far", "node-2"), ("asked", "node-1"))
)
POLICY = """
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: many}
spec: {priority: 5, tier: securityops, appliedTo: [{podSelector: {matchLabels: {app: %s}}}], %s: [%s]}
"""
DATA = POLICY % ("sender", "egress", "{action: Drop, to: [{ipBlock: {cidr: 225.1.2.3/32}}]}")
REPORT = POLICY % ("far", "egress", "{action: Drop, protocols: [{igmp: {igmpType: 0x22, groupAddress: 225.1.2.3}}]}")
QUERY = POLICY % ("near", "ingress", "{action: Drop, protocols: [{igmp: {igmpType: 0x11}}]}")
CLOSED = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: x}
spec: {podSelector: {matchLabels: {app: sender}}, policyTypes: [Egress]}
"""

RECEIVER = """
import socket, struct, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind(("", 5000))
for group in sys.argv[1:]:
    member = struct.pack("4s4si", socket.inet_aton(group), bytes(4), socket.if_nametoindex("eth0"))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
while True:
    print(sock.recv(100).decode(), flush=True)
"""
SENDER = """
import socket, struct, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
here = struct.pack("4s4si", bytes(4), bytes(4), socket.if_nametoindex("eth0"))
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
sock.sendto(sys.argv[2].encode(), (sys.argv[1], 5000))
"""
ARRIVES_S, NEVER_S = 60.0, 1.0
"""A busy machine may take long; who hears nothing while others hear everything hears nothing."""


class Receiver:
    """A process in a Pod that has joined groups, and what it heard."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.heard: set[str] = set()
        self._task = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.heard.add(line.decode().strip())

    async def stop(self) -> None:
        self._process.terminate()
        await self._process.wait()
        await self._task


@asynccontextmanager
async def receiving(netns: Path, *groups: str) -> AsyncIterator[Receiver]:
    command = ("ip", "netns", "exec", netns.name, sys.executable, "-c", RECEIVER, *groups)
    receiver = Receiver(await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE))
    try:
        yield receiver
    finally:
        await receiver.stop()


class Scene:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._sent = 0

    def netns(self, pod: str) -> Path:
        return self.lab.sandboxes()[f"x/{pod}"].netns

    async def speak(self, version: int, pod: str) -> None:
        """The Pod's kernel reports by this version of IGMP, and not by the third."""
        command = ("ip", "netns", "exec", self.netns(pod).name, "sysctl", "-q", "-w")
        setting = f"net.ipv4.conf.eth0.force_igmp_version={version}"
        process = await asyncio.create_subprocess_exec(*command, setting)
        assert await process.wait() == 0

    async def send(self, group: str) -> str:
        """What was sent: a word that was not sent before."""
        self._sent += 1
        word = f"{group}-{self._sent}"
        command = ("ip", "netns", "exec", self.netns("sender").name, sys.executable, "-c", SENDER, group, word)
        process = await asyncio.create_subprocess_exec(*command)
        assert await process.wait() == 0
        return word

    async def arrives(self, group: str, *receivers: Receiver) -> None:
        """What is sent now gets to each of them; it is sent again, for packets get lost and joining takes a moment."""
        async with asyncio.timeout(ARRIVES_S):
            while True:
                word = await self.send(group)
                for _ in range(20):
                    if all(word in receiver.heard for receiver in receivers):
                        return
                    await asyncio.sleep(0.05)

    async def passes_by(self, group: str, receiver: Receiver) -> None:
        """Of three packets none gets to it."""
        words = {await self.send(group) for _ in range(3)}
        await asyncio.sleep(NEVER_S)
        assert not words & receiver.heard

    async def parts(self, group: str, hears: Receiver, hears_not: Receiver) -> None:
        """There comes a packet that gets to the one and not to the other."""
        async with asyncio.timeout(ARRIVES_S):
            while True:
                word = await self.send(group)
                await asyncio.sleep(NEVER_S)
                if word in hears.heard and word not in hears_not.heard:
                    return

    async def apply(self, text: str) -> None:
        await self.lab.change(apply=read(text))
        await self.lab.realised()

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        await self.lab.change(delete=[self.lab.world.find(kind, namespace, name)])
        await self.lab.realised()


async def flows(node: LabNode) -> list[str]:
    """Of groups that somebody has joined."""
    bridge = f"unix:{node.ovs.mgmt_socket()}"
    words = ["ovs-ofctl", "-O", "OpenFlow15", "--timeout=10", "--no-names", "dump-flows", bridge]
    process = await asyncio.create_subprocess_exec(*words, f"table={Table.MULTICAST:d}", stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    return [line for line in said.decode().splitlines() if "nw_dst" in line]


async def test_pods_join_groups_as_far_as_policies_let_them() -> None:
    async with await Lab.start("multicast", ["node-1", "node-2"]) as lab:
        scene = Scene(lab)
        await scene.apply(PODS)
        one, two = lab.nodes.values()
        async with (
            receiving(scene.netns("near"), GROUP, OTHER) as near,
            receiving(scene.netns("far"), GROUP) as far,
        ):
            await scene.arrives(GROUP, near, far)
            await scene.arrives(OTHER, near)
            assert not any(word.startswith(OTHER) for word in far.heard)

            packet = Traced(
                source=lab.sandboxes()["x/sender"].pod.addresses[0],
                destination=Address(GROUP),
                protocol="UDP",
                port=5000,
            )
            question = TraceQuestion(begin=FromPod(pod="x/sender"), packet=packet)
            way = await tracing.trace(lab.bus, one.name, question)
            assert [(one.pods, one.nodes) for one in way] == [(("x/near",), (two.name,)), (("x/far",), ())]

            # A group that nobody has joined goes nowhere, nor does one of a link's own.
            await scene.send(UNKNOWN)
            await scene.send("224.0.0.251")
            assert not [line for node in (one, two) for line in await flows(node) if UNKNOWN in line or "224.0" in line]
            async with asyncio.timeout(ARRIVES_S):
                while len(by_tunnel := [line for line in await flows(two) if "reg0" in line]) != 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert not [line for line in by_tunnel if "tun_dst" in line]  # what came through it goes to Pods alone

            await scene.apply(DATA)
            await scene.passes_by(GROUP, near)
            await scene.passes_by(GROUP, far)
            await scene.arrives(OTHER, near)
            await scene.delete("ClusterNetworkPolicy", "", "many")
            await scene.arrives(GROUP, near, far)

            # Isolated for egress is isolated for multicast.
            await scene.apply(CLOSED)
            await scene.passes_by(GROUP, near)
            await scene.delete("NetworkPolicy", "x", "closed")
            await scene.arrives(GROUP, near, far)

            # Who may not report has not joined, and whoever had is a member no longer.
            await scene.apply(REPORT)
            await scene.arrives(GROUP, near)
            await scene.passes_by(GROUP, far)
            await scene.delete("ClusterNetworkPolicy", "", "many")
            await scene.arrives(GROUP, near, far)  # it is asked once more, long before its turn
            async with receiving(scene.netns("asked"), GROUP) as asked:
                await scene.arrives(GROUP, near, asked)
                await scene.apply(QUERY)
                await scene.arrives(GROUP, near, asked)

                # A programmer that starts asks Pods what they have joined, but not one that must not be asked.
                os.kill(one.programmer.pid or 0, signal.SIGKILL)
                await scene.parts(GROUP, asked, near)
        await scene.speak(2, "far")
        async with receiving(scene.netns("far"), GROUP) as far:
            await scene.arrives(GROUP, far)
            async with asyncio.timeout(ARRIVES_S):
                while any(OTHER in line for line in await flows(one)):  # noqa: ASYNC110  # near said that it leaves
                    await asyncio.sleep(0.1)
            assert [node.problems for node in lab.statuses.nodes.values()] == [(), ()]
        async with asyncio.timeout(ARRIVES_S):
            while await flows(one) or await flows(two):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
