"""What a hook holds of ours: as read back, plus the changes since; and the numbers in use there.

A fold of operations. It finds a free handle, the users of a chain and the filters of a chain without searching, so the
cost of changing one address does not depend on how much is held.
"""

from collections.abc import Iterable, Mapping

from sluice.dataplane.protocols import EthType
from sluice.dataplane.tc.filter import LAST, Ct, Drop, FilterKey, Goto, Standing, Standings
from sluice.dataplane.tc.operations import AddFilter, DeleteChain, DeleteFilter, Operation, ReplaceFilter, Settle
from sluice.dataplane.tc.owner import Place, chain, generation_of, is_our_chain, is_root, place_of


class Mirror:
    """Mutable."""

    def __init__(self, standings: Mapping[FilterKey, Standing] | None = None) -> None:
        self._filters: Standings = {}
        self._in_chain: dict[int, dict[FilterKey, None]] = {}
        self._users: dict[int, int] = {}
        """Number of filters that go to each chain."""

        self._last_handle: dict[tuple[int, int], int] = {}
        self._root: FilterKey | None = None
        for key, standing in (standings or {}).items():
            self._put(key, standing)

    @property
    def filters(self) -> Mapping[FilterKey, Standing]:
        return self._filters

    @property
    def root(self) -> Standing | None:
        return None if self._root is None else self._filters[self._root]

    @property
    def root_key(self) -> FilterKey | None:
        return self._root

    @property
    def generation(self) -> int | None:
        """The generation that packets go to; None if no root leads to one."""
        match self.root:
            case Standing(body) if body.actions and isinstance(body.actions[-1], Goto):
                target = body.actions[-1].chain
                return generation_of(target) if is_our_chain(target) and place_of(target) == Place.ENTRY else None
            case _:
                return None

    @property
    def epoch(self) -> int:
        """The epoch that new connections are marked with; 0 if they are not marked."""
        action = self._ct(Place.ACCEPT)
        return action.mark.value if action is not None and action.mark is not None else 0

    @property
    def zone(self) -> int | None:
        """The conntrack zone; None without tracking, or in the default zone."""
        action = self._ct(Place.ENTRY)
        return action.zone if action is not None else None

    @property
    def tagged(self) -> bool:
        """Whether frames with VLAN tags are inspected."""
        entry = () if self.generation is None else self.in_chain(chain(self.generation, Place.ENTRY))
        return any(key.protocol == EthType.VLAN for key in entry)

    @property
    def polices(self) -> bool:
        """Whether packets that are not allowed are dropped."""
        if self.generation is None:
            return False
        rest = self._filters.get(FilterKey(chain(self.generation, Place.CLASSES), LAST, EthType.ALL))
        return rest is not None and rest.body.actions == (Drop(),)

    @property
    def chains(self) -> tuple[int, ...]:
        """Our chains that hold filters; sorted."""
        return tuple(sorted(number for number in self._in_chain if is_our_chain(number)))

    def in_chain(self, number: int) -> Iterable[FilterKey]:
        return self._in_chain.get(number, {})

    def users(self, number: int) -> int:
        """Number of filters that go to the chain."""
        return self._users.get(number, 0)

    def free_handle(self, key: FilterKey) -> int:
        """A handle that no filter of this chain and preference has."""
        return self._last_handle.get((key.chain, key.pref), 0) + 1

    def apply(self, operations: Iterable[Operation]) -> None:
        """Record the operations as executed."""
        for operation in operations:
            match operation:
                case AddFilter(key, handle, body) | ReplaceFilter(key, handle, body):
                    self._drop(key)
                    self._put(key, Standing(body, handle))
                case DeleteFilter(key):
                    self._drop(key)
                case DeleteChain(number):
                    for key in list(self.in_chain(number)):
                        self._drop(key)
                case Settle():
                    pass

    def _put(self, key: FilterKey, standing: Standing) -> None:
        self._filters[key] = standing
        self._in_chain.setdefault(key.chain, {})[key] = None
        place = key.chain, key.pref
        self._last_handle[place] = max(self._last_handle.get(place, 0), standing.handle)
        if is_root(key):
            self._root = key
        for action in standing.body.actions:
            if isinstance(action, Goto):
                self._users[action.chain] = self._users.get(action.chain, 0) + 1

    def _drop(self, key: FilterKey) -> None:
        gone = self._filters.pop(key, None)
        if gone is None:
            return
        there = self._in_chain[key.chain]
        del there[key]
        if not there:
            del self._in_chain[key.chain]
        if key == self._root:
            self._root = None
        for action in gone.body.actions:
            if isinstance(action, Goto):
                self._users[action.chain] -= 1
                if not self._users[action.chain]:
                    del self._users[action.chain]

    def _ct(self, place: Place) -> Ct | None:
        if self.generation is None:
            return None
        for key in self.in_chain(chain(self.generation, place)):
            for action in self._filters[key].body.actions:
                if isinstance(action, Ct):
                    return action
        return None
