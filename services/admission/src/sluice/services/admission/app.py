"""Wiring: the fold of OBJECTS, the lookup, and the HTTPS server."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from sluice.drivers.kubernetes.access import Access
from sluice.drivers.kubernetes.client import Client
from sluice.runtime.service import Service
from sluice.services.admission.lookup import ApiServer, Folder, Lookup, Nowhere
from sluice.services.admission.rotating import Rotation
from sluice.services.admission.serving import Webhook
from sluice.services.admission.settings import AdmissionSettings
from sluice.services.admission.shell import Shell
from sluice.services.admission.web import application

SERVICE = "admission"


def lookup_of(settings: AdmissionSettings, environ: Mapping[str, str]) -> Lookup:
    """The source to ask for tiers that the bus has not reported."""
    if settings.folder:
        return Folder(Path(settings.folder))
    return ApiServer.of_pod(environ) or Nowhere()


async def main(service: Service[AdmissionSettings]) -> None:
    """Run until cancelled.

    Raises:
        BadCertificate: there is no usable TLS certificate.
        OSError: the port is taken.
    """
    own = service.settings
    rotation = None
    if own.own_authority:
        rotation = Rotation(Client(Access(), f"sluice/{SERVICE}"), own)
        await rotation.begin()
    shell = Shell(service.bus, lookup_of(own, os.environ))
    webhook = Webhook(application(shell), own.host, own.port, Path(own.certificate), Path(own.key))
    service.health.ready_when("in sync", shell.in_sync.is_set)
    service.health.ready_when("webhook", webhook.listening.is_set)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(shell.run(), name="shell")
        tasks.create_task(webhook.run(), name="webhook")
        if rotation is not None:
            tasks.create_task(rotation.run(), name="authority")
        tasks.create_task(webhook.watch(own.reload_interval_s), name="certificate")
