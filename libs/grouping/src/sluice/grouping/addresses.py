"""Who has an address: of two live Pods with one address the later created has it, and the other is reported.

A Pod's address may be told for its successor before its own end is; traffic must then count as the successor's.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Generic, NamedTuple, TypeVar

from sluice.contracts.ids import Address, Uid


class Claim(NamedTuple):
    """What decides between Pods that claim one address."""

    created: str
    """RFC 3339, or empty where nobody said."""

    uid: Uid
    pod: str
    """namespace/name"""


class Conflict(NamedTuple):
    """Several live Pods claim one address."""

    address: Address
    holder: str
    """namespace/name of the Pod that has it."""

    others: tuple[str, ...]
    """namespace/name of those that claim it in vain; sorted."""


T = TypeVar("T")

_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


def precedence(claim: Claim) -> tuple[datetime, Uid, str]:
    """The greatest has the address: the latest creation, then the greatest uid, then the greatest name."""
    return _time(claim.created), claim.uid, claim.pod


def _time(created: str) -> datetime:
    """The moment; before all others where nobody gave a readable one."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return _BEFORE_ALL
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Claims(Generic[T]):
    """Who claims which address, and who has it. Things are told apart by identity."""

    def __init__(self, claim: Callable[[T], Claim]) -> None:
        self._claim = claim
        self._holders: dict[Address, T] = {}
        self._contested: dict[Address, list[T]] = {}

    def holder(self, address: Address) -> T | None:
        return self._holders.get(address)

    def add(self, addresses: Iterable[Address], thing: T) -> list[T]:
        """The thing claims the addresses; what is returned may hold others than before, and was contested."""
        concerned: list[T] = []
        holders = self._holders
        for address in addresses:
            first = holders.setdefault(address, thing)
            if first is not thing:
                claimants = self._contested.setdefault(address, [first])
                claimants.append(thing)
                concerned += self._award(address, claimants)
        return concerned

    def remove(self, addresses: Iterable[Address], thing: T) -> list[T]:
        """The thing claims them no longer; what is returned may hold others than before."""
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
        """In place of the thing, which claims the addresses, there is another that does. It has what that had."""
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
