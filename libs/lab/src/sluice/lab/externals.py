"""Hosts outside the cluster: network namespaces on the network between the nodes, with routes to the Pods.

A single server answers on every TCP and UDP port, since the host's firewall redirects all traffic to it (nft(8),
redirect).
"""

import asyncio
import subprocess
from pathlib import Path
from typing import NamedTuple

from pyroute2 import IPRoute

from sluice.contracts.ids import Address
from sluice.drivers import namespaces, veth
from sluice.drivers.veth import mac_of
from sluice.lab import netns
from sluice.lab.probers import Prober
from sluice.lab.underlay import SCOPE_LINK, UPLINK, Underlay
from sluice.lab.world import World

PORT = 9
"""The port that serves all. Source: the Service Name Registry of IANA, discard."""

FIREWALL = f"""
table inet sluice {{
  chain arriving {{
    type nat hook prerouting priority dstnat
    fib daddr type local meta l4proto {{ tcp, udp }} redirect to :{PORT}
  }}
}}
"""

Routes = frozenset[tuple[str, Address]]
"""CIDRs and single addresses of Pods, each with its node's address."""


class CannotAnswer(Exception):
    """The host cannot be set up to answer on every port. The message says why and what to do."""


class ExternalHost(NamedTuple):
    """A running host."""

    address: Address
    netns: Path
    prober: Prober
    routes: Routes = frozenset()


def routes(world: World) -> dict[int, Routes]:
    """An outside host's routes to Pods, by IP version.

    Without an address of that version, a node cannot be reached by it.
    """
    found: dict[int, set[tuple[str, Address]]] = {4: set(), 6: set()}
    for name, behind in world.behind().items():
        for version in found:
            way = next((each for each in world.node_addresses(name) if veth.family(each) == version), None)
            if way is not None:
                found[version] |= {(each, way) for each in behind if veth.family(each) == version}
    return {version: frozenset(ways) for version, ways in found.items()}


async def make(name: str, lab: str, address: Address, underlay: Underlay, *, firewall: str = FIREWALL) -> Path:
    """Create the namespace of a host with this address on the network between the nodes.

    Raises:
        CannotAnswer: nft(8) is missing, or refuses.
    """
    path = await asyncio.to_thread(netns.create, f"external.{name}", lab)
    try:
        await underlay.join(path)
        await asyncio.to_thread(namespaces.inside, path, lambda: _configure(address, firewall))
    except BaseException:
        netns.remove(path)
        raise
    return path


def _configure(address: Address, firewall: str) -> None:
    six = veth.family(address) == 6
    with IPRoute() as netlink:
        (link,) = netlink.link_lookup(ifname=UPLINK)
        veth.no_transmit_checksum_offload(UPLINK)  # the nodes' switches are in user space
        netlink.link("set", index=link, address=mac_of(address))  # nodes remember the address's previous owner
        netlink.addr("add", index=link, address=address, prefixlen=128 if six else 32, flags=veth.IFA_F_NODAD)
        netlink.link("set", index=link, state="up")
        everybody = "::/0" if six else "0.0.0.0/0"
        netlink.route("add", dst=everybody, oif=link, scope=0 if six else SCOPE_LINK)
    if not firewall:
        return
    try:
        done = subprocess.run(["nft", "-f", "-"], input=firewall, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CannotAnswer("hosts beyond the cluster need nft: install the package nftables") from error
    if done.returncode:
        raise CannotAnswer(f"nft refuses to answer on every port: {done.stderr.strip()}")


def reroute(path: Path, old: Routes, new: Routes) -> None:
    """Replace the host's old routes by the new ones."""

    def change() -> None:
        with IPRoute() as netlink:
            (link,) = netlink.link_lookup(ifname=UPLINK)
            for destination, way in sorted(old - new):
                netlink.route("del", dst=destination, gateway=way, oif=link)
            for destination, way in sorted(new - old):
                netlink.route("add", dst=destination, gateway=way, oif=link, flags=veth.RTNH_F_ONLINK)

    namespaces.inside(path, change)
