"""Wiring: the stored objects, the source, and the loop between them."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from sluice.contracts import subjects
from sluice.drivers.kubernetes.access import Access
from sluice.drivers.kubernetes.client import Client
from sluice.drivers.kubernetes.lease import Lease, Timing
from sluice.drivers.kubernetes.mirror import Pace
from sluice.runtime.bus import Bus
from sluice.runtime.output import Output
from sluice.runtime.service import Service
from sluice.services.ingest import stored
from sluice.services.ingest.catalog import Catalog
from sluice.services.ingest.changing import Writer
from sluice.services.ingest.folder_writing import FolderWriter
from sluice.services.ingest.implied import system_tiers
from sluice.services.ingest.kubernetes.source import KubernetesSource
from sluice.services.ingest.kubernetes.writing import KubernetesWriter
from sluice.services.ingest.settings import IngestSettings
from sluice.services.ingest.shell import Shell
from sluice.services.ingest.source import FolderSource, Source

SERVICE = "ingest"
FOLDER = "folder"
KUBERNETES = "kubernetes"


def source_name(folder: str) -> str:
    """The name of a folder as a deployment's source; contains the absolute path."""
    return f"{FOLDER}:{os.path.abspath(folder)}"  # noqa: PTH100  # Path.resolve would follow links


class Held(NamedTuple):
    """What the streams hold when ingest starts."""

    ledger: Output
    status: Output
    bodies: Mapping[str, bytes]
    """By subject, including objects that LEDGER no longer holds."""

    def shell(
        self, source: Source, writer: Writer, name: str, kind: str, may_write: Callable[[], None] = lambda: None
    ) -> Shell:
        told = self.ledger.stored
        return Shell(
            source,
            writer=writer,
            name=name,
            ledger=self.ledger,
            status=self.status,
            status_subject=subjects.source_status(kind),
            forgotten={subject: body for subject, body in self.bodies.items() if subject not in told},
            may_write=may_write,
        )


@asynccontextmanager
async def _held(bus: Bus, name: str, kind: str) -> AsyncIterator[Held]:
    """Open the outputs.

    Raises:
        OtherSource: the stream's objects come from another source.
    """
    async with (
        await Output.open(bus, "LEDGER", (stored.PATTERN,)) as ledger,
        await Output.open(bus, "STATUS", (subjects.source_status(kind),)) as status,
    ):
        bodies = {**await stored.current(bus), **ledger.stored}
        stored.check_source(bodies, name)
        yield Held(ledger, status, bodies)


@asynccontextmanager
async def opened(bus: Bus, settings: IngestSettings) -> AsyncIterator[Shell]:
    """The shell for a folder, ready to run.

    Raises:
        OtherSource: the stream's objects come from another source.
    """
    name = source_name(settings.folder)
    async with _held(bus, name, FOLDER) as held:
        catalog = Catalog(stored.uids(held.bodies), lambda: str(uuid.uuid4()))
        catalog.imply(system_tiers())
        source = FolderSource(
            Path(settings.folder),
            catalog,
            settle_s=settings.poll_interval_ms / 1000,
            grace_s=settings.grace_ms / 1000,
        )
        yield held.shell(source, FolderWriter(Path(settings.folder), catalog, source), name, FOLDER)


@asynccontextmanager
async def mirrored(
    bus: Bus, client: Client, lease: Lease, settings: IngestSettings
) -> AsyncIterator[tuple[Shell, KubernetesSource]]:
    """The shell for Kubernetes and its source, both ready to run under a held lease.

    Raises:
        OtherSource: the stream's objects come from another source.
    """
    async with _held(bus, KUBERNETES, KUBERNETES) as held:
        pace = Pace(longest_wait_s=settings.retry_s, absent_s=settings.absent_s, silence_s=settings.silence_s)
        source = KubernetesSource(client, stored.uids(held.bodies), pace)
        yield held.shell(source, KubernetesWriter(client), KUBERNETES, KUBERNETES, lease.check), source


def lease_of(client: Client, settings: IngestSettings) -> Lease:
    """The lease that replicas compete for: renewed seven times per duration; a holder stops after two thirds of it."""
    duration_s = settings.lease_duration_s
    return Lease(
        client,
        namespace=settings.namespace(),
        name=settings.lease_name,
        holder=settings.holder,
        timing=Timing(duration_s=duration_s, deadline_s=duration_s * 2 / 3, retry_s=duration_s * 2 / 15),
    )


async def main(service: Service[IngestSettings]) -> None:
    """Run until cancelled.

    Raises:
        OtherSource: the stream's objects come from another source.
        Fenced, LeaseLost: another ingest is active, or may be.
        BadAccess: the configuration for reaching the API server is unreadable.
    """
    if service.settings.source == KUBERNETES:
        await _from_kubernetes(service)
    else:
        await _from_folder(service)


async def _from_folder(service: Service[IngestSettings]) -> None:
    async with opened(service.bus, service.settings) as shell, asyncio.TaskGroup() as tasks:
        service.health.ready_when("in sync", shell.in_sync.is_set)
        tasks.create_task(shell.guard(), name="guard")
        tasks.create_task(shell.run(), name="shell")
        if service.settings.writable:
            tasks.create_task(shell.changing.run(service.bus), name="changing")


async def _from_kubernetes(service: Service[IngestSettings]) -> None:
    settings = service.settings
    access = Access(kubeconfig=settings.kubeconfig, context=settings.context, master=settings.master)
    async with Client(access, f"sluice/{SERVICE}") as client:
        lease = lease_of(client, settings)
        running: list[Shell] = []
        # A standby replica counts as ready: a roll-out must not wait for it to become active.
        service.health.ready_when("in sync", lambda: all(shell.in_sync.is_set() for shell in running))
        await lease.claim()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(lease.hold(), name="lease")
                async with (
                    mirrored(service.bus, client, lease, settings) as (shell, source),
                    asyncio.TaskGroup() as work,
                ):
                    running.append(shell)
                    work.create_task(source.run(), name="source")
                    work.create_task(shell.guard(), name="guard")
                    work.create_task(shell.run(), name="shell")
                    if settings.writable:
                        work.create_task(shell.changing.run(service.bus), name="changing")
        finally:
            await lease.release()
