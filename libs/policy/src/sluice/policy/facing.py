"""The rules that apply to a Pod in one direction, indexed by the peer at the other end.

A rule is listed under each of its peers: anyone, a group, an IP block, a Service, or an FQDN pattern. Looking up a
packet costs time proportional to the rules that can match it (and to the patterns, if it has a name), not to the number
of policies.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple, assert_never

from sluice.contracts.ids import Address, GroupId
from sluice.contracts.programs import (
    BlockPeer,
    Direction,
    FqdnPeer,
    GroupPeer,
    Origin,
    Program,
    Rule,
    ServicePeer,
    ServiceRef,
)
from sluice.policy import fqdn
from sluice.policy.order import Order, order


class Faced(NamedTuple):
    """A rule with its position in the order."""

    order: Order
    program: Program
    rule: Rule


class _Block(NamedTuple):
    excepts: tuple[IPv4Network | IPv6Network, ...]
    faced: Faced


class Facing:
    def __init__(self, programs: Iterable[Program], direction: Direction) -> None:
        self._all: list[Faced] = []
        self._anybody: list[Faced] = []
        self._by_group: dict[GroupId, list[Faced]] = {}
        self._by_block: dict[tuple[int, int], dict[int, list[_Block]]] = {}  # (version, prefix length), network
        self._by_service: dict[ServiceRef, list[Faced]] = {}
        self._by_pattern: dict[str, list[Faced]] = {}
        isolating = []
        for program in programs:
            if direction in program.isolates:
                isolating.append(program.origin)
            for rule in program.rules:
                if rule.direction == direction:
                    self._add(Faced(order(program, rule), program, rule))
        self.isolating: tuple[Origin, ...] = tuple(sorted(isolating))
        """The policies that isolate the Pod: what no Kubernetes policy allows is dropped."""

    def everything(self) -> list[Faced]:
        """All rules, in order."""
        return sorted(self._all, key=lambda faced: faced.order)

    @property
    def tells_addresses(self) -> bool:
        """Whether the result for a peer depends on its address."""
        return bool(self._by_block)

    def telling(self, groups: frozenset[GroupId]) -> frozenset[GroupId]:
        """Those of the groups that a rule names as peers; the result for a member of `groups` depends only on them."""
        return frozenset(groups & self._by_group.keys())

    def concerning(
        self, groups: frozenset[GroupId], address: Address | None, service: ServiceRef | None = None, name: str = ""
    ) -> list[Faced]:
        """The rules with a peer in these groups, at this address, behind this Service or under this DNS name.

        In order, each once.
        """
        found = {faced.order: faced for faced in self._anybody}
        for group in self.telling(groups):
            found.update((faced.order, faced) for faced in self._by_group[group])
        if address is not None and self._by_block:
            found.update((faced.order, faced) for faced in self._around(address))
        if service is not None:
            found.update((faced.order, faced) for faced in self._by_service.get(service, ()))
        for pattern, under in self._by_pattern.items() if name else ():
            if fqdn.is_name(pattern, name):
                found.update((faced.order, faced) for faced in under)
        return [found[place] for place in sorted(found)]

    def _add(self, faced: Faced) -> None:
        self._all.append(faced)
        if faced.rule.peers is None:
            self._anybody.append(faced)
            return
        for peer in faced.rule.peers:
            match peer:
                case GroupPeer():
                    self._by_group.setdefault(peer.group, []).append(faced)
                case BlockPeer():
                    block = ip_network(peer.cidr)
                    level = self._by_block.setdefault((block.version, block.prefixlen), {})
                    excepts = tuple(map(ip_network, peer.excepts))
                    level.setdefault(int(block.network_address), []).append(_Block(excepts, faced))
                case FqdnPeer():
                    self._by_pattern.setdefault(peer.pattern, []).append(faced)
                case ServicePeer():
                    self._by_service.setdefault(peer.service, []).append(faced)
                case _:
                    assert_never(peer)

    def _around(self, address: Address) -> Iterator[Faced]:
        """The rules with a block that contains the address and whose excepts do not."""
        wanted = ip_address(address)
        number, bits = int(wanted), wanted.max_prefixlen
        for (version, length), networks in self._by_block.items():
            if version == wanted.version:
                for block in networks.get(number >> (bits - length) << (bits - length), ()):
                    if not any(wanted in hole for hole in block.excepts):
                        yield block.faced
