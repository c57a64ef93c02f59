"""Settings of cni, from the environment: SLUICE_CNI_*."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from sluice.drivers.veth import MTU


class CniSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str
    """This node's name in Kubernetes."""

    pod_cidrs: str = ""
    """The address ranges of this node's Pods, one per family, comma-separated; unset: the Node's spec.podCIDRs."""

    cluster_cidrs: str = ""
    """Address ranges of all Pods, comma-separated; the node reaches them through the switch. Unset: only its own."""

    run_dir: str = "/run/openvswitch"
    """Directory of Open vSwitch's database socket, db.sock."""

    bridge: str = "br-int"

    datapath: Literal["system", "netdev"] = "system"
    """Datapath of a newly created bridge: the kernel's, or the userspace one."""

    set_up_node: bool = True
    """Create the bridge, its tunnel and its gateway. If off, they must exist, and the bridge must be `secure`."""

    node_interval_s: Annotated[float, Meta(gt=0)] = 60.0
    """Seconds between two reads of the Node, if it is used. Changed addresses are taken in; changed ranges (of a Node
    that was recreated) end the daemon, and its next start uses them. Each read is a request to the API server."""

    node_ports: str = "30000-32767"
    """Traffic to these ports of the node's own addresses goes to the switch: --service-node-port-range of the API
    server. Empty: the node handles it."""

    node_addresses: str = ""
    """Addresses for NodePorts, comma-separated; unset: the Node's InternalIPs, if its podCIDRs are used."""

    socket: str = "/run/sluice/cni.sock"
    """The socket that the plugin connects to."""

    state_dir: str = "/run/sluice/cni"
    """Directory of the address assignments; a reboot must clear it, as it does the Pods' namespaces."""

    netns: str = ""
    """Path of the network namespace that ovs-vswitchd runs in, such as /run/netns/NAME; unset: ours."""

    mtu: Annotated[int, Meta(ge=1280, le=65_485)] = MTU
    """MTU in octets: the underlay's, minus 50 for Geneve over IPv4 or 70 over IPv6. IPv6 needs 1280 (RFC 8200)."""

    install_bin: str = ""
    """The host's plugin directory (/opt/cni/bin, as mounted in this container); unset: nothing is installed."""

    install_conf: str = ""
    """The host's directory of network configurations (/etc/cni/net.d)."""

    carry_python: bool = True
    """Copy this container's Python next to the plugin, for a host that has none."""

    log_level: str = "info"

    health_port: Annotated[int, Meta(ge=-1, le=65_535)] = 0
    """TCP port on `health_host` for /livez, /readyz and /metrics. 0 takes any free one and logs it; -1 turns it off."""

    health_host: str = "127.0.0.1"

    @property
    def db_socket(self) -> Path:
        return Path(self.run_dir) / "db.sock"
