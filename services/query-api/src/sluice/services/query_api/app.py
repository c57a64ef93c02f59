"""Wiring: read models, the store of audit events, the checkpoint keeper, and the API."""

import asyncio
from pathlib import Path

from sluice.runtime import streams
from sluice.runtime.service import Service
from sluice.runtime.settings import ConfigError
from sluice.services.query_api.actions import Record
from sluice.services.query_api.asking import Asking
from sluice.services.query_api.auth import Gate, Tokens, trusted
from sluice.services.query_api.counts import Counts
from sluice.services.query_api.filling import Filling
from sluice.services.query_api.keeping import Keeper
from sluice.services.query_api.mirrors import Board
from sluice.services.query_api.moments import Moments
from sluice.services.query_api.serving import listening
from sluice.services.query_api.settings import QueryApiSettings
from sluice.services.query_api.store import Store
from sluice.services.query_api.web import application

SERVICE = "query-api"


class Api:
    """All parts of one replica. Call `run`; `listening` knows the address."""

    def __init__(self, service: Service[QueryApiSettings]) -> None:
        """Create all parts, not running yet.

        Raises:
            ConfigError: strangers would have access, or a file is invalid.
        """
        own, bus, health = service.settings, service.bus, service.health
        gate = _gate(own)
        self._bus = bus
        self.board = Board(bus, own.lint_interval_s, own.lint_most_rules)
        self._store = Store(Path(own.store_dir), own.retention_days)
        self._filling = Filling(bus, self._store, self.board.objects)
        self._keeper = Keeper(bus, SERVICE, own.holder, own.checkpoint_entries)
        asking = Asking(bus, self.board, Moments(bus, self.board), gate, Counts(bus))
        self.listening = listening(application(asking, self._filling, Record(bus, own.holder), health.lacking), own)
        health.ready_when("in sync", lambda: self.board.objects.in_sync)
        for name, mirror in self.board.mirrors.items():
            health.ready_when(name, mirror.caught_up.is_set)
        health.ready_when("audit", self._filling.caught_up.is_set)
        health.ready_when("listening", self.listening.listening.is_set)

    async def run(self) -> None:
        """Run until cancelled."""
        await streams.ensure(self._bus)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.board.run(), name="board")
                tasks.create_task(self._filling.run(), name="store")
                tasks.create_task(self._keeper.run(), name="keeper")
                tasks.create_task(self.listening.run(), name="api")
        finally:
            self._store.close()


async def main(service: Service[QueryApiSettings]) -> None:
    """Run until cancelled.

    Raises:
        ConfigError: strangers would have access, or a file is invalid.
    """
    await Api(service).run()


def _gate(own: QueryApiSettings) -> Gate:
    if bool(own.certificate) != bool(own.key) or (own.client_ca and not own.certificate):
        raise ConfigError("SLUICE_QUERY_API_CERTIFICATE and _KEY go together, and CLIENT_CA needs both")
    tokens = Tokens.read(Path(own.tokens)) if own.tokens else Tokens()
    return Gate(
        tokens, trusted(own.host, has_tokens=bool(tokens), client_scopes=own.client_scopes if own.client_ca else None)
    )
