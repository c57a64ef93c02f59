"""Wiring: a lease on a shard, the writer of its subjects, and the loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sluice.contracts import subjects
from sluice.runtime.bus import Bus
from sluice.runtime.deriving import Deriving, run_sharded
from sluice.runtime.lease import Lease
from sluice.runtime.output import Output
from sluice.runtime.service import Service
from sluice.services.group_resolver.derived import KINDS
from sluice.services.group_resolver.settings import GroupResolverSettings
from sluice.services.group_resolver.shell import PATTERN, STREAM, Members

SERVICE = "group-resolver"


@asynccontextmanager
async def opened(bus: Bus, settings: GroupResolverSettings) -> AsyncIterator[tuple[Deriving, Lease]]:
    """The loop, ready to run, and its lease. Waits until a shard is free."""
    lease = await Lease.claim(bus, SERVICE, settings.shards, settings.holder)
    try:
        async with await Output.open(bus, STREAM, (PATTERN,)) as output:
            yield (
                Deriving(
                    bus,
                    output,
                    Members(output, lease.shard, settings.shards),
                    kinds=KINDS,
                    marks=[subjects.group_mark(lease.shard)],
                    shard=lease.shard,
                    shards=settings.shards,
                ),
                lease,
            )
    finally:
        await lease.release()


async def main(service: Service[GroupResolverSettings]) -> None:
    """Run until cancelled.

    Raises:
        LeaseLost, Fenced: another replica has the shard.
        Resharded: what is stored was divided into another number of shards.
    """
    async with opened(service.bus, service.settings) as (loop, lease):
        await run_sharded(service, loop, lease)
