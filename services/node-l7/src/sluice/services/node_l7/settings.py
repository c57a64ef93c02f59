"""Settings of node-l7, from the environment: SLUICE_NODE_L7_*."""

from typing import Annotated

from msgspec import Meta

from sluice.dataplane.l7.engine import Engine
from sluice.runtime.settings import ServiceSettings


class NodeL7Settings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str
    """The node whose programs to follow, by its name in Kubernetes."""

    run_dir: str = "/run/openvswitch"
    """Directory of Open vSwitch's sockets: db.sock and <bridge>.mgmt."""

    bridge: str = "br-int"

    engine_dir: str = "/run/sluice/l7engine"
    """Directory for the engine's configuration, rule files, socket and own log."""

    log_dir: str = "/var/log/antrea/networkpolicy/l7engine"
    """Directory for eve-YEAR-MONTH-DAY.json."""

    hand_over: str = "/run/sluice/l7.json"
    """The hand-over file for node-ovs."""

    state_dir: str = "/var/lib/sluice/node-l7"
    """Directory for the VLANs of rule sets, which connections keep over restarts, and the event log's position."""

    tap_in: str = "antrea-l7-tap0"
    tap_out: str = "antrea-l7-tap1"

    netns: str = ""
    """Path of the network namespace that ovs-vswitchd runs in, such as /run/netns/NAME; unset: ours."""

    program: str = "suricata"

    resync_interval_s: Annotated[float, Meta(ge=1)] = 60.0
    """Seconds between full read-backs of the bus."""

    log_days: Annotated[int, Meta(ge=1)] = 7
    """How many days event logs are kept."""

    log_bytes: Annotated[int, Meta(ge=1_000_000)] = 1_000_000_000
    """Approximate limit on their total size; the oldest are deleted first. A day's file is split at a quarter of it."""

    @property
    def engine(self) -> Engine:
        return Engine(folder=self.engine_dir, tap_in=self.tap_in, tap_out=self.tap_out)
