"""Wiring: what is stored, the folder, and the loop between them."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sluice.contracts import subjects
from sluice.runtime.bus import Bus
from sluice.runtime.output import Output
from sluice.runtime.service import Service
from sluice.services.ingest import stored
from sluice.services.ingest.catalog import Catalog
from sluice.services.ingest.settings import IngestSettings
from sluice.services.ingest.shell import NAME, Shell
from sluice.services.ingest.source import FolderSource

SERVICE = "ingest"


def source_name(folder: str) -> str:
    """The folder as the one source of a deployment; its path, absolute."""
    return f"{NAME}:{os.path.abspath(folder)}"  # noqa: PTH100  # Path.resolve would follow links


@asynccontextmanager
async def opened(bus: Bus, settings: IngestSettings) -> AsyncIterator[Shell]:
    """The shell, ready to run.

    Raises:
        OtherSource: the stream's objects come from another source.
    """
    name = source_name(settings.folder)
    async with (
        await Output.open(bus, "LEDGER", (stored.PATTERN,)) as ledger,
        await Output.open(bus, "STATUS", (subjects.source_status(NAME),)) as status,
    ):
        told = ledger.stored
        held = {**await stored.current(bus), **told}
        stored.check_source(held, name)
        catalog = Catalog(stored.uids(held), lambda: str(uuid.uuid4()))
        source = FolderSource(
            Path(settings.folder),
            catalog,
            settle_s=settings.poll_interval_ms / 1000,
            grace_s=settings.grace_ms / 1000,
        )
        forgotten = {subject: body for subject, body in held.items() if subject not in told}
        yield Shell(source, name, ledger, status, forgotten, poll_interval_s=settings.poll_interval_ms / 1000)


async def main(service: Service[IngestSettings]) -> None:
    """Run until cancelled.

    Raises:
        OtherSource: the stream's objects come from another source.
        Fenced: another ingest is active.
    """
    async with opened(service.bus, service.settings) as shell, asyncio.TaskGroup() as tasks:
        service.health.ready_when("in sync", shell.in_sync.is_set)
        tasks.create_task(shell.guard(), name="guard")
        tasks.create_task(shell.run(), name="shell")
