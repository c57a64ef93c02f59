"""A node of the lab: a network namespace with a switch of its own, the programmer beside it, and Pods plugged in."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from sluice.contracts.ids import Address, NodeName
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.drivers import veth
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.ovsdb.client import NotApplied, Ovsdb
from sluice.drivers.ovsdb.operations import NewPort
from sluice.drivers.ovsdb.pods import PodIds, to_external_ids
from sluice.drivers.veth import mac_of
from sluice.lab import hosting, inspection, netns
from sluice.lab.ovs import BRIDGE, OvsNode
from sluice.lab.probers import Prober, Probers
from sluice.lab.processes import Program, Supervised
from sluice.lab.underlay import Underlay, Wiring, configure, tell_gateways, wire
from sluice.lab.world import Placed

GATEWAY_MAC = ":".join(f"{octet:02x}" for octet in VIRTUAL_MAC.to_bytes(6, "big"))

DEAD_SWITCH_S = 10.0
"""How long plugging waits for a switch that is just being started again."""


class Sandbox(NamedTuple):
    """A Pod that runs."""

    pod: Placed
    prober: Prober
    netns: Path
    host_end: str
    """Its port on the bridge; empty on the host's network."""


class LabNode:
    def __init__(
        self,
        name: NodeName,
        lab: str,
        folder: Path,
        variables: Mapping[str, str],
        programmer: Mapping[str, str],
        *,
        inspector: Mapping[str, str] = MappingProxyType({}),
        guard: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """The environments of node-ovs, node-l7 and node-host, but for what this node knows."""
        self.name = name
        self.folder = folder
        self._lab, self._variables = lab, variables
        self._numbers = count(1)
        folder.mkdir(parents=True, exist_ok=True)
        self.netns = netns.create(f"node.{name}", lab)
        self.ovs = OvsNode(self.netns.name, folder / "ovs", variables)
        self.state_folder = folder / "state"
        self.audit_log = folder / "var/log/antrea/networkpolicy/np.log"
        own = {
            "NODE_NAME": name,
            "RUN_DIR": str(self.ovs.folder),
            "STATE_DIR": str(self.state_folder),
            "ROOT": str(folder),
            "BRIDGE": BRIDGE,
            "HAND_OVER": str(folder / inspection.HAND_OVER),
        }
        self.programmer = Program(
            [sys.executable, "-P", "-m", "sluice.services.node_ovs"],
            {**variables, **programmer, **{f"SLUICE_NODE_OVS_{field}": value for field, value in own.items()}},
            folder / "node-ovs.log",
        )
        self.inspector = inspection.program(name, self.netns, self.ovs, folder, {**variables, **inspector})
        self.inspects = False
        """node-l7 was started."""

        self.host_log = folder / hosting.LOG
        self.guard = hosting.program(name, self.netns, folder, {**variables, **guard})
        self.is_guarded = False
        """node-host was started."""

        self.sandboxes: dict[str, Sandbox] = {}
        self.had: set[Address] = set()
        """Addresses of Pods that it has, or had since somebody cleared this."""

        self._wiring = Wiring()
        self.prober: Prober | None = None
        """In the node's own namespace, beside the daemons."""

    async def start(self, underlay: Underlay | None = None) -> None:
        """The switch runs, with a bridge that drops everything, and is wired to other nodes and to its own."""
        self.ovs = await OvsNode.start(self.netns.name, self.ovs.folder, variables=self._variables)
        await self.ovs.ensure_bridge()
        if underlay is not None:
            await underlay.join(self.netns)
            await wire(self.netns, self.ovs.db_socket, BRIDGE)
        await self.programmer.start()

    async def inspect(self) -> Supervised:
        """node-l7 runs, which starts an engine."""
        self.inspects = True
        await self.inspector.start()
        return Supervised(f"node-l7 on {self.name}", self.inspector.start, self.inspector.ended)

    async def protect(self) -> Supervised:
        """node-host runs."""
        self.is_guarded = True
        await self.guard.start()
        return Supervised(f"node-host on {self.name}", self.guard.start, self.guard.ended)

    def supervised(self) -> list[Supervised]:
        return [
            Supervised(f"ovs on {self.name}", self._revive, self.ovs.ended),
            Supervised(f"node-ovs on {self.name}", self.programmer.start, self.programmer.ended),
        ]

    async def _revive(self) -> None:
        """Both daemons run again."""
        if self.ovs.ovsdb_pid is None:
            await self.ovs.start_ovsdb()
        if self.ovs.vswitchd_pid is None:
            await self.ovs.start_vswitchd()
            if self._wiring != Wiring():
                await asyncio.to_thread(configure, self.netns, self._wiring, self._wiring, GATEWAY_MAC)

    async def rewire(self, wiring: Wiring) -> None:
        """The node's network stack has these addresses and routes."""
        if wiring == self._wiring:
            return
        before, self._wiring = self._wiring, wiring
        await asyncio.to_thread(configure, self.netns, before, wiring, GATEWAY_MAC)
        if before.gateways != wiring.gateways:
            await tell_gateways(self.ovs.db_socket, wiring)

    # ---------------------------------------------------------------------------------------------------------- Pods

    async def plug(self, pods: Sequence[Placed], probers: Probers) -> None:
        """These Pods run: each has a namespace, a port if it is not on the host's network, and a prober in it."""
        made = await asyncio.gather(*(self._make(pod, probers) for pod in pods))
        plugged = [sandbox for sandbox in made if sandbox.host_end]
        if plugged:
            await asyncio.to_thread(veth.raise_links, self.netns, [sandbox.host_end for sandbox in plugged])
            await self._change_ports(add=plugged)
        self.sandboxes |= {sandbox.pod.pod: sandbox for sandbox in made}
        self.had |= {address for sandbox in plugged for address in sandbox.pod.addresses}

    async def unplug(self, names: Sequence[str]) -> None:
        """These Pods do not run any more: neither port nor namespace nor process is left of them."""
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
        """In one transaction; a switch that is being started again is waited for."""
        new = [NewPort(name=sandbox.host_end, external_ids=_external_ids(sandbox.pod)) for sandbox in add]
        async with asyncio.timeout(DEAD_SWITCH_S):
            while True:
                try:
                    ovsdb = await Ovsdb.connect(self.ovs.db_socket)
                    try:
                        if new:
                            await ovsdb.add_ports(BRIDGE, *new)
                        await ovsdb.delete_ports(BRIDGE, remove)
                    finally:
                        ovsdb.close()
                    return
                except NotApplied:
                    return  # it is stored, and the next ovs-vswitchd takes it from there
                except (OSError, RpcGone):
                    await asyncio.sleep(0.1)


def _external_ids(pod: Placed) -> dict[str, str]:
    return to_external_ids(PodIds(pod.pod, pod.uid, mac_of(pod.addresses[0]), pod.addresses))
