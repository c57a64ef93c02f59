"""Wiring: the shell and the bus it writes to."""

from sluice.runtime import streams
from sluice.runtime.service import Service
from sluice.services.log_collector.settings import LogCollectorSettings
from sluice.services.log_collector.shell import Shell

SERVICE = "log-collector"


async def main(service: Service[LogCollectorSettings]) -> None:
    """Run until cancelled."""
    await streams.ensure(service.bus)
    shell = Shell(service.settings, service.bus)
    service.health.ready_when("the logs are read to their end", lambda: shell.caught_up)
    await shell.run()
