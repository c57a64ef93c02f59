"""Asks the source itself for a tier that the bus has not reported: it may have just been created.

The bus lags by a few milliseconds. Somebody who creates a tier and its policies with one command is faster than that,
and must not be refused; a lookup before the refusal only slows down those who would be refused.
"""

import asyncio
import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from sluice.admission.admit import admit
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import Tier
from sluice.kube.digest import is_manifest
from sluice.kube.manifest import Document, parse

TIMEOUT_S = 2.0
"""Timeout of one lookup; the API server allows a webhook five seconds in total."""

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a Pod finds its token and the CA certificate. Source: Kubernetes, "Accessing the API from a Pod"."""


class LookupFailed(Exception):
    """The source did not say whether the tier exists; the message says why."""


class Lookup(Protocol):
    async def has_tier(self, name: str) -> bool:
        """True if the source has the tier now.

        Raises:
            LookupFailed: it does not say.
        """


class Nowhere:
    """There is no source to ask."""

    async def has_tier(self, name: str) -> bool:
        return False


class Folder:
    """The folder of manifests that ingest reads."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def has_tier(self, name: str) -> bool:
        try:
            return await asyncio.wait_for(asyncio.to_thread(self._has_tier, name), TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            raise LookupFailed(f"{self._root}: {error!r}") from error

    def _has_tier(self, name: str) -> bool:
        if not self._root.is_dir():
            raise NotADirectoryError(f"{self._root} is not a folder")
        for path in sorted(self._root.rglob("*")):
            if not is_manifest(path.relative_to(self._root).as_posix()) or not path.is_file():
                continue
            for found in parse(path.read_bytes(), path.name):
                made = found.object if isinstance(found, Document) else None
                if isinstance(made, Tier) and made.metadata.name == name and not admit(made):
                    return True
        return False


class ApiServer:
    """The API server of the cluster that we run in."""

    def __init__(self, host: str, port: int, account: Path = ACCOUNT) -> None:
        self._host, self._port, self._account = host, port, account

    @classmethod
    def of_pod(cls, environ: Mapping[str, str]) -> "ApiServer | None":
        """The API server according to a Pod's environment; None outside a Pod."""
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
        return cls(host, int(port)) if host and port else None

    async def has_tier(self, name: str) -> bool:
        try:
            return await asyncio.wait_for(asyncio.to_thread(self._has_tier, name), TIMEOUT_S)
        except (OSError, ValueError, http.client.HTTPException, TimeoutError) as error:
            raise LookupFailed(f"the API server at {self._host}: {error!r}") from error

    def _has_tier(self, name: str) -> bool:
        """Runs in a thread and uses the standard library: lookups are rare, and need no more."""
        resource = RESOURCES[Kind.TIER]
        token = (self._account / "token").read_text().strip()  # Kubernetes replaces it every hour
        trusted = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=trusted)
        try:
            path = f"/apis/{resource.api_version}/{resource.plural}/{quote(name, safe='')}"
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Accept": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status == http.client.NOT_FOUND:
            return False
        if answer.status != http.client.OK:
            raise ValueError(f"it answers {answer.status} {answer.reason} to GET {path}")
        return bool(json.loads(body)["metadata"]["name"] == name)
