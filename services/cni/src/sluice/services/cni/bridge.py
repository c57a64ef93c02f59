"""What a node needs before its first Pod: the bridge, its tunnel to other nodes, and the gateway to the node itself.

Idempotent: nothing that exists is created again, or interrupted for a moment.
"""

import asyncio
from ipaddress import ip_network
from pathlib import Path

from msgspec import Struct
from pyroute2 import IPRoute

from sluice.contracts.ids import Address
from sluice.dataplane.node_ports import written
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC
from sluice.drivers import node_ports, sysctl, veth
from sluice.drivers.namespaces import inside
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.operations import NewPort
from sluice.drivers.ovsdb.roles import TUNNEL_OPTIONS, GatewayIds, gateway_ids, tunnel_ids
from sluice.drivers.suricata.taps import TAGS
from sluice.services.cni.protocol import CniFailed, Code
from sluice.services.cni.settings import CniSettings

GATEWAY_MAC = ":".join(f"{octet:02x}" for octet in VIRTUAL_MAC.to_bytes(6, "big"))
"""The MAC that Pods send to: the switch answers for it."""

NODE_MAC = "0a:58:00:00:00:01"
"""MAC of the node's own end. Each node has a separate network behind it, so it can be the same everywhere."""

GATEWAY, TUNNEL = "sluice-gw0", "sluice-tun0"


async def must_be_secure(ovsdb: Ovsdb, name: str) -> None:
    """Check that the bridge exists, and forwards nothing without flows.

    Raises:
        CniFailed: it does not exist, or its ports would be open before any policy is known.
    """
    (found,) = await ovsdb.transact(
        {"op": "select", "table": "Bridge", "where": [["name", "==", name]], "columns": ["fail_mode"]}
    )
    if not found["rows"]:
        raise CniFailed(
            Code.AGAIN,
            f"Open vSwitch has no bridge {name}: start node-ovs, or set SLUICE_CNI_SET_UP_NODE, to create it",
        )
    if found["rows"][0]["fail_mode"] != "secure":
        raise CniFailed(
            Code.NOT_AVAILABLE,
            f"bridge {name} is not fail_mode=secure: a new port would be open before its policies are known; "
            f"run `ovs-vsctl set-fail-mode {name} secure`",
        )


class Node(Struct, frozen=True, kw_only=True):
    """Configuration of the node's own network stack."""

    ranges: tuple[str, ...]
    """Address ranges of its Pods, one per family."""

    addresses: tuple[Address, ...] = ()
    """Its own addresses, on which NodePorts are served."""


async def set_up(ovsdb: Ovsdb, settings: CniSettings, ranges: tuple[str, ...]) -> None:
    """Set up the node for these ranges. The gateway's address is the first of each range.

    Raises:
        OSError, NetlinkError: the node's links cannot be changed.
        TransactionRefused, PortFailed, NotApplied: Open vSwitch did not do it.
    """
    node = Path(settings.netns) if settings.netns else None
    gateways = tuple(Address(str(ip_network(each)[1])) for each in ranges)
    await ovsdb.set_vlan_limit(TAGS)
    await ovsdb.ensure_bridge(settings.bridge, datapath_type=settings.datapath)
    ids = gateway_ids(GatewayIds(NODE_MAC, gateways))
    wanted = (
        NewPort(name=TUNNEL, type="geneve", options=TUNNEL_OPTIONS, external_ids=tunnel_ids()),
        NewPort(name=GATEWAY, type="internal", external_ids=ids),
    )
    (*found,) = await ovsdb.transact(
        *(
            {"op": "select", "table": "Port", "where": [["name", "==", each.name]], "columns": ["name"]}
            for each in wanted
        )
    )
    missing = [port for port, rows in zip(wanted, found, strict=True) if not rows["rows"]]
    if missing:
        await ovsdb.add_ports(settings.bridge, *missing)
    await ovsdb.set_external_ids(GATEWAY, ids)
    pods = settings.cluster_cidrs.split(",") if settings.cluster_cidrs else list(ranges)
    await asyncio.to_thread(inside, node, lambda: _configure(gateways, pods, settings.mtu))


def hand_node_ports_over(settings: CniSettings, node: Node) -> bool:
    """Direct traffic to NodePorts to the switch; True if it did not go there before. Call it after `set_up`.

    Raises:
        OSError, NetlinkError: the node's links cannot be changed.
    """
    there = Path(settings.netns) if settings.netns else None
    versions = {ip_network(each).version for each in node.ranges}  # the gateway has no neighbour of another
    own = [each for each in node.addresses if veth.family(each) in versions]
    return inside(there, lambda: node_ports.hand_over(GATEWAY, own, written(settings.node_ports)))


def _configure(gateways: tuple[Address, ...], pods: list[str], mtu: int) -> None:
    sysctl.write("net/ipv4/ip_forward", "1")
    sysctl.write("net/ipv6/conf/all/forwarding", "1")
    veth.no_transmit_checksum_offload(GATEWAY)
    with IPRoute() as netlink:
        (index,) = netlink.link_lookup(ifname=GATEWAY)
        netlink.link("set", index=index, address=NODE_MAC, mtu=mtu, state="up")
        for address in gateways:
            length = 128 if veth.family(address) == 6 else 32
            netlink.addr("replace", index=index, address=address, prefixlen=length, flags=veth.IFA_F_NODAD)
        for network in map(ip_network, pods):
            own = [each for each in gateways if veth.family(each) == network.version]
            if not own:
                continue  # this node has no Pods of that family
            gateway = veth.GATEWAY[network.version]
            netlink.neigh("replace", dst=gateway, lladdr=GATEWAY_MAC, ifindex=index, state=veth.NUD_PERMANENT)
            netlink.route(
                "replace", dst=str(network), gateway=gateway, oif=index, flags=veth.RTNH_F_ONLINK, prefsrc=own[0]
            )
