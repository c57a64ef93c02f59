"""Session affinity on a real switch: who is remembered, for how long, and what an endpoint that goes takes with it."""

import asyncio
import re
import subprocess
from collections import Counter

import pytest

from sluice.dataplane.ovs.pipeline import Table
from sluice.lab.checks import Question
from sluice.lab.ends import SERVICE_END, ends_of
from sluice.lab.lab import Lab
from sluice.lab.node import LabNode
from sluice.lab.trains import ask_again
from sluice.testkit.manifests import read

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
metadata: {{name: {name}, namespace: x}}
spec:
  selector: {{app: web}}
  sessionAffinity: ClientIP
  sessionAffinityConfig: {{clientIP: {{timeoutSeconds: {seconds}}}}}
  ports: [{{port: 80}}]
---
"""
LONG_S, SHORT_S = 3600, 5
PATIENCE_S = 60.0
EXPIRED_S = 60.0
"""Open vSwitch looks for flows that nobody used at its leisure; the Service says five seconds."""


def flows(node: LabNode, table: Table) -> list[str]:
    bridge = f"unix:{node.ovs.mgmt_socket()}"
    words = ["ovs-ofctl", "-O", "OpenFlow15", "--timeout=10", "dump-flows", bridge, f"table={table:d}"]
    done = subprocess.run(words, text=True, check=True, timeout=60, capture_output=True)
    return [line for line in done.stdout.splitlines() if "priority=100" in line]


def learnt(node: LabNode) -> Counter[str]:
    """How many clients have each endpoint, by what the switch does with their packets."""
    return Counter(line.partition("actions=")[2] for line in flows(node, Table.AFFINITY))


async def chosen(node: LabNode, least: int) -> list[int]:
    """How many first packets each endpoint was given, once it is so many in all."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            lines = sorted(flows(node, Table.ENDPOINT), key=lambda line: line.partition("priority=")[2])
            found = [int(re.findall(r"n_packets=(\d+)", line)[0]) for line in lines]
            if sum(found) >= least:
                return found
            await asyncio.sleep(0.2)  # counters are brought up to date twice a second


async def connect(lab: Lab, client: str, times: int, service: str = "sticky") -> None:
    end, source = ends_of(lab.world)[f"{SERVICE_END}x/{service}"], lab.sandboxes()[client].pod
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
        await lab.change(apply=read(pods + SERVICE.format(name="sticky", seconds=LONG_S)))
        await lab.realised()
        (node,) = lab.nodes.values()

        await connect(lab, "x/client-0", 1)
        first = await chosen(node, 1)
        await connect(lab, "x/client-0", 10)
        later = await chosen(node, sum(first) + 10)
        assert len([True for now, before in zip(later, first, strict=True) if now > before]) == 1
        (line,) = flows(node, Table.AFFINITY)
        assert f"idle_timeout={LONG_S}," in line

        for number in range(1, 6):
            await connect(lab, f"x/client-{number}", 1)
        known = learnt(node)
        assert known.total() == 6
        await lab.change(delete=[lab.world.find("Pod", "x", "one"), lab.world.find("Pod", "x", "two")])
        await lab.realised()
        left = learnt(node)
        assert len(left) <= 1  # those of the endpoints that went went with them
        assert left == {does: known[does] for does in left}
        for number in range(6):
            await connect(lab, f"x/client-{number}", 2)

        await lab.change(apply=read(SERVICE.format(name="brief", seconds=SHORT_S)))
        await lab.realised()
        async with asyncio.timeout(EXPIRED_S):
            while not of_brief(node):
                await connect(lab, "x/client-0", 1, "brief")
        async with asyncio.timeout(EXPIRED_S):
            while of_brief(node):  # noqa: ASYNC110  # the switch tells nobody
                await asyncio.sleep(0.2)
        assert lab.statuses.nodes[node.name].repairs == 0  # what the switch learns is nobody's meddling


def of_brief(node: LabNode) -> list[str]:
    """What is remembered of the Service whose clients are soon forgotten."""
    return [line for line in flows(node, Table.AFFINITY) if f"idle_timeout={SHORT_S}," in line]
