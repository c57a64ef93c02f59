"""What node-tc reads from its environment: SLUICE_NODE_TC_*; some of it may be given as flags, see `flags`."""

from typing import Annotated

from msgspec import Meta

from sluice.runtime.settings import ServiceSettings


class NodeTcSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str = ""
    """The node whose programs to apply, as Kubernetes names it. Unset: this machine's host name, in lower case."""

    network_plugins: str = "accelerated-bridge"
    """Types of CNI plugins, with commas, whose networks are policed here: they leave a representor on the host."""

    accept_icmp: bool = False
    """Let ICMP over IPv4 through whatever the policies say."""

    accept_icmpv6: bool = False
    """Let ICMPv6 through whatever the policies say. Neighbour discovery passes in any case."""

    hardware: bool = False
    """Have the card enforce policies where it can: all filters of a hook, or none. Each change reads the hook back."""

    direct: bool = False
    """Take interfaces of no card (veth) as the annotations name them: for tests, and for plugins that use such."""

    close_idle: bool = True
    """Close representors of this host's cards that no Pod's interface claims. Off where functions are used without a
    network-status that names them: by virtual machines or programs of the host, or as Pods' default interfaces."""

    sysfs: str = "/sys"
    """Where sysfs of the host is."""

    pod_rules_path: str = ""
    """Folder in which to write each Pod's filters, in the notation of tc(8). Unset: nowhere."""

    state_dir: str = "/var/lib/sluice/node-tc"
    """Where it is kept which zone of connection tracking is whose, so that a restart leaves connections alone."""

    retire_after_s: Annotated[float, Meta(ge=1)] = 30.0
    """Seconds after a change of policy in which replies of connections from before still pass. The beginning side is
    asked again at once; lower cuts one-sided connections that say nothing for so long."""

    resync_interval_s: Annotated[float, Meta(ge=1)] = 60.0
    """Seconds between full read-backs of the hooks and of the bus. Lower finds drift sooner; each dumps every hook."""
