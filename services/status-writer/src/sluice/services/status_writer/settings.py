"""What status-writer reads from its environment: SLUICE_STATUS_WRITER_*."""

import platform
from typing import Annotated

from msgspec import Meta, field

from sluice.runtime.settings import ServiceSettings


class StatusWriterSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field, one SLUICE_STATUS_WRITER_* variable."""

    kubeconfig: str = ""
    """Path of a kubeconfig. Unset: what a Pod is given, or else the one that kubectl would read."""

    context: str = ""
    """Of the kubeconfig; unset takes its current one."""

    master: str = ""
    """Address of the API server, in place of the configured one."""

    writes_per_s: Annotated[float, Meta(gt=0)] = 20.0
    """Of statuses, at most, over time. Of an object that changes quicker the last is written."""

    burst: Annotated[int, Meta(ge=1)] = 50
    """Writes that may come at once after a rest."""

    tiers_s: Annotated[float, Meta(gt=0)] = 30.0
    """Between two looks whether the system tiers are as they should be."""

    holder: str = field(default_factory=platform.node)
    """Who this is, no other replica's name: one of them writes."""
