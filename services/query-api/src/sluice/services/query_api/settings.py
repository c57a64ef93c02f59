"""What query-api reads from its environment: SLUICE_QUERY_API_*."""

import platform
from typing import Annotated

from msgspec import Meta, field

from sluice.contracts.ledger import ENTRIES
from sluice.runtime.settings import ServiceSettings


class QueryApiSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field, one SLUICE_QUERY_API_* variable."""

    holder: str = field(default_factory=platform.node)
    """Who this is, the same after a restart and no other replica's: a Pod's name. One replica makes checkpoints."""

    checkpoint_entries: Annotated[int, Meta(ge=1, le=100_000)] = ENTRIES
    """Entries of LEDGER from one checkpoint to the next."""
