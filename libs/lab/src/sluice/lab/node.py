"""A node of the lab: a network namespace with its own switch, the services that program it, and Pods plugged in."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from sluice.contracts.ids import NodeName
from sluice.lab import hosting, inspection, netns
from sluice.lab.ovs import BRIDGE, OvsNode
from sluice.lab.podhost import GATEWAY_MAC, PodHost
from sluice.lab.probers import Prober
from sluice.lab.processes import Program, Supervised
from sluice.lab.underlay import Underlay, Wiring, configure, tell_gateways, wire


class LabNode(PodHost):
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
        """The mappings are environments of node-ovs, node-l7 and node-host, without this node's own settings."""
        self.folder = folder
        self._variables = variables
        folder.mkdir(parents=True, exist_ok=True)
        path = netns.create(f"node.{name}", lab)
        self.ovs = OvsNode(path.name, folder / "ovs", variables)
        super().__init__(name, lab, path, self.ovs.db_socket)
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

        self._wiring = Wiring()
        self.prober: Prober | None = None
        """In the node's own namespace, beside the daemons."""

    async def start(self, underlay: Underlay | None = None) -> None:
        """Start the switch, with a bridge that drops everything, and wire it to other nodes and to its own stack."""
        self.ovs = await OvsNode.start(self.netns.name, self.ovs.folder, variables=self._variables)
        await self.ovs.ensure_bridge()
        if underlay is not None:
            await underlay.join(self.netns)
            await wire(self.netns, self.ovs.db_socket, BRIDGE)
        await self.programmer.start()

    async def inspect(self) -> Supervised:
        """Start node-l7, which starts an engine."""
        self.inspects = True
        await self.inspector.start()
        return Supervised(f"node-l7 on {self.name}", self.inspector.start, self.inspector.ended)

    async def protect(self) -> Supervised:
        """Start node-host."""
        self.is_guarded = True
        await self.guard.start()
        return Supervised(f"node-host on {self.name}", self.guard.start, self.guard.ended)

    def supervised(self) -> list[Supervised]:
        return [
            Supervised(f"ovs on {self.name}", self._revive, self.ovs.ended),
            Supervised(f"node-ovs on {self.name}", self.programmer.start, self.programmer.ended),
        ]

    async def _revive(self) -> None:
        """Restart both daemons."""
        if self.ovs.ovsdb_pid is None:
            await self.ovs.start_ovsdb()
        if self.ovs.vswitchd_pid is None:
            await self.ovs.start_vswitchd()
            if self._wiring != Wiring():
                await asyncio.to_thread(configure, self.netns, self._wiring, self._wiring, GATEWAY_MAC)

    async def rewire(self, wiring: Wiring) -> None:
        """Give the node's network stack these addresses and routes."""
        if wiring == self._wiring:
            return
        before, self._wiring = self._wiring, wiring
        await asyncio.to_thread(configure, self.netns, before, wiring, GATEWAY_MAC)
        if before.gateways != wiring.gateways:
            await tell_gateways(self.ovs.db_socket, wiring)
