"""Settings of status-writer, from the environment: SLUICE_STATUS_WRITER_*."""

import platform
from typing import Annotated

from msgspec import Meta, field

from sluice.policy.realisation.warnings import MOST_RULES
from sluice.runtime.settings import ServiceSettings


class StatusWriterSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field per SLUICE_STATUS_WRITER_* variable."""

    kubeconfig: str = ""
    """Path of a kubeconfig. Unset: the Pod's service account, or else the kubeconfig that kubectl would use."""

    context: str = ""
    """Context in the kubeconfig. Unset: its current context."""

    master: str = ""
    """Address of the API server, overriding the configured one."""

    writes_per_s: Annotated[float, Meta(gt=0)] = 20.0
    """Maximum average rate of status writes. If an object changes faster, only its latest status is written."""

    burst: Annotated[int, Meta(ge=1)] = 50
    """Maximum burst of writes after a rest."""

    tiers_s: Annotated[float, Meta(gt=0)] = 30.0
    """Interval between checks of the system tiers."""

    lint_interval_s: Annotated[float, Meta(ge=0)] = 60.0
    """Seconds from the end of one lint run to the next, as by `sluice lint`; 0 turns it off. Skipped while no object
    changes. A run reads all of OBJECTS. With 1,000 policies of three rules and 5,000 Pods it takes 0.6 s of processor
    time in a thread of its own, and 5.5 s with ten times the rules. A warning may be outdated by as much."""

    lint_most_rules: Annotated[int, Meta(ge=1)] = MOST_RULES
    """With more rules than this lint is skipped: the condition is Unknown and says to run `sluice lint`. The cost of a
    run grows with the number of rules, or with its square where nearly each contradicts each: a run therefore also
    ends, with the same condition, after comparing a million pairs of rules."""

    holder: str = field(default_factory=platform.node)
    """This replica's identity, unique among replicas: only one of them writes."""
