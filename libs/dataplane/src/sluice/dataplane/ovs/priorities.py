"""Priorities of ordered rules: those of tiers, and of the baseline.

A *place* is a position in the order: tier, policy priority, rule index, then the policy's kind and name. This order is
total, and the same on every node. Each place has an OpenFlow priority of its own. Rules with the same place (one rule
of a policy, applied to several groups) do the same, so they share it.

A rule takes its place when it arrives; `settle` assigns the priorities of all new places together, so that a thousand
rules of one step are spread over the band instead of pushing each other about.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from msgspec import Struct

from sluice.contracts.programs import Action
from sluice.dataplane.ovs.order import Order
from sluice.dataplane.ovs.pipeline import Table
from sluice.policy.order import Order as Precedence

TIER_BAND = (1, 65_000)
"""Lowest and highest priority of tier rules; above them are flows that precede all policy."""

BASELINE_BAND = (1, 30_000)
"""Entirely below isolation (PRIORITY_PLAIN), so no baseline rule opens what a Kubernetes policy closes."""

BANDS = {
    Table.NODE_PORT: TIER_BAND,
    Table.NODE_PORT_DEFAULT: BASELINE_BAND,
    Table.EGRESS_TIER: TIER_BAND,
    Table.EGRESS_DEFAULT: BASELINE_BAND,
    Table.INGRESS_TIER: TIER_BAND,
    Table.INGRESS_DEFAULT: BASELINE_BAND,
}

PLAIN = -1
"""Stands for a lane in rules that match in only one dimension. They never share a priority with clauses."""

H = TypeVar("H")


class Place(NamedTuple):
    """The position of rules in the order of a table; lower ones take precedence."""

    precedence: Precedence
    action: Action
    """The action of all rules of the place. A policy's rule has only one, except at the moment when it changes."""

    lane: int
    """The rules' lane (see `ids`), or PLAIN."""


class Spot(NamedTuple):
    table: Table
    place: Place


class Placed(Struct, frozen=True, array_like=True):
    """A spot's priority, as kept across restarts."""

    table: int
    place: Place
    priority: int


class Priorities(Generic[H]):
    """Which place has which priority on this node, and which rules (`H`) are at it.

    Mutable. Priorities depend on history; apart from such numbers, flows do not.
    """

    def __init__(self, bands: dict[Table, tuple[int, int]] = BANDS) -> None:
        self._orders: dict[Table, Order[Place]] = {table: Order(*band) for table, band in bands.items()}
        self._holders: dict[Spot, set[H]] = {}
        self._waiting: dict[Table, set[Place]] = {table: set() for table in bands}
        self._moved: set[Spot] = set()
        self.changes = 0
        """How often `state` may have changed."""

    def __len__(self) -> int:
        """The number of places."""
        return sum(map(len, self._orders.values())) + sum(map(len, self._waiting.values()))

    def state(self) -> tuple[Placed, ...]:
        """What must survive a restart."""
        return tuple(
            Placed(table.value, place, priority)
            for table, order in self._orders.items()
            for place, priority in sorted(order.priorities.items())
        )

    def restore(self, state: Iterable[Placed]) -> None:
        """Restore stored priorities. Those that contradict the order are skipped, and assigned anew."""
        kept: dict[int, dict[Place, int]] = {}
        for placed in state:
            kept.setdefault(placed.table, {})[placed.place] = placed.priority
        for table, order in self._orders.items():
            order.restore(kept.get(table, {}))

    def exchange(self, leave: Iterable[tuple[Spot, H]], take: Iterable[tuple[Spot, H]]) -> None:
        """Remove the rules in `leave` from their spots, then put those in `take` at theirs.

        Raises:
            BandFull: there are more places than priorities; nothing was changed.
        """
        leave, take = tuple(leave), tuple(take)
        going: dict[Spot, set[H]] = {}
        for spot, holder in leave:
            going.setdefault(spot, set()).add(holder)
        coming = {spot for spot, _ in take}
        gone = {spot for spot, holders in going.items() if self._holders.get(spot) == holders} - coming
        for table, order in self._orders.items():
            new = sum(spot.table is table and not self._known(spot) for spot in coming)
            if new:
                order.check_room(len(order) + len(self._waiting[table]) + new - sum(one.table is table for one in gone))
        for spot, holder in leave:
            self._holders[spot].discard(holder)
        for spot in gone:
            self._forget(spot)
        for spot, holder in take:
            if not self._known(spot):
                self._waiting[spot.table].add(spot.place)
            self._holders.setdefault(spot, set()).add(holder)

    def settle(self, weight: Callable[[Spot], int] | None = None) -> None:
        """Assign a priority to every place that has none.

        Args:
            weight: how many flows are rewritten if the rules at a spot move; unset: the same for all spots.
        """
        for table, waiting in self._waiting.items():
            if waiting:
                moved = self._orders[table].insert_all(waiting, _weigher(table, weight))
                self._moved.update(Spot(table, place) for place in moved)
                self.changes += 1
                waiting.clear()

    def moved(self) -> Iterator[tuple[Spot, H]]:
        """The rules at spots whose priority was assigned or changed since the last call."""
        moved, self._moved = self._moved, set()
        for spot in moved:
            for holder in self._holders.get(spot, ()):
                yield spot, holder

    def __getitem__(self, spot: Spot) -> int | None:
        """The spot's priority; None while it waits for one."""
        return self._orders[spot.table].priorities.get(spot.place)

    def holders(self, spot: Spot) -> frozenset[H]:
        """The rules at the spot."""
        return frozenset(self._holders.get(spot, ()))

    def forget_unused(self) -> None:
        """Free the places without rules: restored ones, whose rules were removed while the process was down."""
        for table, order in self._orders.items():
            for place in list(order.priorities):
                if not self._holders.get(Spot(table, place)):
                    self._forget(Spot(table, place))

    def _known(self, spot: Spot) -> bool:
        return spot.place in self._orders[spot.table] or spot.place in self._waiting[spot.table]

    def _forget(self, spot: Spot) -> None:
        self._holders.pop(spot, None)
        self.changes += 1
        if spot.place in self._waiting[spot.table]:
            self._waiting[spot.table].discard(spot.place)
        else:
            self._orders[spot.table].remove(spot.place)


def _weigher(table: Table, weight: Callable[[Spot], int] | None) -> Callable[[Place], int]:
    return (lambda place: weight(Spot(table, place))) if weight else (lambda _: 1)
