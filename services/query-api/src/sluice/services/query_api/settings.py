"""Settings of query-api, from the environment: SLUICE_QUERY_API_*."""

import platform
from typing import Annotated

from msgspec import Meta, field

from sluice.contracts.ledger import ENTRIES
from sluice.policy.realisation.warnings import MOST_RULES
from sluice.runtime.settings import ServiceSettings


class QueryApiSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field per SLUICE_QUERY_API_* variable."""

    holder: str = field(default_factory=platform.node)
    """This replica's identity, stable over restarts and unique: a Pod's name. One replica makes checkpoints."""

    host: str = "127.0.0.1"
    """Address that the API listens on. Anything but loopback requires tokens, or a CA for client certificates."""

    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    """TCP port of the API. 0 takes any free one and logs it."""

    tokens: str = ""
    """File of callers, one per line: `NAME SCOPE,SCOPE SHA256` (of a token) or `NAME SCOPE,SCOPE CN=NAME` (of a
    certificate). Scopes are read, content (payloads and URLs) and write."""

    certificate: str = ""
    """File with the certificate chain, PEM. If set, together with `key`: HTTPS; unset: HTTP."""

    key: str = ""
    """File with its private key, PEM."""

    client_ca: str = ""
    """File with the CA of client certificates, PEM. If set, clients without a certificate from it cannot connect."""

    client_scopes: str = "read"
    """Scopes of callers with such a certificate, unless a token or a line of `tokens` gives others. Empty: none."""

    store_dir: str = "/var/lib/sluice/query-api"
    """Directory of the audit event store; each replica has its own."""

    retention_days: Annotated[int, Meta(ge=1, le=3_650)] = 30
    """How long audit events are kept."""

    checkpoint_entries: Annotated[int, Meta(ge=1, le=100_000)] = ENTRIES
    """Entries of LEDGER between two checkpoints."""

    lint_interval_s: Annotated[float, Meta(ge=0)] = 60.0
    """Seconds from the end of one lint run to the next, as by `sluice lint`; 0 turns it off. Skipped while no object
    changes. For the cost of a run see status-writer's setting of the same name."""

    lint_most_rules: Annotated[int, Meta(ge=1)] = MOST_RULES
    """With more rules than this lint is skipped, and policies say so."""
