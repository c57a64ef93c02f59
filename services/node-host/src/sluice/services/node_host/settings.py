"""Settings of node-host, from the environment: SLUICE_NODE_HOST_*."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from sluice.contracts.programs import Direction
from sluice.dataplane.host import guard
from sluice.dataplane.host.guard import Lifeline, NotALifeline
from sluice.runtime.audit_settings import AuditSettings
from sluice.runtime.settings import ConfigError

KUBELET = "tcp:10250"


class NodeHostSettings(AuditSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str
    """The node whose programs to apply, by its name in Kubernetes."""

    netns: str = ""
    """Path of the node's network namespace. Unset: the namespace that node-host runs in."""

    lifelines: bool = True
    """Keep open what a node depends on, whatever policies say. If off, a policy can cut off the node permanently."""

    lifelines_ingress: str = KUBELET
    """Ingress that is always allowed, as PROTOCOL:PORT or PROTOCOL:PORT:CIDR, comma-separated. Add tcp:6443 and
    tcp:2379-2380 on nodes that run the API server."""

    lifelines_egress: str = ""
    """Egress that is always allowed, in the same notation: the API server by the address in use, tcp:6443:192.0.2.1.
    NATS and the servers of `resolv_conf` are included automatically."""

    ssh_from: str = ""
    """CIDRs, comma-separated, from which SSH (tcp 22) is always allowed. Unset: policies decide."""

    resolv_conf: str = "/etc/resolv.conf"
    """The file that lists the node's DNS servers."""

    resync_interval_s: Annotated[float, Meta(ge=1)] = 60.0
    """Seconds between full read-backs of the table and the bus. Lower finds drift sooner; each one lists the table."""

    stats_interval_s: Annotated[float, Meta(ge=0.1)] = 10.0
    """Seconds between two readings of the rule counters. Each one runs nft(8)."""

    log_rate: Annotated[int, Meta(ge=1)] = 500
    """Packets per second that are logged where policies request it, with a burst of twice as many. The rest are counted
    and reported as lost; the packets themselves are not affected."""

    remove_at_exit: bool = False
    """Delete the table on shutdown. If unset, it stays in force without us."""

    def __post_init__(self) -> None:
        _ = self.fixed  # raises a ConfigError that names the invalid lifeline

    @property
    def fixed(self) -> tuple[Lifeline, ...]:
        """The lifelines from the settings.

        Raises:
            ConfigError: one is invalid.
        """
        try:
            found = [guard.parse(_title(text), Direction.INGRESS, text) for text in _split(self.lifelines_ingress)]
            found += [guard.parse("setting", Direction.EGRESS, text) for text in _split(self.lifelines_egress)]
            found += [guard.parse("SSH", Direction.INGRESS, f"tcp:22:{text}") for text in _split(self.ssh_from)]
        except NotALifeline as error:
            raise ConfigError(str(error)) from error
        return (*found, *guard.dhcp())

    @property
    def namespace(self) -> Path | None:
        return Path(self.netns) if self.netns else None


def _title(text: str) -> str:
    return "kubelet" if text.startswith(KUBELET) else "setting"


def _split(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]
