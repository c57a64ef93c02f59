"""Wiring: the shell, the bus it reads and the kernel it changes."""

import os

from sluice.drivers.tc.capabilities import probe
from sluice.runtime.service import Service
from sluice.services.node_tc.settings import NodeTcSettings
from sluice.services.node_tc.shell import Shell

SERVICE = "node-tc"


async def main(service: Service[NodeTcSettings]) -> None:
    """Run until cancelled.

    Raises:
        KernelTooOld: at once, if the kernel cannot enforce policy.
    """
    capabilities = probe(os.uname().release)
    shell = Shell(service.settings, service.bus, capabilities)
    service.health.ready_when("the hooks hold what the bus says", lambda: shell.ready)
    await shell.run()
