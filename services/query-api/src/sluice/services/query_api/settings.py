"""What query-api reads from its environment: SLUICE_QUERY_API_*."""

import platform
from typing import Annotated

from msgspec import Meta, field

from sluice.contracts.ledger import ENTRIES
from sluice.policy.realisation.warnings import MOST_RULES
from sluice.runtime.settings import ServiceSettings


class QueryApiSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field, one SLUICE_QUERY_API_* variable."""

    holder: str = field(default_factory=platform.node)
    """Who this is, the same after a restart and no other replica's: a Pod's name. One replica makes checkpoints."""

    host: str = "127.0.0.1"
    """Address that the API listens on. Beyond loopback it needs tokens, or a CA for certificates of clients."""

    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    """TCP port of the API. 0 takes any free one and logs it."""

    tokens: str = ""
    """File of callers: `NAME SCOPE,SCOPE SHA256` (of a token) or `NAME SCOPE,SCOPE CN=NAME` (of a certificate) a line.
    Scopes are read, content (payloads and URLs) and write."""

    certificate: str = ""
    """File with the certificate chain, PEM. Set, with `key`: HTTPS; unset: HTTP."""

    key: str = ""
    """File with its private key, PEM."""

    client_ca: str = ""
    """File with the CA of clients, PEM. Set: nobody gets in without a certificate of it."""

    client_scopes: str = "read"
    """What whoever has such a certificate may do, if no token and no line of `tokens` says more. Empty: nothing."""

    store_dir: str = "/var/lib/sluice/query-api"
    """Folder of the store of audit events; a replica has its own."""

    retention_days: Annotated[int, Meta(ge=1, le=3_650)] = 30
    """How long audit events are kept."""

    checkpoint_entries: Annotated[int, Meta(ge=1, le=100_000)] = ENTRIES
    """Entries of LEDGER from one checkpoint to the next."""

    lint_interval_s: Annotated[float, Meta(ge=0)] = 60.0
    """Seconds from the end of one look for what is probably not meant to the next, as `sluice lint` finds it; 0 never
    looks. Skipped while no object changes. What a look costs, status-writer's setting of the same name says."""

    lint_most_rules: Annotated[int, Meta(ge=1)] = MOST_RULES
    """Beyond so many rules nobody looks, and policies say so."""
