"""Who holds an address. Of two live Pods with the same address the one created later holds it; the other is reported.

An address may be reported for a new Pod before the end of its previous holder is. From then on, traffic from that
address must count as the new Pod's.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Generic, NamedTuple, TypeVar

from sluice.contracts.ids import Address, Uid


class Claim(NamedTuple):
    """What decides between Pods that claim the same address."""

    created: str
    """RFC 3339; empty if unknown."""

    uid: Uid
    pod: str
    """namespace/name"""


class Conflict(NamedTuple):
    """Several live Pods claim the same address."""

    address: Address
    holder: str
    """namespace/name of the Pod that holds it."""

    others: tuple[str, ...]
    """namespace/name of the other claimants; sorted."""


T = TypeVar("T")

_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


def precedence(claim: Claim) -> tuple[datetime, Uid, str]:
    """The greatest claim wins: latest creation, then greatest uid, then greatest name."""
    return _time(claim.created), claim.uid, claim.pod


def _time(created: str) -> datetime:
    """The time; the earliest possible one if it is missing or unreadable."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return _BEFORE_ALL
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Claims(Generic[T]):
    """Who claims which address, and who holds it. Claimants are compared by identity."""

    def __init__(self, claim: Callable[[T], Claim]) -> None:
        self._claim = claim
        self._holders: dict[Address, T] = {}
        self._contested: dict[Address, list[T]] = {}
        self.hold = self._holders.setdefault
        """Tells who holds the address; if nobody does, the claimant does from now on. Free addresses need no `add`."""

    def holder(self, address: Address) -> T | None:
        return self._holders.get(address)

    def add(self, addresses: Iterable[Address], thing: T) -> list[T]:
        """Add a claimant; returns all claimants of contested addresses, who may hold other addresses now."""
        concerned: list[T] = []
        hold = self.hold
        for address in addresses:
            first = hold(address, thing)
            if first is not thing:
                claimants = self._contested.setdefault(address, [first])
                claimants.append(thing)
                concerned += self._award(address, claimants)
        return concerned

    def remove(self, addresses: Iterable[Address], thing: T) -> list[T]:
        """Withdraw the claims; returns the remaining claimants, who may hold other addresses now."""
        concerned: list[T] = []
        for address in addresses:
            claimants = self._contested.get(address)
            if claimants is None:
                del self._holders[address]
                continue
            claimants[:] = [claimant for claimant in claimants if claimant is not thing]
            concerned += self._award(address, claimants)
            if len(claimants) == 1:
                del self._contested[address]
        return concerned

    def replace(self, addresses: Iterable[Address], thing: T, by: T) -> None:
        """Another claimant takes the place of `thing`, with the same claims; it holds what `thing` held."""
        for address in addresses:
            if self._holders[address] is thing:
                self._holders[address] = by
            claimants = self._contested.get(address)
            if claimants is not None:
                claimants[:] = [by if claimant is thing else claimant for claimant in claimants]

    def conflicts(self) -> tuple[Conflict, ...]:
        """The contested addresses; sorted."""
        found = []
        for address in sorted(self._contested):
            has = self._holders[address]
            others = sorted(self._claim(one).pod for one in self._contested[address] if one is not has)
            found.append(Conflict(address, self._claim(has).pod, tuple(others)))
        return tuple(found)

    def _award(self, address: Address, claimants: list[T]) -> list[T]:
        self._holders[address] = max(claimants, key=lambda claimant: precedence(self._claim(claimant)))
        return claimants
