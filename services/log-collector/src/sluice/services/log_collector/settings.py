"""Settings of log-collector, from the environment: SLUICE_LOG_COLLECTOR_*."""

from typing import Annotated

from msgspec import Meta

from sluice.runtime.settings import ServiceSettings


class LogCollectorSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str
    """The node that the logs belong to, by its name in Kubernetes."""

    np_dir: str = "/var/log/antrea/networkpolicy"
    """Directory of np.log."""

    l7_dir: str = "/var/log/antrea/networkpolicy/l7engine"
    """Directory of eve-YEAR-MONTH-DAY.json."""

    state_dir: str = "/var/lib/sluice/log-collector"
    """Directory for the positions up to which the logs are published."""

    poll_ms: Annotated[int, Meta(ge=10, le=10_000)] = 200
    """Milliseconds between two checks of logs that did not grow."""
