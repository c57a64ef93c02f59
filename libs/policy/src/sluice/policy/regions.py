"""Partitions all addresses into regions whose addresses no policy distinguishes.

A region is an IP block that policies name, without the smaller blocks inside it.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from sluice.contracts.ids import Address
from sluice.contracts.programs import BlockPeer, Program

Network = IPv4Network | IPv6Network

ROOTS: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class Regions:
    def __init__(self, programs: Iterable[Program]) -> None:
        named: set[Network] = set(ROOTS)
        for program in programs:
            for rule in program.rules:
                for peer in rule.peers or ():
                    if isinstance(peer, BlockPeer):
                        named.update(map(ip_network, (peer.cidr, *peer.excepts)))
        self.blocks: tuple[Network, ...] = tuple(sorted(named, key=place))
        """The blocks that name the regions, outer before inner."""

        self._named = named
        self._pieces: dict[Network, list[Network]] = {}
        self._lengths = {
            version: sorted({one.prefixlen for one in named if one.version == version}, reverse=True)
            for version in (4, 6)
        }

    def of(self, address: Address) -> Network:
        """The region that contains the address."""
        for length in self._lengths[ip_address(address).version]:
            block = ip_network(f"{address}/{length}", strict=False)
            if block in self._named:
                return block
        raise AssertionError(f"{address} is in no region, though the roots are regions")

    def pieces(self, block: Network) -> list[Network]:
        """The region as blocks; empty if smaller blocks fill it."""
        known = self._pieces.get(block)
        if known is None:
            known = [block]
            for inner in self.blocks:
                if inner != block:
                    known = [piece for one in known for piece in _without(one, inner)]
            self._pieces[block] = known
        return known


def _without(block: Network, inner: Network) -> Iterable[Network]:
    if isinstance(block, IPv4Network) and isinstance(inner, IPv4Network) and inner.subnet_of(block):
        return block.address_exclude(inner)
    if isinstance(block, IPv6Network) and isinstance(inner, IPv6Network) and inner.subnet_of(block):
        return block.address_exclude(inner)
    return (block,)


def place(block: Network) -> tuple[int, int, int]:
    """Sort key of blocks."""
    return block.version, int(block.network_address), block.prefixlen
