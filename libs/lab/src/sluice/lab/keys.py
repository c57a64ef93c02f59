"""Identities on a lab's bus: a keyring of its own with client certificates, as an operator would create it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sluice.contracts import identities
from sluice.contracts.ids import NodeName
from sluice.runtime import keyring
from sluice.runtime.credentials import Credentials
from sluice.runtime.keyring import Keyring


class LabKeys:
    def __init__(self, folder: Path) -> None:
        now = keyring.now()
        self.ring = Keyring.create(folder, ["127.0.0.1"], now, client_certificates=True)
        self.ring.add(keyring.everybody(), now)

    @property
    def configuration(self) -> Path:
        """The configuration of the lab's nats-server."""
        return self.ring.server / keyring.CONFIGURATION

    @property
    def operator(self) -> Credentials:
        return self.ring.credentials(identities.OPERATOR)

    def settle(self, nodes: Iterable[str]) -> bool:
        """Create keys for these nodes; False if all had keys, so that the server need not reload."""
        return bool(self.ring.add(map(identities.node, map(NodeName, nodes)), keyring.now()))

    def settings(self, service: str, node: str) -> Mapping[str, str]:
        """The settings with which a service authenticates; `node` is empty for a central service."""
        identity = identities.of_service(service, NodeName(node) if node else None)
        return {"NATS_KEYS": str(self.ring.credentials(identity).folder)}
