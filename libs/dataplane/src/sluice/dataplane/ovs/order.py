"""Order maintenance: OpenFlow priorities for rules in a total order, moving as few of them as possible.

Rules arrive and leave one by one; each needs a priority from a 16-bit band that agrees with the order of all others. If
there is room between its two neighbours, it gets the middle. If not, the run of rules up to the nearest free priority
shifts by one, which moves the fewest flows without considering the others. A list of 50,000 in a band of 65,000 has a
free priority every four rules, so a shift moves two. If the nearest free priority is far away (rules that arrive in
order pile up at one end), the smallest range with enough room is spread evenly, so that the next ones find room
(a packed-memory array; Bender, Demaine, Farach-Colton, "Cache-Oblivious B-Trees", section 2).

Priorities are local to the node: they depend on the order of arrival, and the shell keeps them across restarts.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, Self, TypeVar


class Ordered(Protocol):
    def __lt__(self, other: Self, /) -> bool: ...
    def __hash__(self) -> int: ...


K = TypeVar("K", bound=Ordered)


FAR = 32
"""If more keys than this had to shift, a range is spread instead, which frees many more priorities nearby."""


MANY = 1_000
"""More keys than this are faster merged into the list than inserted one by one."""


class BandFull(ValueError):
    """More keys than the band has priorities."""


def _one(_: object) -> int:
    return 1


class Order(Generic[K]):
    """Keys in ascending order, the least with the highest priority (the least precedence wins).

    Args:
        lowest, highest: the band, both usable, within 1..65535 (OpenFlow 1.5.1, ofp_flow_mod.priority is a uint16).
    """

    def __init__(self, lowest: int, highest: int) -> None:
        self._lowest, self._highest = lowest, highest
        self._keys: list[K] = []
        self._at: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: K) -> bool:
        return key in self._at

    def __getitem__(self, key: K) -> int:
        """The key's priority."""
        return self._at[key]

    @property
    def priorities(self) -> Mapping[K, int]:
        """All priorities, to be kept across restarts."""
        return self._at

    def restore(self, kept: Mapping[K, int]) -> None:
        """Restore stored priorities, except those that are out of order or outside the band."""
        floor = self._highest + 1
        for key in sorted(kept):
            if self._lowest <= kept[key] < floor and key not in self._at:
                floor = self._at[key] = kept[key]
                self._keys.append(key)

    def check_room(self, count: int) -> None:
        """Check that the band has priorities for this many keys.

        Raises:
            BandFull: it does not.
        """
        size = self._highest - self._lowest + 1
        if count > size:
            raise BandFull(
                f"{count} rules of distinct precedence, but OpenFlow has {size} priorities for them; "
                f"merge rules, or move policies to another tier"
            )

    def remove(self, key: K) -> None:
        """Remove the key and free its priority."""
        del self._keys[bisect_left(self._keys, key)]
        del self._at[key]

    def insert(self, key: K, weight: Callable[[K], int] = _one) -> dict[K, int]:
        """Assign the key a priority; returns the new priorities of this key and of those that moved.

        Args:
            weight: how many flows are rewritten if a key moves; of the two directions, the lighter one moves.

        Raises:
            BandFull: nothing was changed.
        """
        if key in self._at:
            return {}
        self.check_room(len(self._keys) + 1)
        index = bisect_left(self._keys, key)
        above, below = self._bound(index - 1), self._bound(index)
        moved: dict[K, int] = {}
        if above - below < 2:
            moved = self._make_room(index, weight)
            above, below = self._bound(index - 1), self._bound(index)
        self._keys.insert(index, key)
        self._at[key] = moved[key] = (above + below) // 2
        return moved

    def insert_all(self, keys: Iterable[K], weight: Callable[[K], int] = _one) -> dict[K, int]:
        """Assign priorities to many keys at once, spread over the gaps they fall in; returns the same as `insert`.

        Raises:
            BandFull: nothing was changed.
        """
        gaps: dict[int, list[K]] = {}
        for key in sorted({key for key in keys if key not in self._at}):
            gaps.setdefault(bisect_left(self._keys, key), []).append(key)
        self.check_room(len(self._keys) + sum(map(len, gaps.values())))
        moved: dict[K, int] = {}
        tight: list[K] = []
        for index, inside in gaps.items():
            above, below = self._bound(index - 1), self._bound(index)
            if above - below - 1 < len(inside):
                tight.extend(inside)
                continue
            for place, key in enumerate(inside, start=1):
                moved[key] = above - place * (above - below) // (len(inside) + 1)
        self._at |= moved
        if len(moved) > MANY:
            self._keys += moved
            self._keys.sort()  # two sorted runs
        else:
            for key in moved:
                insort(self._keys, key)
        for key in tight:
            moved |= self.insert(key, weight)
        return moved

    def _bound(self, index: int) -> int:
        """The priority at this index; outside the list, the one just outside the band."""
        if index < 0:
            return self._highest + 1
        return self._at[self._keys[index]] if index < len(self._keys) else self._lowest - 1

    def _make_room(self, index: int, weight: Callable[[K], int]) -> dict[K, int]:
        """Shift the lighter run next to `index` by one, up to its nearest free priority; spread if both are long."""
        up = next((range(i, index) for i in range(index - 1, -1, -1) if self._bound(i - 1) - self._bound(i) > 1), None)
        ends = (range(index, i + 1) for i in range(index, len(self._keys)) if self._bound(i) - self._bound(i + 1) > 1)
        down = next(ends, None)
        if min(len(run) for run in (up, down) if run is not None) > FAR:
            spread = self._spread(index)
            if spread:
                return spread
        if down is None or (up is not None and self._weigh(up, weight) <= self._weigh(down, weight)):
            assert up is not None, "the band has room, so one of the two sides has"
            return self._shift(up, 1)
        return self._shift(down, -1)

    def _spread(self, index: int) -> dict[K, int]:
        """Spread the smallest range around `index` whose density is at most half way from that of the whole band to 1.

        Leaves room at `index`. Returns nothing if only the whole list would do, when there is hardly any room.
        """
        size = self._highest - self._lowest + 1
        limit = (1 + (len(self._keys) + 1) / size) / 2
        reach = FAR
        while reach < 2 * len(self._keys):
            first, last = max(0, index - reach), min(len(self._keys), index + reach)
            above, below = self._bound(first - 1), self._bound(last)
            if last - first + 1 <= limit * (above - below - 1):
                moved = {}
                for place in range(first, last):
                    step = place - first + (2 if place >= index else 1)
                    moved[self._keys[place]] = above - step * (above - below) // (last - first + 2)
                moved = {key: priority for key, priority in moved.items() if self._at[key] != priority}
                self._at |= moved
                return moved
            reach *= 2
        return {}

    def _weigh(self, places: range, weight: Callable[[K], int]) -> int:
        return sum(weight(self._keys[place]) for place in places)

    def _shift(self, places: range, by: int) -> dict[K, int]:
        moved = {self._keys[place]: self._at[self._keys[place]] + by for place in places}
        self._at |= moved
        return moved
