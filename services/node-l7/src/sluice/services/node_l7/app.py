"""Wiring: the shell and the bus it reads."""

from sluice.runtime.service import Service
from sluice.services.node_l7.settings import NodeL7Settings
from sluice.services.node_l7.shell import Shell

SERVICE = "node-l7"


async def main(service: Service[NodeL7Settings]) -> None:
    """Run until cancelled."""
    shell = Shell(service.settings, service.bus)
    service.health.ready_when("every rule set on the bus is in force, or reported as a problem", lambda: shell.ready)
    await shell.run()
