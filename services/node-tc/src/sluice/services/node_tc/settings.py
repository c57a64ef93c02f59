"""Settings of node-tc, from the environment: SLUICE_NODE_TC_*; some can also be given as flags, see `flags`."""

from typing import Annotated

from msgspec import Meta

from sluice.runtime.settings import ServiceSettings


class NodeTcSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str = ""
    """The node whose programs to apply, by its name in Kubernetes. Unset: the host name, in lower case."""

    network_plugins: str = "accelerated-bridge"
    """Types of CNI plugins whose networks are policed here, comma-separated: they leave a representor on the host."""

    accept_icmp: bool = False
    """Always allow ICMP over IPv4, whatever policies say."""

    accept_icmpv6: bool = False
    """Always allow ICMPv6, whatever policies say. Neighbour discovery passes in any case."""

    hardware: bool = False
    """Offload policies to the card where possible: all filters of a hook, or none. Each change reads the hook back."""

    direct: bool = False
    """Also police interfaces without a card, as the annotations name them: for tests, and for plugins that use veth."""

    close_idle: bool = True
    """Close representors of this host's cards that no Pod interface claims. Turn it off if functions are used without a
    network-status that names them: by virtual machines or programs on the host, or as default interfaces of Pods."""

    sysfs: str = "/sys"
    """Where the host's sysfs is mounted."""

    pod_rules_path: str = ""
    """Folder for a file with each Pod's filters, in the notation of tc(8). Unset: no files."""

    state_dir: str = "/var/lib/sluice/node-tc"
    """Directory for the assignment of conntrack zones, so that a restart does not disturb connections."""

    retire_after_s: Annotated[float, Meta(ge=1)] = 30.0
    """Seconds after a policy change during which replies on older connections still pass. Packets from the side that
    opened the connection are judged again at once. A lower value cuts one-sided connections that are silent for that
    long."""

    resync_interval_s: Annotated[float, Meta(ge=1)] = 60.0
    """Seconds between full read-backs of the hooks and the bus. Lower finds drift sooner; each one dumps every hook."""
