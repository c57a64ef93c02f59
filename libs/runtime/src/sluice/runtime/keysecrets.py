"""A keyring as Kubernetes Secrets. Each is mounted as a folder, to which `NATS_KEYS` then points."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sluice.contracts.identities import Identity
from sluice.runtime.credentials import AUTHORITY, CERTIFICATE, KEY, SEED, seed_file
from sluice.runtime.keyring import CONFIGURATION, BadKeyring, Keyring

PREFIX = "sluice-bus-"
SERVER = f"{PREFIX}server"
NODES = f"{PREFIX}nodes"
_OPTIONAL = (CERTIFICATE, KEY)

Manifest = dict[str, Any]
"""Any: the values of YAML."""


def secret_name(identity: Identity) -> str:
    """`sluice-bus-ingest` for a service; `sluice-bus-node-NAME` and `sluice-bus-person-operator` for others."""
    return PREFIX + (identity.name if identity.kind == "service" else f"{identity.kind}-{identity.name}")


def secrets(ring: Keyring, namespace: str, at: Path, *, nodes_together: bool) -> Iterator[Manifest]:
    """The Secrets of the server, whose files are mounted at `at`, and of all identities.

    Raises:
        BadKeyring: `nodes_together` with client certificates, which cannot share a Secret.
    """
    if nodes_together and ring.ring.client_certificates:
        raise BadKeyring(
            f"{ring.folder}: with client certificates, each node needs a Secret of its own; leave out --nodes-together"
        )
    server = {name: (ring.server / name).read_bytes() for name in (AUTHORITY, CERTIFICATE, KEY)}
    yield _secret(SERVER, namespace, {**server, CONFIGURATION: ring.configuration(at).encode()})
    together: dict[str, bytes] = {}
    for identity in ring.identities:
        folder = ring.credentials(identity).folder
        files = {name: (folder / name).read_bytes() for name in (SEED, AUTHORITY)}
        files |= {name: (folder / name).read_bytes() for name in _OPTIONAL if (folder / name).exists()}
        if nodes_together and identity.kind == "node":
            together |= {AUTHORITY: files[AUTHORITY], seed_file(identity): files[SEED]}
        else:
            yield _secret(secret_name(identity), namespace, files)
    if together:
        yield _secret(NODES, namespace, together)


def _secret(name: str, namespace: str, files: Mapping[str, bytes]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "sluice", "app.kubernetes.io/component": "bus"},
        },
        "type": "Opaque",
        "data": {file: b64encode(content).decode() for file, content in sorted(files.items())},
    }
