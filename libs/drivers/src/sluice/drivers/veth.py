"""The veth pair of a Pod: one end is the Pod's interface, the other is attached to the node's switch."""

import array
import fcntl
import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from pyroute2 import IPRoute

from sluice.contracts.ids import Address
from sluice.drivers import sysctl
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
"""The Pod's default gateway; the switch answers for it, no host has it."""


class Link(NamedTuple):
    """A Pod's interface: a veth pair, one end in the Pod, `host_end` in its node."""

    host_end: str
    """At most 15 characters."""

    mac: str
    addresses: tuple[Address, ...]
    pod_end: str = "eth0"
    mtu: int = MTU


def mac_of(address: Address) -> str:
    """A locally administered MAC address derived from this address."""
    return ":".join(f"{octet:02x}" for octet in (0x0A, 0x58, *ip_address(address).packed[-4:]))


def family(address: str) -> int:
    return 6 if ":" in address else 4


def plug(pod: Path, node: Path, link: Link, gateway_mac: str) -> None:
    """Create the Pod's interface, with addresses, routes and the gateway's neighbour entry, and its peer in the node.

    The node's end is created down; `raise_links` brings it up.
    """
    families = {family(address) for address in link.addresses}

    def configure() -> None:
        if 6 not in families:
            sysctl.no_ipv6()
        with node.open("rb") as node_netns, IPRoute() as netlink:
            netlink.link(
                "add",
                kind="veth",
                ifname=link.pod_end,
                address=link.mac,
                mtu=link.mtu,
                peer={"ifname": link.host_end, "mtu": link.mtu, "net_ns_fd": node_netns.fileno()},
            )
            no_transmit_checksum_offload(link.pod_end)
            index = netlink.link_lookup(ifname=link.pod_end)[0]
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
                sysctl.no_ipv6(name)  # the node itself must not send anything to its Pods
                netlink.link("set", index=netlink.link_lookup(ifname=name)[0], state="up")

    inside(node, up)


def remove_links(node: Path, names: Sequence[str]) -> None:
    """Remove these links of the node, and thereby their peers."""

    def down() -> None:
        there = {name for _, name in socket.if_nameindex()}
        if there.isdisjoint(names):
            return  # opening a netlink socket takes longer than this check
        with IPRoute() as netlink:
            for name in names:
                for index in netlink.link_lookup(ifname=name):
                    netlink.link("del", index=index)

    inside(node, down)


def addresses_of(pod: Path, name: str) -> frozenset[str]:
    """The addresses of an interface in the Pod; empty if there is no such interface.

    Raises:
        OSError: the namespace cannot be entered.
    """

    def look() -> frozenset[str]:
        with IPRoute() as netlink:
            found = netlink.link_lookup(ifname=name)
            return frozenset(each.get("address") for index in found for each in netlink.get_addr(index=index))

    return inside(pod, look)


def quiet(interface: str) -> None:
    """Keep the kernel from answering or sending by this interface of the current namespace: others do."""
    sysctl.no_ipv6(interface)
    sysctl.write(f"net/ipv4/conf/{interface}/arp_ignore", "1")


def no_transmit_checksum_offload(interface: str) -> None:
    """Make the kernel compute checksums before a packet leaves.

    The userspace switch reads packets before any NIC could have computed them: with the offload on, ICMP works but TCP
    and UDP time out. Source: ethtool(8) `-K tx off`.
    """
    value = array.array("B", struct.pack("II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, request)
