"""What nodes hold for TrafficControls, and that a programmer that knows nothing but the bus would have them hold it."""

import asyncio
from collections.abc import Mapping

from sluice.contracts.ids import NodeName
from sluice.dataplane.ovs.text import write_all
from sluice.drivers.openflow.switch import Switch
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.roles import ROLE, TRAFFIC
from sluice.lab.lab import Lab
from sluice.lab.ovs import BRIDGE
from sluice.lab.scenario import Reported
from sluice.services.node_ovs.shell import IDS_INTERVAL_S
from sluice.testkit.manifests import read

GONE_S = 60.0
"""Ports that nobody needs go a moment after the flows that led to them."""

LATER = "apiVersion: v1\nkind: Namespace\nmetadata: {name: later}\n"
"""Changes nothing; whoever has applied it is alive."""


async def held(lab: Lab, node: str) -> tuple[list[str], set[str]]:
    """The flows of the switch, and the ports that were made for TrafficControls."""
    ovs = lab.nodes[NodeName(node)].ovs
    switch, ovsdb = await Switch.connect(ovs.mgmt_socket()), await Ovsdb.connect(ovs.db_socket)
    try:
        monitor = await ovsdb.monitor("Bridge", "Port", "Interface")
        await anext(monitor)
        interfaces = monitor.view.interfaces(BRIDGE)
        made = {one.name for one in interfaces if one.external_ids.get(ROLE) == TRAFFIC}
        return write_all(await switch.dump()).splitlines(), made
    finally:
        switch.close()
        ovsdb.close()


async def ports_are(lab: Lab, wanted: Mapping[str, set[str]]) -> None:
    """Nodes have exactly these ports for TrafficControls.

    Raises:
        TimeoutError: they do not come to that.
    """
    for node, ports in wanted.items():
        async with asyncio.timeout(GONE_S):
            while (await held(lab, node))[1] != ports:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.1)


async def as_from_scratch(lab: Lab, problems: tuple[Reported, ...]) -> list[str]:
    """What differs when every programmer begins anew and reads all there is."""
    await asyncio.sleep(2 * IDS_INTERVAL_S)  # the numbers in flows are written down
    before = {name: await held(lab, name) for name in lab.nodes}
    pids = {name: node.programmer.pid for name, node in lab.nodes.items()}
    for node in lab.nodes.values():
        node.programmer.kill()
    async with asyncio.timeout(GONE_S):
        while any(node.programmer.pid in (None, pids[name]) for name, node in lab.nodes.items()):  # noqa: ASYNC110  # the same
            await asyncio.sleep(0.1)
    await lab.change(apply=read(LATER))
    await lab.realised(problems=problems)
    found = []
    for name, (flows, ports) in before.items():
        new_flows, new_ports = await held(lab, name)
        found += [f"{name}: {line}" for line in sorted(set(flows) ^ set(new_flows))]
        found += [f"{name}: port {port}" for port in sorted(ports ^ new_ports)]
    return found
