"""Wiring: the shell and the bus it reads."""

from sluice.runtime.service import Service
from sluice.services.node_ovs.settings import NodeOvsSettings
from sluice.services.node_ovs.shell import Shell

SERVICE = "node-ovs"


async def main(service: Service[NodeOvsSettings]) -> None:
    """Run until cancelled."""
    shell = Shell(service.settings, service.bus)
    service.health.ready_when("the switch holds what the bus says", lambda: shell.ready)
    service.health.waits_for_bus(lambda: shell.away.waiting)
    await shell.run()
