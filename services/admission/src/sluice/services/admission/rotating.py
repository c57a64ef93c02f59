"""Keeps the webhook's CA in a Secret, its certificate in two files, and the CA bundle in the webhook configurations.

Every replica does this: the first one writes, and the others find it done (the Secret's resourceVersion prevents
conflicting writes).
"""

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog

from sluice.contracts import codec
from sluice.contracts.kinds import Resource
from sluice.drivers.kubernetes.access import BadAccess
from sluice.drivers.kubernetes.client import Backoff, Client, Refused, Unreachable, path
from sluice.runtime.authority import Certified, expires
from sluice.runtime.metrics import METRICS
from sluice.services.admission.certifying import Held, certified
from sluice.services.admission.settings import AdmissionSettings

log = structlog.get_logger()

_expires = METRICS.gauge(
    "sluice_admission_certificate_expires_seconds", "When the webhook's certificate does (Unix time)"
)

SECRETS = Resource("v1", "Secret", "secrets", namespaced=True, written=False)
NAME = "sluice-admission"
"""Name of both configurations."""

CONFIGURATIONS = tuple(
    Resource("admissionregistration.k8s.io/v1", kind, f"{kind.lower()}s", namespaced=False, written=False)
    for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
)


class BadSecret(ValueError):
    """The Secret's contents are not what we wrote. The message says what to do."""


class Rotation:
    def __init__(self, client: Client, settings: AdmissionSettings) -> None:
        self._client, self._own = client, settings
        self._names = (f"admission.{settings.namespace}.svc", f"admission.{settings.namespace}.svc.cluster.local")
        self._shown: Certified | None = None

    async def begin(self) -> None:
        """Wait until the two files are written."""
        backoff = Backoff()
        while self._shown is None:
            try:
                async with self._client:
                    await self.look()
            except (Refused, Unreachable, BadAccess) as error:
                log.warning("authority_awaited", secret=self._own.own_authority, reason=str(error))
                await asyncio.sleep(backoff.wait_s(error))

    async def run(self) -> None:
        """Check periodically, until cancelled."""
        while True:
            await asyncio.sleep(self._own.rotation_interval_s)
            try:
                async with self._client:
                    await self.look()
            except (Refused, Unreachable, BadAccess) as error:
                log.warning("authority_not_looked_at", secret=self._own.own_authority, reason=str(error))

    async def look(self, now: datetime | None = None) -> None:
        """Do what is due now.

        Raises:
            BadSecret
            Refused: permission is missing, or another replica was first: look again.
            Unreachable
        """
        stored = await self._read(path(SECRETS, self._own.namespace, self._own.own_authority))
        configurations = [await self._read(path(each, "", NAME)) for each in CONFIGURATIONS]
        believed = [bundle for each in configurations if each for bundle in _bundles(each)]
        held = self._decoded(stored) if stored and stored.get("data") else None  # deploy/k8s creates it empty
        wanted = certified(held, believed, self._names, now or datetime.now(UTC))
        if wanted != held:
            await self._store(stored, wanted)
        for resource, each in zip(CONFIGURATIONS, configurations, strict=True):
            if each is not None and set(_bundles(each)) != {wanted.bundle}:
                for webhook in each["webhooks"]:
                    webhook["clientConfig"]["caBundle"] = base64.b64encode(wanted.bundle).decode()
                await self._client.ask("PUT", path(resource, "", NAME), body=codec.encode(each))
                log.info("authority_told", configuration=resource.kind, authorities=len(wanted.authorities))
        self._show(wanted.serving)

    def _show(self, serving: Certified) -> None:
        """Write the certificate and key to the files that the webhook serves from."""
        if serving == self._shown:
            return
        for file, content in ((self._own.key, serving.key), (self._own.certificate, serving.certificate)):
            new = Path(file + ".new")
            new.parent.mkdir(parents=True, exist_ok=True)
            new.touch(mode=0o600)
            new.write_bytes(content)
            new.replace(file)
        self._shown = serving
        _expires.set(expires(serving.certificate).timestamp())
        log.info("certificate_shown", expires=expires(serving.certificate).isoformat())

    async def _read(self, place: str) -> dict[str, Any] | None:
        try:
            read: dict[str, Any] = msgspec.json.decode(await self._client.ask("GET", place))
        except Refused as error:
            if error.code == 404:
                return None
            raise
        return read

    def _decoded(self, stored: dict[str, Any]) -> Held:
        try:
            return msgspec.json.decode(base64.b64decode(stored["data"]["held"]), type=Held)
        except (KeyError, ValueError, msgspec.MsgspecError) as error:
            where = f"Secret {self._own.namespace}/{self._own.own_authority}"
            raise BadSecret(
                f"{where}: {error!r}: delete it and apply deploy/k8s again; a new authority is then created"
            ) from error

    async def _store(self, stored: dict[str, Any] | None, held: Held) -> None:
        data = {"held": base64.b64encode(codec.encode(held)).decode()}
        if stored is not None:
            body = codec.encode({**stored, "data": data})
            await self._client.ask("PUT", path(SECRETS, self._own.namespace, self._own.own_authority), body=body)
            return
        metadata = {"name": self._own.own_authority, "namespace": self._own.namespace}
        made = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": "sluice.dev/authority",
            "data": data,
        }
        await self._client.ask("POST", path(SECRETS, self._own.namespace), body=codec.encode(made))


def _bundles(configuration: dict[str, Any]) -> list[bytes]:
    """The CA bundle of each webhook in the configuration."""
    return [base64.b64decode(each["clientConfig"].get("caBundle") or "") for each in configuration["webhooks"]]
