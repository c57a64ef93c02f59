"""Which interface holds which address on which secondary network.

Each network is an address space of its own. A group over several networks sees them from the network of the policed
interface: an address that is held on that network belongs to nobody on the others.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from msgspec.structs import replace

from sluice.contracts.groups import Member
from sluice.contracts.ids import Address
from sluice.contracts.networks import UNKNOWN_PLUGIN, Plugin
from sluice.grouping.addresses import Claim, Claims

P = TypeVar("P")


class Interface(Generic[P]):
    __slots__ = ("claimed", "member", "pod")

    def __init__(self, pod: P, claimed: Member) -> None:
        self.pod = pod
        self.claimed = self.member = claimed  # member: with the addresses it holds; claimed: with all it claims

    @property
    def network(self) -> str:
        return self.claimed.attachment.network


class Interfaces(Generic[P]):
    """All interfaces of all Pods. Pods are compared by identity."""

    def __init__(self, claim: Callable[[P], Claim]) -> None:
        self._claim = claim
        self._of: dict[P, tuple[Interface[P], ...]] = {}
        self._on: dict[str, dict[Interface[P], None]] = {}
        self._claims: dict[str, Claims[Interface[P]]] = {}
        self._claiming: dict[Address, dict[Interface[P], None]] = {}
        """Interfaces that claim the address, on any network."""

        self._plugins: dict[str, Plugin] = {}

    def add(self, pod: P, claimed: tuple[Member, ...]) -> set[P]:
        """Add the interfaces of a Pod that had none; returns the Pods whose interfaces may differ as members now."""
        made = self._of[pod] = tuple(Interface(pod, member) for member in claimed)
        touched = {pod}
        for interface in made:
            network, addresses = interface.network, interface.claimed.addresses
            self._on.setdefault(network, {})[interface] = None
            claims = self._claims.get(network)
            if claims is None:
                claims = self._claims[network] = Claims(lambda one: self._claim(one.pod))
            for address in addresses:
                self._claiming.setdefault(address, {})[interface] = None
            claims.add(addresses, interface)
            touched |= self._awarded(addresses)
            self._award((interface,))
        return touched

    def remove(self, pod: P) -> set[P]:
        """Remove all interfaces of the Pod; returns the Pods whose interfaces may differ as members now."""
        touched: set[P] = set()
        for interface in self._of.pop(pod, ()):
            network, addresses = interface.network, interface.claimed.addresses
            self._claims[network].remove(addresses, interface)
            for address in addresses:
                del self._claiming[address][interface]
            touched |= self._awarded(addresses)
            for address in addresses:
                if not self._claiming[address]:
                    del self._claiming[address]
            del self._on[network][interface]
            if not self._on[network]:
                del self._on[network], self._claims[network]
        return touched

    def define(self, network: str, plugin: Plugin | None) -> set[P]:
        """The plugin of the network (None: unknown); returns the Pods whose interfaces differ as members now."""
        if (self._plugins.get(network)) == plugin:
            return set()
        self._plugins.pop(network, None)
        if plugin is not None:
            self._plugins[network] = plugin
        on = self._on.get(network, {})
        self._award(on)
        return {interface.pod for interface in on}

    def members(self, pod: P, networks: tuple[str, ...]) -> Iterator[Member]:
        """The Pod's interfaces on these networks, with the addresses that are theirs as seen from the first network."""
        for interface in self._of.get(pod, ()):
            if interface.network == networks[0]:
                yield interface.member
            elif interface.network in networks:
                yield self._seen_from(interface, networks[0])

    def of(self, pod: P) -> Iterator[Member]:
        """All of the Pod's interfaces, each as seen from its own network."""
        return (interface.member for interface in self._of.get(pod, ()))

    def is_on(self, pod: P, networks: tuple[str, ...]) -> bool:
        """The Pod has an interface on one of these networks."""
        return any(interface.network in networks for interface in self._of.get(pod, ()))

    def _seen_from(self, interface: Interface[P], network: str) -> Member:
        claims = self._claims.get(network)
        if claims is None:
            return interface.member
        has = tuple(one for one in interface.member.addresses if claims.holder(one) is None)
        return replace(interface.member, addresses=has)

    def _awarded(self, addresses: Iterable[Address]) -> set[P]:
        """Update the members of all claimants of the addresses, on any network; returns their Pods."""
        concerned = {one: None for address in addresses for one in self._claiming[address]}
        self._award(concerned)
        return {interface.pod for interface in concerned}

    def _award(self, interfaces: Iterable[Interface[P]]) -> None:
        for interface in interfaces:
            claimed, claims = interface.claimed, self._claims[interface.network]
            plugin = self._plugins.get(interface.network, UNKNOWN_PLUGIN)
            has = tuple(address for address in claimed.addresses if claims.holder(address) is interface)
            known = replace(claimed.attachment, plugin=plugin.type, tagged=plugin.tagged)
            interface.member = replace(claimed, addresses=has, attachment=known)
