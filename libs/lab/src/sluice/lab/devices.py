"""Network devices that scenarios give their nodes: links whose peer is outside the node, where receivers listen.

A device and its peer share a name, in two namespaces. Ports that the switch creates itself are in the node's.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from pyroute2 import IPRoute

from sluice.contracts.ids import NodeName
from sluice.drivers import namespaces, veth
from sluice.lab import netns
from sluice.lab.capture.capturing import Place


class Devices:
    """The devices of one node."""

    def __init__(self, lab: str, node: NodeName, path: Path) -> None:
        self._lab, self._node, self._path = lab, node, path
        self._beyond: Path | None = None
        self._known: frozenset[str] = frozenset()
        self._there: set[str] = set()

    async def use(self, names: Iterable[str]) -> None:
        """Make exactly these devices exist."""
        self._known = frozenset(names)
        for gone in self._there - self._known:
            await self.remove(gone)
        for new in sorted(self._known - self._there):
            await self.add(new)

    async def add(self, name: str) -> None:
        """Create the device if it is missing."""
        if name not in self._there:
            await asyncio.to_thread(self._add, name)
            self._there.add(name)

    async def remove(self, name: str) -> None:
        """Delete the device if it exists."""
        if name in self._there:
            self._there.discard(name)
            await asyncio.to_thread(veth.remove_links, self._path, [name])

    def place(self, port: str) -> Place:
        """Where receivers capture what the switch sends to the port."""
        if port in self._known and self._beyond is not None:
            return Place(self._beyond, port)
        return Place(self._path, port)

    def _add(self, name: str) -> None:
        if self._beyond is None:
            self._beyond = netns.create(f"beyond.{self._node}", self._lab)
        beyond = self._beyond

        def link() -> None:
            with beyond.open("rb") as there, IPRoute() as netlink:
                peer = {"ifname": name, "mtu": veth.MTU, "net_ns_fd": there.fileno()}
                netlink.link("add", kind="veth", ifname=name, mtu=veth.MTU, peer=peer)
            raised(name)

        namespaces.inside(self._path, link)
        namespaces.inside(beyond, lambda: raised(name))


def raised(name: str) -> None:
    """Bring the link of the current namespace up, with the kernel sending nothing by it."""
    veth.quiet(name)
    with IPRoute() as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname=name)[0], state="up")
