"""What status-writer reads from its environment: SLUICE_STATUS_WRITER_*."""

import platform
from typing import Annotated

from msgspec import Meta, field

from sluice.policy.realisation.warnings import MOST_RULES
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

    lint_interval_s: Annotated[float, Meta(ge=0)] = 60.0
    """Seconds from the end of one look for what is probably not meant to the next, as `sluice lint` finds it; 0 never
    looks. Skipped while no object changes. One look reads all of OBJECTS and costs, with 1,000 policies of three rules
    and 5,000 Pods, 12 s of processor time in a thread of its own, four times as much with twice the rules. A warning
    may be as old."""

    lint_most_rules: Annotated[int, Meta(ge=1)] = MOST_RULES
    """Beyond so many rules nobody looks: the condition is Unknown and says to run `sluice lint`. What one look costs
    grows with the square of it."""

    holder: str = field(default_factory=platform.node)
    """Who this is, no other replica's name: one of them writes."""
