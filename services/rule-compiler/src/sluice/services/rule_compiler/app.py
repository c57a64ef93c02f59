"""Wiring: a shard lease, the writers of its subjects, and the loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sluice.contracts import subjects
from sluice.contracts.kinds import INPUTS, SERVED, Kind
from sluice.policy.backends import BACKENDS
from sluice.runtime.bus import Bus
from sluice.runtime.deriving import Deriving, run_sharded
from sluice.runtime.lease import Lease
from sluice.runtime.output import Output
from sluice.runtime.service import Service
from sluice.services.rule_compiler.settings import RuleCompilerSettings
from sluice.services.rule_compiler.shell import PATTERN, STREAM, Programs

SERVICE = "rule-compiler"


@asynccontextmanager
async def opened(bus: Bus, settings: RuleCompilerSettings) -> AsyncIterator[tuple[Deriving, Lease]]:
    """The loop, ready to run, and the lease that it runs under. Waits until a shard is free."""
    lease = await Lease.claim(bus, SERVICE, settings.shards, settings.holder)
    try:
        async with (
            await Output.open(bus, STREAM, (PATTERN,)) as output,
            await Output.open(bus, "STATUS", (subjects.compiler_status(lease.shard),)) as status,
        ):
            yield (
                Deriving(
                    bus,
                    output,
                    Programs(output, status, lease.shard, settings.shards),
                    kinds=INPUTS | SERVED | {Kind.TRAFFIC_CONTROL},
                    marks=[subjects.program_mark(backend, lease.shard) for backend in BACKENDS],
                    shard=lease.shard,
                    shards=settings.shards,
                ),
                lease,
            )
    finally:
        await lease.release()


async def main(service: Service[RuleCompilerSettings]) -> None:
    """Run until cancelled.

    Raises:
        LeaseLost, Fenced: another instance has the shard.
        Resharded: the stored programs were made with another number of shards.
    """
    async with opened(service.bus, service.settings) as (loop, lease):
        await run_sharded(service, loop, lease)
