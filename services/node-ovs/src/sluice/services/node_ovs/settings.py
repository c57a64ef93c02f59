"""What node-ovs reads from its environment: SLUICE_NODE_OVS_*."""

from typing import Annotated

from msgspec import Meta

from sluice.runtime.settings import ServiceSettings


class NodeOvsSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str
    """The node whose programs to apply, as Kubernetes names it."""

    run_dir: str = "/run/openvswitch"
    """Folder of Open vSwitch's sockets: db.sock, <bridge>.mgmt and ovs-vswitchd's control socket."""

    bridge: str = "br-int"

    state_dir: str = "/var/lib/sluice/node-ovs"
    """Where the ids of rules are kept, so that a restart finds its own flows in the switch."""

    resync_interval_s: Annotated[float, Meta(ge=1)] = 60.0
    """Seconds between full read-backs of the switch and of the bus. Lower finds drift sooner; each costs one dump."""
