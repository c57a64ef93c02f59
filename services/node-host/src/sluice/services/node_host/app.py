"""Wiring: the shell, the bus it reads and the table it maintains."""

from sluice.runtime.service import Service
from sluice.services.node_host.settings import NodeHostSettings
from sluice.services.node_host.shell import Shell

SERVICE = "node-host"


async def main(service: Service[NodeHostSettings]) -> None:
    """Run until cancelled."""
    shell = Shell(service.settings, service.bus)
    service.health.ready_when("the table holds what the bus says", lambda: shell.ready)
    await shell.run()
