"""What node-ovs reads from its environment: SLUICE_NODE_OVS_*."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from sluice.runtime.settings import ServiceSettings
from sluice.services.node_ovs.logfile import Limits


class NodeOvsSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str
    """The node whose programs to apply, as Kubernetes names it."""

    run_dir: str = "/run/openvswitch"
    """Folder of Open vSwitch's sockets: db.sock, <bridge>.mgmt and ovs-vswitchd's control socket."""

    bridge: str = "br-int"

    state_dir: str = "/var/lib/sluice/node-ovs"
    """Where the ids of rules are kept, so that a restart finds its own flows in the switch."""

    hand_over: str = "/run/sluice/l7.json"
    """The file in which node-l7 says what the engine has in force. Not read yet: layer 7 rules are closed."""

    resync_interval_s: Annotated[float, Meta(ge=1)] = 60.0
    """Seconds between full read-backs of the switch and of the bus. Lower finds drift sooner; each costs one dump."""

    reject_rate: Annotated[int, Meta(ge=1)] = 500
    """Packets a second whose senders hear that they are rejected, and twice as many at once; those of the rest wait
    until they give up, as if they were dropped. An answer takes about 0.2 ms of a core."""

    packet_in_rate: Annotated[int, Meta(ge=1)] = 500
    """Packets a second that are logged where policies ask for it, and twice as many at once. The rest are counted and
    told as lost; nothing happens to them. A line takes about 0.1 ms of a core."""

    root: str = "/"
    """Folder under which var/log/antrea/networkpolicy/np.log is."""

    audit_size_mb: Annotated[int, Meta(ge=1)] = 500
    """Megabytes (1e6 bytes) after which np.log is begun anew."""

    audit_backups: Annotated[int, Meta(ge=0)] = 3
    """How many full ones are kept beside it."""

    audit_age_days: Annotated[float, Meta(ge=0)] = 28.0
    """Days after which they are removed. 0: they are not."""

    audit_compress: bool = True
    """Whether they are compressed, all but the newest."""

    @property
    def audit_folder(self) -> Path:
        return Path(self.root, "var/log/antrea/networkpolicy")

    @property
    def audit_limits(self) -> Limits:
        return Limits(
            size_bytes=self.audit_size_mb * 1_000_000,
            backups=self.audit_backups,
            age_s=self.audit_age_days * 86_400,
            compress=self.audit_compress,
        )
