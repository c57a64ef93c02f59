"""The wiring of a lab's nodes: a network between them, tunnels over it, and a gateway from each node to its Pods.

The network is a namespace with a bridge and a link to each node. In the node, the link is a port of the switch's second
bridge, br-phy, which has the node's addresses: userspace Open vSwitch sends tunnel packets only through a bridge. The
gateway is a veth pair, one end in the switch and the other, gw0, in the node's network stack; it survives a restart of
the switch. Kernel routes cover whole ranges and single addresses; the switch knows which Pod has which address.
"""

import asyncio
import contextlib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import NamedTuple

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from sluice.contracts.ids import Address, NodeName
from sluice.dataplane.addresses import WIDTH
from sluice.dataplane.node_ports import written
from sluice.drivers import namespaces, node_ports, sysctl, veth
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.operations import NewPort
from sluice.drivers.ovsdb.roles import TUNNEL_OPTIONS, GatewayIds, gateway_ids, tunnel_ids
from sluice.lab import netns
from sluice.lab.services import FIRST_NODE_PORT, LAST_NODE_PORT
from sluice.lab.ways import GATEWAY_MAC
from sluice.lab.world import World

BRIDGE = "br-phy"
UPLINK = "uplink"
"""The node's end of its link to the other nodes."""

TUNNEL = "gnv0"
GATEWAY = "gw0"
GATEWAY_PORT = "gw0-port"
"""The gateway's end in the switch."""

SCOPE_LINK = 253
"""Source: linux/rtnetlink.h, RT_SCOPE_LINK."""


class Wiring(NamedTuple):
    """Addresses and routes of a node's network stack."""

    addresses: tuple[Address, ...] = ()
    """On the network between the nodes."""

    gateways: tuple[Address, ...] = ()
    """At the gateway: the first address of each of its ranges."""

    pods: frozenset[str] = frozenset()
    """CIDRs and single addresses that are reached through the switch."""


def wirings(world: World) -> dict[NodeName, Wiring]:
    """The wiring of each node in this world."""
    pods = frozenset[str]().union(*world.behind().values())
    return {name: Wiring(world.node_addresses(name), world.gateways(name), pods) for name in world.nodes}


class Underlay:
    """The network between the nodes."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._netns: Path | None = None
        self._ports = 0

    async def join(self, node: Path) -> None:
        """Create the node's link to the others, called `uplink`."""
        self._ports += 1
        await asyncio.to_thread(self._join, node, f"port{self._ports}")

    def _join(self, node: Path, port: str) -> None:
        if self._netns is None:
            self._netns = netns.create("underlay", self._lab)
            namespaces.inside(self._netns, _make_bridge)

        def plug() -> None:
            with node.open("rb") as there, IPRoute() as netlink:
                peer = {"ifname": UPLINK, "net_ns_fd": there.fileno()}
                netlink.link("add", kind="veth", ifname=port, peer=peer)
                (bridge,) = netlink.link_lookup(ifname="br0")
                (index,) = netlink.link_lookup(ifname=port)
                netlink.link("set", index=index, master=bridge)
                netlink.link("set", index=index, state="up")

        namespaces.inside(self._netns, plug)


def _make_bridge() -> None:
    with IPRoute() as netlink:
        netlink.link("add", kind="bridge", ifname="br0")
        (index,) = netlink.link_lookup(ifname="br0")
        netlink.link("set", index=index, state="up")


async def wire(path: Path, db_socket: Path, bridge: str) -> None:
    """Create the node's second bridge, tunnel port and gateway; can be repeated."""
    await asyncio.to_thread(namespaces.inside, path, _make_gateway)
    ovsdb = await Ovsdb.connect(db_socket)
    try:
        await ovsdb.ensure_bridge(BRIDGE, datapath_type="netdev", fail_mode="standalone")
        ids = gateway_ids(GatewayIds(GATEWAY_MAC, ()))
        await ovsdb.add_ports(BRIDGE, NewPort(name=UPLINK))
        tunnel = NewPort(name=TUNNEL, type="geneve", options=TUNNEL_OPTIONS, external_ids=tunnel_ids())
        await ovsdb.add_ports(bridge, tunnel, NewPort(name=GATEWAY_PORT, external_ids=ids))
    finally:
        ovsdb.close()


def _make_gateway() -> None:
    veth.quiet(UPLINK)  # the node's addresses are on br-phy; the kernel would answer for them here, too
    sysctl.write("net/ipv4/ip_forward", "1")
    sysctl.write("net/ipv4/conf/all/rp_filter", "0")
    sysctl.write("net/ipv4/conf/default/rp_filter", "0")
    sysctl.write("net/ipv6/conf/all/forwarding", "1")
    with IPRoute() as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname=UPLINK)[0], state="up")
        peer = {"ifname": GATEWAY_PORT, "mtu": veth.MTU}
        netlink.link("add", kind="veth", ifname=GATEWAY, address=GATEWAY_MAC, mtu=veth.MTU, peer=peer)
        veth.quiet(GATEWAY_PORT)
        veth.no_transmit_checksum_offload(GATEWAY)
        for name in (GATEWAY, GATEWAY_PORT):
            netlink.link("set", index=netlink.link_lookup(ifname=name)[0], state="up")


def configure(path: Path, old: Wiring, new: Wiring, virtual_mac: str) -> None:
    """Change the node's network stack from the old wiring to the new one."""

    def change() -> None:
        with IPRoute() as netlink:
            (outside,) = netlink.link_lookup(ifname=BRIDGE)
            (inside,) = netlink.link_lookup(ifname=GATEWAY)
            veth.no_transmit_checksum_offload(BRIDGE)
            netlink.link("set", index=outside, state="up")
            # All nodes are on one subnet. Open vSwitch accepts a route only if the device has an address in the
            # destination's subnet. Source: Open vSwitch lib/ovs-router.c, get_src_addr.
            for index, length, before, after in (
                (outside, {4: 0, 6: 0}, old.addresses, new.addresses),
                (inside, WIDTH, old.gateways, new.gateways),
            ):
                for address in set(before) - set(after):
                    netlink.addr("del", index=index, address=address, prefixlen=length[veth.family(address)])
                for address in after:
                    prefix = length[veth.family(address)]
                    netlink.addr("replace", index=index, address=address, prefixlen=prefix, flags=veth.IFA_F_NODAD)
            for family in {ip_address(address).version for address in new.addresses}:
                everybody = "::/0" if family == 6 else "0.0.0.0/0"
                netlink.route("replace", dst=everybody, oif=outside, scope=0 if family == 6 else SCOPE_LINK)
            for version, gateway in veth.GATEWAY.items():
                netlink.neigh("replace", dst=gateway, lladdr=virtual_mac, ifindex=inside, state=veth.NUD_PERMANENT)
                own = [each for each in new.gateways if ip_address(each).version == version]
                for pods in old.pods - new.pods:
                    if ip_network(pods).version == version:
                        with contextlib.suppress(NetlinkError):  # removed with its source address
                            netlink.route("del", dst=pods, oif=inside)
                for pods in new.pods:
                    if ip_network(pods).version == version:
                        source = {"prefsrc": own[0]} if own else {}
                        netlink.route(
                            "replace", dst=pods, gateway=gateway, oif=inside, flags=veth.RTNH_F_ONLINK, **source
                        )
        if old.addresses != new.addresses:
            node_ports.hand_over(GATEWAY, new.addresses, written(f"{FIRST_NODE_PORT}-{LAST_NODE_PORT}"))

    namespaces.inside(path, change)


async def tell_gateways(db_socket: Path, new: Wiring) -> None:
    """Write the addresses behind the gateway to its port's external_ids."""
    ovsdb = await Ovsdb.connect(db_socket)
    try:
        await ovsdb.set_external_ids(GATEWAY_PORT, gateway_ids(GatewayIds(GATEWAY_MAC, new.gateways)))
    finally:
        ovsdb.close()
