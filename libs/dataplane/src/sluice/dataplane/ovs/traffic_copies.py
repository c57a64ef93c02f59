"""Sets of TrafficControls that mirror the same packets, and the flows that send the copies.

A packet is subject to the TrafficControls of its sender and of its receiver, and each target gets one copy. So there is
one flow for each pair of such sets, rather than for each pair of Pods.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sluice.contracts.ids import Unit
from sluice.contracts.programs import Direction
from sluice.dataplane.ovs.flow import Flows
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.traffic_flows import SETS, copy_flows
from sluice.dataplane.ovs.traffic_ways import Standing

Set = tuple[Unit, ...]
"""TrafficControls, sorted."""

Pair = tuple[Set, Set]
"""The sets of a packet's sender and of its receiver."""


class Copying(NamedTuple):
    """What is done with packets of a pair."""

    flows: Flows
    units: Set
    """The TrafficControls for which these flows count packets."""


class Copies:
    """The sets in use, and what is done for each pair of them. Mutable."""

    def __init__(self, ids: RuleIds, standing: Mapping[Unit, Standing]) -> None:
        self._ids, self._standing = ids, standing
        self._users: dict[Direction, dict[Set, int]] = {Direction.EGRESS: {}, Direction.INGRESS: {}}
        self._stale: set[tuple[Direction, Set]] = set()
        self._gone: set[tuple[Direction, Set]] = set()

    def number(self, side: Direction, units: Set) -> int:
        """The set's number; 0 if it is empty."""
        if not units:
            return 0
        number = self._ids.traffic[_name(side, units)]
        assert number < SETS, "a set for each Pod would be fewer"
        return number

    def use(self, side: Direction, now: Set, before: Set) -> None:
        """A Pod has the set `now` instead of `before`."""
        users = self._users[side]
        for units, by in ((now, 1), (before, -1)):
            if not units or now == before:
                continue
            count = users.get(units, 0) + by
            users[units] = count
            if count == (by > 0):
                self._stale.add((side, units))
            if not count:
                del users[units]

    def changed(self, units: frozenset[Unit]) -> None:
        """The ports that these copy to may have changed."""
        for side, users in self._users.items():
            self._stale |= {(side, held) for held in users if not units.isdisjoint(held)}

    def drain(self) -> Iterator[tuple[Pair, Copying | None]]:
        """The pairs that may have changed; None: the pair is not in use any more."""
        stale, self._stale = self._stale, set()
        pairs: set[Pair] = set()
        for side, units in stale:
            for other in ((), *self._users[_other(side)], *(held for where, held in stale if where != side)):
                pairs.add((units, other) if side is Direction.EGRESS else (other, units))
        for pair in sorted(pairs):
            yield pair, self._copying(pair) if self._is_used(pair) else None
        for side, units in stale:
            if units not in self._users[side]:
                self._ids.traffic.release((_name(side, units),))

    def _is_used(self, pair: Pair) -> bool:
        sides = zip((Direction.EGRESS, Direction.INGRESS), pair, strict=True)
        return all(not units or units in self._users[side] for side, units in sides)

    def _copying(self, pair: Pair) -> Copying:
        units = tuple(sorted({*pair[0], *pair[1]}))
        targets = {unit: self._standing[unit].target for unit in units}
        numbers = self.number(Direction.EGRESS, pair[0]), self.number(Direction.INGRESS, pair[1])
        there = [port for port in targets.values() if port is not None]
        return Copying(copy_flows(numbers, there), tuple(unit for unit in units if targets[unit] is not None))


def _name(side: Direction, units: Iterable[Unit]) -> str:
    return " ".join((side, *units))


def units_of(name: str) -> Iterator[Unit]:
    """The TrafficControls that this name of a number stands for: one, or those of a set."""
    return (Unit(word) for word in name.split(" ") if word not in tuple(Direction))


def _other(side: Direction) -> Direction:
    return Direction.INGRESS if side is Direction.EGRESS else Direction.EGRESS
