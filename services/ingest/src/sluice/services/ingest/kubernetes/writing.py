"""Changes an object through the Kubernetes API: its admission decides, and resourceVersion prevents lost updates."""

import msgspec

from sluice.contracts.kinds import RESOURCES
from sluice.drivers.kubernetes.client import Client, Refused, Unreachable, path
from sluice.kube.editing import same, written
from sluice.kube.manifest import Document
from sluice.services.ingest.catalog import Key
from sluice.services.ingest.changing import Refusal
from sluice.services.ingest.kubernetes.reading import reader

_SAME = (400, 404, 409, 422)
"""Errors that the API server would give any client; all others concern only ingest's access."""


class _Meta(msgspec.Struct):
    uid: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class _Head(msgspec.Struct):
    metadata: _Meta


class KubernetesWriter:
    """Uses the credentials of ingest, which need write permission (deploy/k8s)."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def put(self, key: Key, document: Document, known: bytes) -> bool:
        if same(known, document.body):
            return False
        said = written(document.body)
        resource = RESOURCES[key.kind]
        if not known:
            await self._ask("POST", path(resource, key.namespace), said)
            return True
        head = await self._there(key, known)
        said["metadata"] |= {"uid": head.metadata.uid, "resourceVersion": head.metadata.resource_version}
        await self._ask("PUT", path(resource, key.namespace, key.name), said)
        return True

    async def delete(self, key: Key, known: bytes) -> None:
        head = await self._there(key, known)
        conditions = {"uid": head.metadata.uid, "resourceVersion": head.metadata.resource_version}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions}
        await self._ask("DELETE", path(RESOURCES[key.kind], key.namespace, key.name), options)

    async def _there(self, key: Key, known: bytes) -> _Head:
        """The object's current metadata, if its content is as the ledger has it.

        Raises:
            Refusal: it was changed meanwhile.
        """
        body = await self._ask("GET", path(RESOURCES[key.kind], key.namespace, key.name))
        if reader(key.kind)(body).body != known:
            raise Refusal(409, f"{key}: another client is changing it; read it again, then decide")
        return msgspec.json.decode(body, type=_Head)

    async def _ask(self, method: str, where: str, body: object = None) -> bytes:
        try:
            return await self._client.ask(method, where, body=msgspec.json.encode(body) if body is not None else None)
        except Refused as error:
            if error.code in _SAME:
                raise Refusal(error.code, error.message) from error
            raise Refusal(503, f"Kubernetes does not let ingest write: {error}") from error
        except Unreachable as error:
            raise Refusal(503, f"Kubernetes does not answer: {error}") from error
