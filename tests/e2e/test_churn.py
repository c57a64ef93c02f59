"""Pods that come and go all the time leave nothing behind: no flow, group, id, connection, page or program.

They have ports in the switch and no namespaces, which would take longer than they live. A Pod that stays sends to each.
"""

import asyncio
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sluice.contracts import codec
from sluice.contracts.ids import Address, Uid
from sluice.contracts.services import Service
from sluice.dataplane.ovs.conntrack import CT_ZONE
from sluice.dataplane.ovs.ids import RuleIdsState
from sluice.drivers import namespaces
from sluice.drivers.conntrack.tracker import Tracker
from sluice.drivers.openflow.switch import Switch
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.operations import NewPort
from sluice.drivers.ovsdb.pods import PodIds, to_external_ids
from sluice.lab.lab import Lab
from sluice.lab.leftovers import ids_left, leftovers
from sluice.lab.node import LabNode
from sluice.lab.ovs import BRIDGE
from sluice.testkit.manifests import read

pytestmark = [pytest.mark.datapath, pytest.mark.once, pytest.mark.slow, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("SLUICE_CHURN_SECONDS", "3"))
"""How long. `SLUICE_CHURN_SECONDS=60` is 6,000 Pods."""

SLOTS, AT_ONCE, EVERY_S = 20, 10, 0.1
"""Every tenth of a second the ten Pods of a slot give way to others: a hundred go in a second, and a hundred come.

Each lives for two seconds, for ingest believes a folder that never rests after one. A busy machine gets less done."""

ADDRESSES = 250
"""So soon somebody else has a Pod's address."""

GONE_S = 60.0
STANDING = """
apiVersion: v1
kind: Pod
metadata: {name: stays, namespace: churn, labels: {app: stays}}
spec: {nodeName: node-1, containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: churn}
spec: {ports: [{port: 80, protocol: UDP}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: in, namespace: churn}
spec:
  podSelector: {matchLabels: {app: comes}}
  ingress: [{from: [{podSelector: {matchLabels: {app: stays}}}], ports: [{port: 80, protocol: UDP}]}]
---
apiVersion: crd.antrea.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: out}
spec:
  priority: 5
  appliedTo: [{podSelector: {matchLabels: {app: comes}}}]
  egress: [{action: Drop, to: [{podSelector: {matchLabels: {app: comes}}}]}]
"""


def wave(number: int) -> list[PodIds]:
    """The Pods of one moment."""
    pods = []
    for place in range(number * AT_ONCE, (number + 1) * AT_ONCE):
        host = 2 + place % ADDRESSES
        pods.append(
            PodIds(f"churn/p{place}", Uid(f"uid-{place}"), f"02:00:00:00:01:{host:02x}", (Address(f"10.64.9.{host}"),))
        )
    return pods


def manifest(pods: list[PodIds], number: int) -> bytes:
    """These Pods, each with a policy of its own, and as endpoints of the Service."""
    made: list[dict[str, Any]] = []  # Any: as JSON has it
    for pod in pods:
        of, name = pod.pod.split("/")
        own = {"app": "comes", "own": name}
        container = {"name": "c", "image": "c", "ports": [{"containerPort": 80, "protocol": "UDP"}]}
        made.append(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": of, "uid": pod.uid, "labels": own},
                "spec": {"nodeName": "node-1", "containers": [container]},
                "status": {"podIP": pod.addresses[0], "podIPs": [{"ip": pod.addresses[0]}], "phase": "Running"},
            }
        )
        made.append(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": name, "namespace": of},
                "spec": {"podSelector": {"matchLabels": {"own": name}}, "egress": [{"ports": [{"port": 53}]}]},
            }
        )
    made.append(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"web-{number}",
                "namespace": "churn",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "addressType": "IPv4",
            "ports": [{"port": 80, "protocol": "UDP"}],
            "endpoints": [
                {"addresses": list(pod.addresses), "nodeName": "node-1", "conditions": {"ready": True}} for pod in pods
            ],
        }
    )
    return "\n---\n".join(json.dumps(one) for one in made).encode()


def send(addresses: list[str]) -> None:
    """Inside the namespace of the Pod that stays: connections begin, as far as they are let in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for address in addresses:
            sock.sendto(b"x", (address, 80))


class Churn:
    def __init__(self, lab: Lab, node: LabNode, ovsdb: Ovsdb, service: str) -> None:
        self._lab, self._node, self._ovsdb, self._service = lab, node, ovsdb, service
        self._plugged: dict[int, list[PodIds]] = {}
        self.came = 0
        self.opened: set[str] = set()

    async def turn(self, number: int) -> None:
        """The Pods of a slot give way."""
        slot, pods = number % SLOTS, wave(number)
        self._file(number - SLOTS).unlink(missing_ok=True)
        new = self._file(number).with_suffix(".new")
        new.write_bytes(manifest(pods, number))
        if slot in self._plugged:
            await self._ovsdb.delete_ports(BRIDGE, devices(slot))
        ports = zip(devices(slot), pods, strict=True)
        await self._ovsdb.add_ports(
            BRIDGE, *(NewPort(name=name, external_ids=to_external_ids(pod)) for name, pod in ports)
        )
        new.rename(self._file(number))
        self._plugged[slot] = pods
        self._node.had.update(address for pod in pods for address in pod.addresses)
        self.came += len(pods)
        await self.send()
        self.opened.update(self._ports())

    async def send(self) -> None:
        """Who stays sends to all that are there."""
        to = [self._service, *(pod.addresses[0] for pods in self._plugged.values() for pod in pods)]
        await asyncio.to_thread(namespaces.inside, self._lab.sandboxes()["churn/stays"].netns, lambda: send(to))

    async def all_open(self) -> None:
        """The last ones stay until they may send."""
        wanted = {pod.pod for pods in self._plugged.values() for pod in pods}
        async with asyncio.timeout(GONE_S):
            while not wanted <= set(self._ports()):  # noqa: ASYNC110  # the lab knows it from the bus
                await asyncio.sleep(0.1)

    def _ports(self) -> tuple[str, ...]:
        return self._lab.statuses.nodes[self._node.name].ports

    async def end(self) -> None:
        """All of them are gone."""
        for file in self._lab.manifests.glob("churn-*"):
            file.unlink()
        await self._ovsdb.delete_ports(BRIDGE, [name for slot in self._plugged for name in devices(slot)])

    def _file(self, number: int) -> Path:
        return self._lab.manifests / f"churn-{number}.yaml"


def devices(slot: int) -> list[str]:
    """What the Pods of a slot are plugged in by, one after the other: to make them takes longer than a Pod lives."""
    return [f"ch{slot}x{place}" for place in range(AT_ONCE)]


def make_devices(netns: str) -> None:
    names = [name for slot in range(SLOTS) for name in devices(slot)]
    lines = [f"link add {name} up type veth peer name p{name}\nlink set p{name} up\n" for name in names]
    command = ("ip", "-n", netns, "-batch", "-")
    subprocess.run(command, input="".join(lines), text=True, check=True, timeout=60)


async def held(node: LabNode) -> dict[str, int]:
    """How much there is of what could be left."""
    switch = await Switch.connect(node.ovs.mgmt_socket())
    try:
        flows, groups = await switch.dump(), await switch.dump_groups()
    finally:
        switch.close()
    state = codec.decode((node.state_folder / "rule-ids.json").read_bytes(), RuleIdsState)
    known = await Tracker(node.ovs.vswitchd_control).entries(CT_ZONE)
    return {
        "flows": len(flows),
        "groups": sum(len(buckets) for buckets in groups.values()),
        "endpoints": len(state.endpoints),
        "ids": sum(slot.key is not None for slot in state.slots),
        "places": len(state.placed),
        "connections": sum(1 for entry in known if not entry.addresses.isdisjoint(node.had)),
    }


async def settled(node: LabNode, wanted: dict[str, int]) -> dict[str, int]:
    """What is held in the end: ids are written down once a second, and a revision takes its time."""
    deadline = time.monotonic() + GONE_S
    while (found := await held(node)) != wanted and time.monotonic() < deadline:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.5)
    return found


async def test_pods_that_come_and_go_leave_nothing(record_property: Any) -> None:  # Any: pytest's own
    async with await Lab.start("churn", ["node-1"]) as lab:
        await lab.change(apply=read(STANDING))
        await lab.realised()
        (node,) = lab.nodes.values()
        await asyncio.to_thread(make_devices, node.netns.name)
        service = lab.world.objects[lab.world.find("Service", "churn", "web")].object
        assert isinstance(service, Service)
        async with asyncio.timeout(GONE_S):
            while not (node.state_folder / "rule-ids.json").exists():  # noqa: ASYNC110  # written now and then
                await asyncio.sleep(0.1)
        node.had.clear()
        before = await held(node)

        ovsdb = await Ovsdb.connect(node.ovs.db_socket)
        churn = Churn(lab, node, ovsdb, service.spec.cluster_ips[0])
        try:
            started = time.monotonic()
            number = 0
            while (spent := time.monotonic() - started) < SECONDS:
                await churn.turn(number)
                number += 1
                await asyncio.sleep(max(0.0, EVERY_S * number - (time.monotonic() - started)))
            rate = churn.came / spent
            record_property("pods_a_second", rate)
            await churn.all_open()
            async with asyncio.timeout(GONE_S):
                await churn.send()
                while (most := await held(node))["connections"] < SLOTS:
                    await churn.send()
            await churn.end()
        finally:
            ovsdb.close()

        found = await settled(node, before)
        print(f"{churn.came} Pods, {rate:.0f} a second, {len(churn.opened)} seen open; {most}, then {found}")  # noqa: T201
        assert found == before
        assert all(most[what] > before[what] for what in ("flows", "groups", "endpoints", "ids"))
        slots = codec.decode((node.state_folder / "rule-ids.json").read_bytes(), RuleIdsState).last
        assert slots < 4 * (SLOTS + 2) * AT_ONCE * 3, "slots are used again"

        others = [key for key, document in lab.world.objects.items() if document.object.metadata.namespace == "churn"]
        await lab.change(delete=[*others, lab.world.find("ClusterNetworkPolicy", "", "out")])
        await lab.realised()
        assert [what for what in await leftovers(lab) if "flow of ROUTE" not in what] == []
        assert await ids_left(lab) == []
