"""Which interface has which address on which secondary network.

Networks are spaces of addresses of their own. Groups see several of them as one, from where the policed interface is:
an address that somebody has on that network means nobody on the others.
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
        self.claimed = self.member = claimed  # with all the addresses it claims; with those it has

    @property
    def network(self) -> str:
        return self.claimed.attachment.network


class Interfaces(Generic[P]):
    """All interfaces of all Pods. Pods are told apart by identity."""

    def __init__(self, claim: Callable[[P], Claim]) -> None:
        self._claim = claim
        self._of: dict[P, tuple[Interface[P], ...]] = {}
        self._on: dict[str, dict[Interface[P], None]] = {}
        self._claims: dict[str, Claims[Interface[P]]] = {}
        self._claiming: dict[Address, dict[Interface[P], None]] = {}
        """Those that claim the address on any network."""

        self._plugins: dict[str, Plugin] = {}

    def add(self, pod: P, claimed: tuple[Member, ...]) -> set[P]:
        """The Pod has these interfaces, and had none; Pods whose interfaces may be other members now."""
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
        """The Pod has no interfaces any more; Pods whose interfaces may be other members now."""
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
        """The network is run by this plugin; None: it is not known. Pods whose interfaces are other members now."""
        if (self._plugins.get(network)) == plugin:
            return set()
        self._plugins.pop(network, None)
        if plugin is not None:
            self._plugins[network] = plugin
        on = self._on.get(network, {})
        self._award(on)
        return {interface.pod for interface in on}

    def members(self, pod: P, networks: tuple[str, ...]) -> Iterator[Member]:
        """The Pod's interfaces on these networks, with the addresses that mean them as seen from the first."""
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
        """Give all that claim the addresses, on any network, what they have now."""
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
