"""Wiring: the keeper of checkpoints."""

from sluice.runtime.service import Service
from sluice.services.query_api.keeping import Keeper
from sluice.services.query_api.settings import QueryApiSettings

SERVICE = "query-api"


async def main(service: Service[QueryApiSettings]) -> None:
    """Run until cancelled."""
    own = service.settings
    await Keeper(service.bus, SERVICE, own.holder, own.checkpoint_entries).run()
