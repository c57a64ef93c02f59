"""What log-collector reads from its environment: SLUICE_LOG_COLLECTOR_*."""

from typing import Annotated

from msgspec import Meta

from sluice.runtime.settings import ServiceSettings


class LogCollectorSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str
    """The node whose logs these are, as Kubernetes names it."""

    np_dir: str = "/var/log/antrea/networkpolicy"
    """Folder of np.log."""

    l7_dir: str = "/var/log/antrea/networkpolicy/l7engine"
    """Folder of eve-YEAR-MONTH-DAY.json."""

    state_dir: str = "/var/lib/sluice/log-collector"
    """Where it is kept how far the logs are published."""

    poll_ms: Annotated[int, Meta(ge=10, le=10_000)] = 200
    """Milliseconds between two looks at logs that did not grow."""
