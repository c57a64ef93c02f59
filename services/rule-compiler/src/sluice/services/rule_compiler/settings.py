"""What rule-compiler reads from its environment: SLUICE_RULE_COMPILER_*."""

import platform
from typing import Annotated

from msgspec import Meta, field

from sluice.runtime.settings import ServiceSettings


class RuleCompilerSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field, one SLUICE_RULE_COMPILER_* variable."""

    shards: Annotated[int, Meta(ge=1, le=64)] = 1
    """How many share the policies between them; the same for all of them. More than there are runs leaves policies
    without a writer: nodes then wait."""

    holder: str = field(default_factory=platform.node)
    """Who this is, the same after a restart: a Pod's name. It gets its shard back at once, others wait for its lease
    to end."""
