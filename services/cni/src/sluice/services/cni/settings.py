"""What cni reads from its environment: SLUICE_CNI_*."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from sluice.drivers.veth import MTU


class CniSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str
    """This node, as Kubernetes names it."""

    pod_cidrs: str = ""
    """The ranges of this node's Pods, one a family, separated by commas; unset: the Node's spec.podCIDRs."""

    cluster_cidrs: str = ""
    """The ranges of all Pods, separated by commas, which the node reaches through the switch; unset: its own only."""

    run_dir: str = "/run/openvswitch"
    """Folder of Open vSwitch's database socket, db.sock."""

    bridge: str = "br-int"

    datapath: Literal["system", "netdev"] = "system"
    """Of a bridge that is to be made: the kernel's, or the one in user space."""

    set_up_node: bool = True
    """Make the bridge, its tunnel and its gateway. Unset where somebody else does; the bridge has to be `secure`."""

    node_interval_s: Annotated[float, Meta(gt=0)] = 60.0
    """Seconds between two looks at the Node, if it is asked. Other addresses are taken in; other ranges (of a Node that
    was made anew) end the daemon, whose next start goes by them. A request to the API server each time."""

    node_ports: str = "30000-32767"
    """What is sent to these ports of the node's own addresses is the switch's: --service-node-port-range of the API
    server. Empty: the node keeps it."""

    node_addresses: str = ""
    """Where NodePorts are, separated by commas; unset: the InternalIPs of the Node, if it is asked for its podCIDRs."""

    socket: str = "/run/sluice/cni.sock"
    """Where the plugin asks."""

    state_dir: str = "/run/sluice/cni"
    """Who has which address: where a reboot forgets it, as it does the Pods' namespaces."""

    netns: str = ""
    """Path of the network namespace that ovs-vswitchd runs in, as /run/netns/NAME; unset: ours."""

    mtu: Annotated[int, Meta(ge=1280, le=65_485)] = MTU
    """Octets; of the underlay, less 50 for Geneve over IPv4 or 70 over IPv6. 1280 is the least for IPv6 (RFC 8200)."""

    install_bin: str = ""
    """The host's folder of plugins (/opt/cni/bin, as this container sees it); unset: nothing is installed."""

    install_conf: str = ""
    """The host's folder of network configurations (/etc/cni/net.d)."""

    carry_python: bool = True
    """Copy this container's Python beside the plugin, for a host that has none."""

    log_level: str = "info"

    health_port: Annotated[int, Meta(ge=-1, le=65_535)] = 0
    """TCP port on `health_host` for /livez, /readyz and /metrics. 0 takes any free one and logs it; -1 serves none."""

    health_host: str = "127.0.0.1"

    @property
    def db_socket(self) -> Path:
        return Path(self.run_dir) / "db.sock"
