"""Wiring: a lease on a shard, the writers of its subjects, and the loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sluice.contracts import subjects
from sluice.runtime.bus import Bus
from sluice.runtime.lease import Lease
from sluice.runtime.output import Output
from sluice.runtime.service import Service
from sluice.services.rule_compiler.settings import RuleCompilerSettings
from sluice.services.rule_compiler.shell import PATTERN, STREAM, Shell

SERVICE = "rule-compiler"


@asynccontextmanager
async def opened(bus: Bus, settings: RuleCompilerSettings) -> AsyncIterator[tuple[Shell, Lease]]:
    """The shell, ready to run, and the lease that it runs under. Waits until a shard is free."""
    lease = await Lease.claim(bus, SERVICE, settings.shards, settings.holder)
    try:
        async with (
            await Output.open(bus, STREAM, (PATTERN,)) as output,
            await Output.open(bus, "STATUS", (subjects.compiler_status(lease.shard),)) as status,
        ):
            yield Shell(bus, output, status, lease.shard, settings.shards), lease
    finally:
        await lease.release()


async def main(service: Service[RuleCompilerSettings]) -> None:
    """Run until cancelled.

    Raises:
        LeaseLost, Fenced: another run of the service has the shard.
        Resharded: what is stored was divided into another number of shards.
    """
    async with opened(service.bus, service.settings) as (shell, lease), asyncio.TaskGroup() as tasks:
        service.health.ready_when("in sync", shell.in_sync.is_set)
        service.health.ready_when("stored", lambda: not shell.refused)
        tasks.create_task(lease.hold(), name="lease")
        tasks.create_task(shell.guard(), name="fence")
        tasks.create_task(shell.run(), name="shell")
