"""What TrafficControls did with packets, summed from the counters of their flows.

A flow counts from the moment it is added, and its count is lost when it is removed with its Pod. So only the growth
since the last reading is added; what a flow counted between the last reading and its removal is missing.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from sluice.contracts.ids import Unit
from sluice.contracts.stats import TrafficCount

Counter = tuple[int, int]
"""Flows that count together: their table, and the number in their cookies."""

Became = Literal["mirrored", "redirected", "dropped"]


class Counted(NamedTuple):
    """What a TrafficControl did with a packet."""

    unit: Unit
    became: Became


class TrafficCounts:
    """The sums. Mutable."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Counter, tuple[Counted, ...]], int] = {}
        self._sums: dict[Counted, int] = {}

    def take(
        self, readings: Iterable[tuple[Counter, int]], means: Mapping[Counter, tuple[Counted, ...]]
    ) -> tuple[TrafficCount, ...]:
        """Add what was counted since the last reading; returns the sums of the TrafficControls that exist."""
        now: dict[Counter, int] = {}
        for counter, packets in readings:
            now[counter] = now.get(counter, 0) + packets
        seen = {(counter, means[counter]): packets for counter, packets in now.items() if counter in means}
        for (counter, said), packets in seen.items():
            grown = packets - self._seen.get((counter, said), 0)
            for one in said if grown > 0 else ():
                self._sums[one] = self._sums.get(one, 0) + grown
        self._seen = seen
        there = {one.unit for said in means.values() for one in said}
        self._sums = {one: packets for one, packets in self._sums.items() if one.unit in there}
        return tuple(self._count(unit) for unit in sorted({one.unit for one in self._sums}))

    def _count(self, unit: Unit) -> TrafficCount:
        names: tuple[Became, ...] = ("mirrored", "redirected", "dropped")
        return TrafficCount(unit=unit, **{name: self._sums.get(Counted(unit, name), 0) for name in names})
