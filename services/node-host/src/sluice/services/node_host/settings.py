"""What node-host reads from its environment: SLUICE_NODE_HOST_*."""

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
    """The node whose programs to apply, as Kubernetes names it."""

    netns: str = ""
    """The node's network namespace, as a path. Unset: the one that node-host runs in."""

    lifelines: bool = True
    """Keep open what a node cannot do without, whatever policies say. Off, a policy can cut the node off for good."""

    lifelines_ingress: str = KUBELET
    """What may always come in, as PROTOCOL:PORT or PROTOCOL:PORT:CIDR, with commas between them. Where the API server
    runs, add tcp:6443 and tcp:2379-2380."""

    lifelines_egress: str = ""
    """Where the node may always go, likewise: the API server as it is reached, tcp:6443:192.0.2.1. NATS, and the
    servers of `resolv_conf`, are known without."""

    ssh_from: str = ""
    """CIDRs, with commas between them, from which SSH (tcp 22) always comes in. Unset: as policies say."""

    resolv_conf: str = "/etc/resolv.conf"
    """Where the node's DNS servers stand."""

    resync_interval_s: Annotated[float, Meta(ge=1)] = 60.0
    """Seconds between full read-backs of the table and of the bus. Lower finds drift sooner; each lists the table."""

    stats_interval_s: Annotated[float, Meta(ge=0.1)] = 10.0
    """Seconds between two readings of what rules counted. Each starts nft(8) once."""

    log_rate: Annotated[int, Meta(ge=1)] = 500
    """Packets a second that are logged where policies ask for it, and twice as many at once. The rest are counted and
    told as lost; nothing happens to them."""

    remove_at_exit: bool = False
    """Take the table away when told to end. Unset, what was in force stays in force without us."""

    def __post_init__(self) -> None:
        _ = self.fixed  # a ConfigError that says which is no lifeline

    @property
    def fixed(self) -> tuple[Lifeline, ...]:
        """The lifelines that are written here.

        Raises:
            ConfigError: one is none.
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
