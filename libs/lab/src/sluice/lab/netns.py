"""Network namespaces and the links between them: what a container runtime does for a Pod, in a few milliseconds."""

import array
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pyroute2 import IPRoute

from sluice.contracts.ids import Address
from sluice.drivers.namespaces import apart, inside
from sluice.lab import sweep

MS_BIND, MS_REC, MS_SHARED = 4096, 16384, 1 << 20
"""Source: linux/mount.h."""

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

_libc = ctypes.CDLL(None, use_errno=True)


class Link(NamedTuple):
    """A Pod's interface: a veth pair, `eth0` in the Pod, `host_end` in its node."""

    host_end: str
    """At most 15 characters."""

    mac: str
    addresses: tuple[Address, ...]


def family(address: str) -> int:
    return 6 if ":" in address else 4


def create(name: str, lab: str) -> Path:
    """A new namespace of the lab, named so that `ip netns` and the sweep find it."""
    _mountpoint()
    path = sweep.NAMESPACES / (sweep.netns_prefix(lab) + name)
    path.touch(mode=0o444, exist_ok=False)

    def bind() -> None:
        source = b"/proc/thread-self/ns/net"
        _check(_libc.mount(source, os.fsencode(path), b"none", MS_BIND, None), f"bind {path}")
        with IPRoute() as netlink:
            netlink.link("set", index=1, state="up")

    apart(bind)
    return path


def _mountpoint() -> None:
    """Make the folder of namespaces a shared mount point, if nobody has, the way `ip netns add` does.

    If that command came to it later, it would mount the folder over itself with all that is in it: namespaces mounted
    twice, of which nobody could remove the lower ones.
    """
    sweep.NAMESPACES.mkdir(parents=True, exist_ok=True)
    where = os.fsencode(sweep.NAMESPACES)
    folder = os.open(sweep.NAMESPACES, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # as the others do who look and mount
        if _libc.mount(b"none", where, b"none", MS_SHARED | MS_REC, None):
            _check(_libc.mount(where, where, b"none", MS_BIND | MS_REC, None), f"bind {sweep.NAMESPACES}")
            _check(_libc.mount(b"none", where, b"none", MS_SHARED | MS_REC, None), f"share {sweep.NAMESPACES}")
    finally:
        os.close(folder)


def remove(path: Path) -> None:
    sweep.remove_namespace(path)


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


def _check(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
