"""What a stranger does to the switch behind our back is found, put right at once, and told."""

import asyncio
import subprocess

import pytest

from sluice.dataplane.ovs.flow import Flows, Groups
from sluice.drivers.openflow.switch import Switch, UnreadableFlows
from sluice.lab.lab import Lab
from sluice.testkit.manifests import read

pytestmark = pytest.mark.datapath

REPAIRED_S = 30.0
"""It takes a fraction of a second. Whoever was told of nothing reads the switch once a minute, and so not in time."""

OBJECTS = """\
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: x}
spec: {nodeName: node-1, containers: [{name: main, image: any, ports: [{containerPort: 80}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: x}
spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: x, labels: {app: web}}
spec: {nodeName: node-1, containers: [{name: main, image: any, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: x}
spec: {selector: {app: web}, ports: [{port: 80}], sessionAffinity: ClientIP}
"""

MEDDLING = [
    ("a flow of nobody's", ["add-flow", "table=0,priority=60000,actions=NORMAL"]),
    ("a flow that we cannot read", ["add-flow", "table=0,priority=60000,idle_timeout=600,actions=NORMAL"]),
    ("a flow that says it is ours", ["add-flow", "cookie=0x51ce010000000000,table=80,priority=9,actions=drop"]),
    ("a table of ours emptied", ["del-flows", "table=110"]),
    ("all flows removed", ["del-flows"]),
    ("what a flow of ours does", ["mod-flows", "table=110,actions=goto_table:120"]),
    ("one of ours away and another there", ["--bundle", "add-flows"]),
    ("a group of ours deleted, and its flows with it", ["del-groups"]),
]


async def held(lab: Lab) -> tuple[Flows, Groups] | None:
    """All flows and groups; None if one of the flows is none that we could have sent."""
    switch = await Switch.connect(lab.nodes[next(iter(lab.nodes))].ovs.mgmt_socket())
    try:
        return await switch.dump(), await switch.dump_groups()
    except UnreadableFlows:
        return None
    finally:
        switch.close()


def meddle(lab: Lab, command: list[str]) -> None:
    words, given = command, ""
    if "--bundle" in command:
        words, given = [*command, "-"], "delete table=100\nadd table=100,priority=5,actions=goto_table:120\n"
    bridge = f"unix:{lab.nodes[next(iter(lab.nodes))].ovs.mgmt_socket()}"
    place = words.index("add-flows") + 1 if "add-flows" in words else 1
    line = ["ovs-ofctl", "-O", "OpenFlow15", "--timeout=10", *words[:place], bridge, *words[place:]]
    subprocess.run(line, input=given, text=True, check=True, timeout=60)


async def test_it_is_put_right_and_told() -> None:
    async with await Lab.start("drift") as lab:
        (node,) = lab.nodes
        await lab.change(apply=read(OBJECTS))
        await lab.realised()
        before = await held(lab)
        for number, (name, command) in enumerate(MEDDLING):
            assert lab.statuses.nodes[node].repairs == number, name
            await asyncio.to_thread(meddle, lab, command)
            async with asyncio.timeout(REPAIRED_S):
                while await held(lab) != before:  # noqa: ASYNC110  # being told of changes is what is tested
                    await asyncio.sleep(0.05)
            await lab.realised()
            async with asyncio.timeout(REPAIRED_S):
                while lab.statuses.nodes[node].repairs == number:  # noqa: ASYNC110  # no event says so
                    await asyncio.sleep(0.01)

    assert before
    assert before[1]
