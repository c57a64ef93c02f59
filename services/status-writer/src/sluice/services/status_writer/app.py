"""Wiring: a lease, the API server, the writer, and the loop that tells it what to write."""

import asyncio
import time

from sluice.drivers.kubernetes.access import Access
from sluice.drivers.kubernetes.client import Client
from sluice.runtime.lease import Lease
from sluice.runtime.service import Service
from sluice.services.status_writer import tiers
from sluice.services.status_writer.pace import Pace
from sluice.services.status_writer.settings import StatusWriterSettings
from sluice.services.status_writer.shell import Shell
from sluice.services.status_writer.writer import Writer

SERVICE = "status-writer"


async def main(service: Service[StatusWriterSettings]) -> None:
    """Run until cancelled.

    Raises:
        LeaseLost: another instance writes.
        BadAccess: the configuration for reaching the API server is unreadable.
    """
    settings = service.settings
    access = Access(kubeconfig=settings.kubeconfig, context=settings.context, master=settings.master)
    async with Client(access, f"sluice/{SERVICE}") as client:
        writer = Writer(client, Pace(settings.writes_per_s, settings.burst, time.monotonic()))
        shell = Shell(service.bus, writer)
        working: list[Shell] = []
        # A standby replica counts as ready: a roll-out must not wait for it to become active.
        service.health.ready_when("in sync", lambda: all(one.in_sync.is_set() for one in working))
        lease = await Lease.claim(service.bus, SERVICE, 1, settings.holder)
        working.append(shell)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(lease.hold(), name="lease")
                tasks.create_task(tiers.keep(client, settings.tiers_s), name="tiers")
                tasks.create_task(writer.run(), name="writer")
                tasks.create_task(shell.run(), name="shell")
                tasks.create_task(shell.lint(settings.lint_interval_s, settings.lint_most_rules), name="lint")
        finally:
            await lease.release()
