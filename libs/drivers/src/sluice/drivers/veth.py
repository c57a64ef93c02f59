"""The veth pair of a Pod: its `eth0`, with the other end in the node, where a port of the switch takes it."""

import array
import fcntl
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pyroute2 import IPRoute

from sluice.contracts.ids import Address
from sluice.drivers.namespaces import inside

SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17
"""Source: linux/sockios.h, linux/ethtool.h."""

MTU = 1450
"""Room for Geneve (50 octets over IPv4) in an underlay of 1500."""

NUD_PERMANENT = 0x80
RTNH_F_ONLINK = 4
IFA_F_NODAD = 2
"""Source: linux/neighbour.h, linux/rtnetlink.h, linux/if_addr.h."""

GATEWAY = {4: Address("169.254.1.1"), 6: Address("fe80::1")}
"""Where a Pod sends everything; the switch answers for it, and it exists nowhere."""


class Link(NamedTuple):
    """A Pod's interface: a veth pair, `eth0` in the Pod, `host_end` in its node."""

    host_end: str
    """At most 15 characters."""

    mac: str
    addresses: tuple[Address, ...]


def family(address: str) -> int:
    return 6 if ":" in address else 4


def plug(pod: Path, node: Path, link: Link, gateway_mac: str) -> None:
    """Give the Pod its `eth0`, with the other end in the node: addresses, routes and the gateway's neighbour entry.

    The node's end is created down; `raise_links` brings it up.
    """
    families = {family(address) for address in link.addresses}

    def configure() -> None:
        if 6 not in families:
            _no_ipv6()
        with node.open("rb") as node_netns, IPRoute() as netlink:
            netlink.link(
                "add",
                kind="veth",
                ifname="eth0",
                address=link.mac,
                mtu=MTU,
                peer={"ifname": link.host_end, "mtu": MTU, "net_ns_fd": node_netns.fileno()},
            )
            no_transmit_checksum_offload("eth0")
            index = netlink.link_lookup(ifname="eth0")[0]
            for address in link.addresses:
                length = 128 if family(address) == 6 else 32
                netlink.addr("add", index=index, address=address, prefixlen=length, flags=IFA_F_NODAD)
            netlink.link("set", index=index, state="up")
            for each in sorted(families):
                netlink.neigh("add", dst=GATEWAY[each], lladdr=gateway_mac, ifindex=index, state=NUD_PERMANENT)
                default = "::/0" if each == 6 else "0.0.0.0/0"
                netlink.route("add", dst=default, gateway=GATEWAY[each], oif=index, flags=RTNH_F_ONLINK)

    inside(pod, configure)


def raise_links(node: Path, names: Iterable[str]) -> None:
    """Bring these links of the node up."""

    def up() -> None:
        with IPRoute() as netlink:
            for name in names:
                _no_ipv6(name)  # the node says nothing to its Pods by itself
                netlink.link("set", index=netlink.link_lookup(ifname=name)[0], state="up")

    inside(node, up)


def remove_links(node: Path, names: Iterable[str]) -> None:
    """Remove these links of the node, and with each the other end."""

    def down() -> None:
        with IPRoute() as netlink:
            for name in names:
                for index in netlink.link_lookup(ifname=name):
                    netlink.link("del", index=index)

    inside(node, down)


def set_sysctl(name: str, value: str) -> None:
    """A setting of the namespace we are in; where the kernel has none, nothing is set. Source: sysctl(8)."""
    path = Path("/proc/sys") / name
    if path.exists():
        path.write_text(value)


def quiet(interface: str) -> None:
    """The kernel neither answers nor speaks by this interface of the namespace we are in: others do."""
    set_sysctl(f"net/ipv6/conf/{interface}/disable_ipv6", "1")
    set_sysctl(f"net/ipv4/conf/{interface}/arp_ignore", "1")


def _no_ipv6(interface: str = "all") -> None:
    path = Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6")
    if path.exists():
        path.write_text("1")


def no_transmit_checksum_offload(interface: str) -> None:
    """Make the kernel fill checksums in before a packet leaves.

    The switch in user space reads packets before any card would have done it: with the offload on, ICMP works and TCP
    and UDP time out. Source: ethtool(8) `-K tx off`.
    """
    value = array.array("B", struct.pack("II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, request)
