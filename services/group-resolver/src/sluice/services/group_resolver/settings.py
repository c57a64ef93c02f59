"""What group-resolver reads from its environment: SLUICE_GROUP_RESOLVER_*."""

import platform
from typing import Annotated

from msgspec import Meta, field

from sluice.runtime.settings import ServiceSettings


class GroupResolverSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field, one SLUICE_GROUP_RESOLVER_* variable."""

    shards: Annotated[int, Meta(ge=1, le=64)] = 1
    """Number of shards that divide the groups; the same for all replicas. With fewer replicas than shards, some groups
    have no writer, and nodes wait for them."""

    holder: str = field(default_factory=platform.node)
    """The identity of this replica, stable across restarts: its Pod name. It gets its shard back at once; another one
    has to wait for the lease to end."""
