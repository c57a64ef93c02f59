"""Settings of rule-compiler, from the environment: SLUICE_RULE_COMPILER_*."""

import platform
from typing import Annotated

from msgspec import Meta, field

from sluice.runtime.settings import ServiceSettings


class RuleCompilerSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field per SLUICE_RULE_COMPILER_* variable."""

    shards: Annotated[int, Meta(ge=1, le=64)] = 1
    """How many instances share the policies between them; must be the same for all. With fewer instances than shards,
    some policies have no writer, and nodes wait."""

    holder: str = field(default_factory=platform.node)
    """The instance's identity, stable over restarts: a Pod's name. It gets its shard back at once; any other instance
    waits for the lease to expire."""
