"""What the rules of a node decided, summed over all the flows that ever counted for them.

A flow counts from the moment it is added. Flows outlive the programmer but not the switch. So the last reading of each
flow is stored with the sums, and the next reading adds the difference.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct

from sluice.contracts.ids import Unit
from sluice.contracts.programs import Direction
from sluice.contracts.stats import RuleCount
from sluice.dataplane.ovs.ids import ISOLATION, RuleKey

ABSENT_KEPT = 10_000
"""How many sums to keep of rules that the node does not hold now: their Pods may return. The oldest are dropped."""


class Name(NamedTuple):
    """What people know a rule by. What it is applied to may change, which changes its id."""

    unit: Unit
    direction: Direction
    rule: int
    """Its index, or ISOLATION."""


class Sum(NamedTuple):
    sessions: int = 0
    packets: int = 0
    bytes: int = 0


class Reading(NamedTuple):
    """What one flow counted since it was added."""

    id: int
    """Id of its rule."""

    begins: bool
    """Whether it counts packets that begin a connection, and denied ones."""

    packets: int
    bytes: int


class CountsState(Struct, frozen=True, kw_only=True):
    """All that must survive a restart."""

    sums: tuple[tuple[Name, Sum], ...]
    seen: tuple[Reading, ...]


class Counts:
    """The sums. Mutable; `hold` says which rule the flows with an id count for."""

    def __init__(self, state: CountsState | None = None, held: Mapping[int, RuleKey] | None = None) -> None:
        self._sums: dict[Name, Sum] = dict(state.sums) if state else {}
        self._seen = {(one.id, one.begins): one for one in state.seen} if state else {}
        self._names = {number: name(key) for number, key in (held or {}).items()}
        self._holders: dict[Name, int] = {}
        """How many ids have the name: a rule has one for each group it is applied to."""

        for one in self._names.values():
            self._holders[one] = self._holders.get(one, 0) + 1
        self.changes = 0
        """Grows whenever `state` changes."""

    @property
    def held_ids(self) -> frozenset[int]:
        return frozenset(self._names)

    def state(self) -> CountsState:
        return CountsState(sums=tuple(self._sums.items()), seen=tuple(self._seen.values()))

    def hold(self, id: int, key: RuleKey) -> None:
        """From now on flows with this id count for this rule."""
        said = name(key)
        before = self._names.get(id)
        if before != said:
            if before is not None:
                self.let_go(id)
            self._names[id] = said
            self._holders[said] = self._holders.get(said, 0) + 1

    def let_go(self, id: int) -> None:
        """Flows with this id no longer exist; what was read last stays in the sum."""
        said = self._names.pop(id, None)
        self.begin(id)
        if said is not None:
            self._holders[said] -= 1
            if not self._holders[said]:
                del self._holders[said]
                self._sums[said] = self._sums.pop(said, Sum())  # now the last to be forgotten
                self._forget_oldest()

    def begin(self, id: int) -> None:
        """Flows with this id are added again, and count from 0."""
        for begins in (False, True):
            if self._seen.pop((id, begins), None) is not None:
                self.changes += 1

    def take(self, readings: Iterable[Reading]) -> None:
        """Add what was counted since the last reading."""
        for now in readings:
            before = self._seen.get((now.id, now.begins))
            said = self._names.get(now.id)
            if before == now or said is None:
                continue
            if before is None or now.packets < before.packets:  # the flow was added again behind our back
                before = Reading(now.id, now.begins, 0, 0)
            self._seen[now.id, now.begins] = now
            packets = now.packets - before.packets
            if packets:
                old = self._sums.get(said, Sum())
                self._sums[said] = Sum(
                    old.sessions + packets * now.begins, old.packets + packets, old.bytes + now.bytes - before.bytes
                )
            self.changes += 1

    def pass_over(self, readings: Iterable[Reading]) -> None:
        """Skip these readings: they are of rules that are unknown now, whichever rules have their ids."""
        for one in readings:
            self._seen[one.id, one.begins] = one
            self.changes += 1

    def rules(self, also: Collection[Name] = ()) -> Iterator[tuple[Name, Sum]]:
        """The sums of rules that the node holds, and of those in `also` that are known; sorted."""
        for said in sorted(self._holders.keys() | (set(also) & self._sums.keys())):
            yield said, self._sums.get(said, Sum())

    def counted(self, also: Collection[Name] = ()) -> tuple[RuleCount, ...]:
        """The sums as they are reported, without rules that never counted anything."""
        return tuple(
            RuleCount(
                unit=said.unit,
                direction=said.direction,
                rule=None if said.rule == ISOLATION else said.rule,
                **total._asdict(),
            )
            for said, total in self.rules(also)
            if total.packets
        )

    @property
    def held(self) -> frozenset[Name]:
        return frozenset(self._holders)

    def _forget_oldest(self) -> None:
        if len(self._sums) - len(self._holders) > ABSENT_KEPT:
            oldest = next((said for said in self._sums if said not in self._holders), None)
            if oldest is not None:
                del self._sums[oldest]


def name(key: RuleKey) -> Name:
    return Name(key.unit, key.direction, key.rule)
