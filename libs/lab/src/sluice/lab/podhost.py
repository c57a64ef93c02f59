"""Pods on one host: each is a network namespace with a prober in it, plugged into the switch of the given database."""

import asyncio
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from sluice.contracts.ids import Address, NodeName
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.drivers import veth
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.ovsdb.client import NotApplied, Ovsdb
from sluice.drivers.ovsdb.operations import NewPort
from sluice.drivers.ovsdb.pods import PodIds, to_external_ids
from sluice.drivers.veth import mac_of
from sluice.lab import netns
from sluice.lab.ovs import BRIDGE
from sluice.lab.probers import Prober, Probers
from sluice.lab.world import Placed

GATEWAY_MAC = ":".join(f"{octet:02x}" for octet in VIRTUAL_MAC.to_bytes(6, "big"))

DEAD_SWITCH_S = 10.0
"""How long plugging waits for a switch that is being restarted."""


class Sandbox(NamedTuple):
    """A running Pod."""

    pod: Placed
    prober: Prober
    netns: Path
    host_end: str
    """Its port on the bridge; empty if it is on the host's network."""


class PodHost:
    def __init__(self, name: NodeName, lab: str, netns_path: Path, db_socket: Path) -> None:
        """`netns_path` is the switch's namespace, `db_socket` its database's socket."""
        self.name = name
        self.netns = netns_path
        self.sandboxes: dict[str, Sandbox] = {}
        self.had: set[Address] = set()
        """Addresses of its Pods, current and past ones, since this was last cleared."""

        self._lab, self._db_socket = lab, db_socket
        self._numbers = count(1)

    async def plug(self, pods: Sequence[Placed], probers: Probers) -> None:
        """Start these Pods: each gets a namespace with a prober, and a port unless it is on the host's network."""
        made = await asyncio.gather(*(self._make(pod, probers) for pod in pods))
        plugged = [sandbox for sandbox in made if sandbox.host_end]
        if plugged:
            await asyncio.to_thread(veth.raise_links, self.netns, [sandbox.host_end for sandbox in plugged])
            await self._change_ports(add=plugged)
        self.sandboxes |= {sandbox.pod.pod: sandbox for sandbox in made}
        self.had |= {address for sandbox in plugged for address in sandbox.pod.addresses}

    async def unplug(self, names: Sequence[str]) -> None:
        """Stop these Pods and remove their ports, namespaces and processes."""
        gone = [self.sandboxes.pop(name) for name in names]
        for sandbox in gone:
            sandbox.prober.kill()
            await sandbox.prober.disconnect()
        if ports := [sandbox.host_end for sandbox in gone if sandbox.host_end]:
            await self._change_ports(remove=ports)
        for sandbox in gone:
            if sandbox.host_end:
                netns.remove(sandbox.netns)

    async def _make(self, pod: Placed, probers: Probers) -> Sandbox:
        if pod.host_network:
            return Sandbox(pod, await probers.start(pod.pod, self.netns, pod.ports), self.netns, "")
        number = next(self._numbers)
        host_end = f"pod{number}"
        path = await asyncio.to_thread(netns.create, f"pod.{self.name}.{number}", self._lab)
        link = veth.Link(host_end, mac_of(pod.addresses[0]), pod.addresses)
        prober, _ = await asyncio.gather(
            probers.start(pod.pod, path, pod.ports),
            asyncio.to_thread(veth.plug, path, self.netns, link, GATEWAY_MAC),
        )
        return Sandbox(pod, prober, path, host_end)

    async def _change_ports(self, add: Sequence[Sandbox] = (), remove: Sequence[str] = ()) -> None:
        """In one transaction; waits for a switch that is being restarted."""
        new = [NewPort(name=sandbox.host_end, external_ids=_external_ids(sandbox.pod)) for sandbox in add]
        async with asyncio.timeout(DEAD_SWITCH_S):
            while True:
                try:
                    ovsdb = await Ovsdb.connect(self._db_socket)
                    try:
                        if new:
                            await ovsdb.add_ports(BRIDGE, *new)
                        await ovsdb.delete_ports(BRIDGE, remove)
                    finally:
                        ovsdb.close()
                    return
                except NotApplied:
                    return  # it is stored, and the next ovs-vswitchd will apply it
                except (OSError, RpcGone):
                    await asyncio.sleep(0.1)


def _external_ids(pod: Placed) -> dict[str, str]:
    return to_external_ids(PodIds(pod.pod, pod.uid, mac_of(pod.addresses[0]), pod.addresses))
