"""Session affinity on a real switch: who is remembered, for how long, and what an endpoint that goes takes with it."""

import asyncio
import re
import subprocess
import time

import pytest

from sluice.dataplane.ovs.pipeline import Table
from sluice.kube.manifest import Document, parse
from sluice.lab.checks import Question
from sluice.lab.ends import SERVICE_END, ends_of
from sluice.lab.lab import Lab
from sluice.lab.node import LabNode
from sluice.lab.trains import ask_again

pytestmark = pytest.mark.datapath

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: x, labels: {{app: {app}}}}}
spec: {{containers: [{{name: main, image: any, ports: [{{containerPort: 80}}]}}]}}
---
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: sticky, namespace: x}
spec:
  selector: {app: web}
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}
  ports: [{port: 80}]
"""
EXPIRED_S = 60.0
"""Open vSwitch looks for flows that nobody used at its leisure; the Service says five seconds."""


def read(text: str) -> list[Document]:
    return [one for one in parse(text, "services.yaml") if isinstance(one, Document)]


def flows(node: LabNode, table: Table) -> list[str]:
    bridge = f"unix:{node.ovs.mgmt_socket()}"
    words = ["ovs-ofctl", "-O", "OpenFlow15", "--timeout=10", "dump-flows", bridge, f"table={table:d}"]
    done = subprocess.run(words, text=True, check=True, timeout=60, capture_output=True)
    return [line for line in done.stdout.splitlines() if "priority=100" in line]


def chosen(node: LabNode) -> list[int]:
    """How many first packets each endpoint was given."""
    return [
        int(re.findall(r"n_packets=(\d+)", line)[0])
        for line in sorted(flows(node, Table.ENDPOINT), key=lambda line: line.partition("priority=")[2])
    ]


async def connect(lab: Lab, client: str, times: int) -> None:
    end, source = ends_of(lab.world)[f"{SERVICE_END}x/sticky"], lab.sandboxes()[client].pod
    one = Question(
        kind="probe",
        from_=client,
        to=end.pod,
        what="",
        expect="Allowed",
        protocol="TCP",
        source=source.addresses[0],
        address=end.addresses[0],
        port=80,
    )
    assert {result.result for result in await ask_again(lab, [one] * times)} == {"Allowed"}


async def test_a_client_keeps_its_endpoint_for_a_while() -> None:
    pods = "".join(POD.format(name=name, app="web") for name in ("one", "two", "three"))
    pods += "".join(POD.format(name=f"client-{number}", app="client") for number in range(6))
    async with await Lab.start("affinity") as lab:
        await lab.change(apply=read(pods + SERVICE))
        await lab.realised()
        (node,) = lab.nodes.values()

        await connect(lab, "x/client-0", 1)
        await asyncio.sleep(1.5)  # counters are brought up to date, and what is cached revalidated, twice a second
        first = chosen(node)
        await connect(lab, "x/client-0", 10)
        await asyncio.sleep(1.5)
        assert len([True for now, before in zip(chosen(node), first, strict=True) if now > before]) == 1
        (learnt,) = flows(node, Table.AFFINITY)
        assert "idle_timeout=5" in learnt

        async with asyncio.timeout(EXPIRED_S):
            while flows(node, Table.AFFINITY):  # noqa: ASYNC110  # the switch tells nobody
                await asyncio.sleep(0.2)

        for number in range(6):
            await connect(lab, f"x/client-{number}", 1)
        known = len(flows(node, Table.AFFINITY))
        assert known == 6
        await lab.change(delete=[lab.world.find("Pod", "x", "one"), lab.world.find("Pod", "x", "two")])
        started = time.monotonic()
        await lab.realised()
        if time.monotonic() - started < 1:
            assert len(flows(node, Table.AFFINITY)) < known  # those of the endpoints that went went with them
        for number in range(6):
            await connect(lab, f"x/client-{number}", 2)
        assert lab.statuses.nodes[node.name].repairs == 0  # what the switch learns is nobody's meddling
