"""What node-l7 reads from its environment: SLUICE_NODE_L7_*."""

from typing import Annotated

from msgspec import Meta

from sluice.dataplane.l7.engine import Engine
from sluice.runtime.settings import ServiceSettings


class NodeL7Settings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str
    """The node whose programs to follow, as Kubernetes names it."""

    run_dir: str = "/run/openvswitch"
    """Folder of Open vSwitch's sockets: db.sock and <bridge>.mgmt."""

    bridge: str = "br-int"

    engine_dir: str = "/run/sluice/l7engine"
    """For the engine's configuration, rule files, socket and own log."""

    log_dir: str = "/var/log/antrea/networkpolicy/l7engine"
    """For eve-YEAR-MONTH-DAY.json."""

    hand_over: str = "/run/sluice/l7.json"
    """The file that node-ovs reads."""

    state_dir: str = "/var/lib/sluice/node-l7"
    """Where the VLANs of rule sets are kept, which connections bear over restarts."""

    tap_in: str = "antrea-l7-tap0"
    tap_out: str = "antrea-l7-tap1"

    netns: str = ""
    """Path of the network namespace that ovs-vswitchd runs in, as /run/netns/NAME; unset: ours."""

    program: str = "suricata"

    resync_interval_s: Annotated[float, Meta(ge=1)] = 60.0
    """Seconds between full read-backs of the bus."""

    log_days: Annotated[int, Meta(ge=1)] = 7
    """For how many days event logs are kept."""

    log_bytes: Annotated[int, Meta(ge=1_000_000)] = 1_000_000_000
    """How much they may hold in all, about; the oldest go first. A day's file is parted at a quarter."""

    @property
    def engine(self) -> Engine:
        return Engine(folder=self.engine_dir, tap_in=self.tap_in, tap_out=self.tap_out)
