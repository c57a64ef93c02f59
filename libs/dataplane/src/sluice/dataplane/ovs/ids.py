"""Rule ids: the numbers that stand for rules in the switch.

An id is a rule's conj_id, the number in its flows' cookies, and what the connection tracker stores about the rule that
let a connection in. It consists of a slot and the number of times that slot was assigned before:

    bits 31..22  generation   bits 21..0  slot, from 1

There are few slots, so that rules can be packed into lanes by slot. The generation distinguishes successive rules in
one slot: an id in an old flow or connection names no later rule, until the slot has been assigned 1,024 times.

A *lane* is a set of rules whose clauses share a priority. A flow lists all rules that share its match, with one
conjunction action of 16 bytes each, and an OpenFlow message is limited to 64 KiB, so one flow can list about four
thousand rules. Lanes are a quarter of that, which also limits what is rewritten when a rule comes or goes.
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from msgspec import Struct

from sluice.contracts.ids import GroupId, Unit
from sluice.contracts.programs import Direction
from sluice.dataplane.ovs.numbers import Numbers
from sluice.dataplane.ovs.priorities import Placed, Priorities

SLOT_BITS = 22
SLOTS = 1 << SLOT_BITS
GENERATIONS = 1 << (32 - SLOT_BITS)
RULES_PER_LANE = 1024
LANES = SLOTS // RULES_PER_LANE
ISOLATION = -1
"""In place of a rule's index: the isolation of members, which drops what no rule allows."""


class CapacityExceeded(ValueError):
    """There are more rules than ids."""


class NotRestorable(ValueError):
    """A saved state that is invalid."""


class RuleKey(NamedTuple):
    """What an id stands for. A flow that several rules share names the one with the least key."""

    unit: Unit
    applied_to: GroupId
    direction: Direction
    rule: int
    """Its index in the program, or `ISOLATION`."""


class Slot(Struct, frozen=True, array_like=True):
    """A slot and its use."""

    number: int
    generation: int
    """That of the slot's latest id."""

    key: RuleKey | None = None
    """The rule that has the slot; unset while it is free."""


class RuleIdsState(Struct, frozen=True, kw_only=True):
    """What must survive a restart for the numbers to stay the same."""

    last: int
    """The highest slot that was ever assigned."""

    slots: tuple[Slot, ...]
    placed: tuple[Placed, ...] = ()
    """Priorities of ordered rules."""

    service_ports: dict[str, int] = {}
    endpoints: dict[str, int] = {}
    """Numbers of Service ports, and of endpoints of Services."""

    traffic: dict[str, int] = {}
    """Numbers of TrafficControls, and of sets of them."""


class RuleIds:
    """The numbers that rules have on this node: ids, and priorities of ordered rules.

    Mutable. The numbers depend on history; nothing else does.
    """

    def __init__(self, rules_per_lane: int = RULES_PER_LANE) -> None:
        self.priorities: Priorities[RuleKey] = Priorities()
        self.service_ports, self.endpoints, self.traffic = Numbers(), Numbers(), Numbers()
        self._changes = 0
        self._rules_per_lane = rules_per_lane
        self._ids: dict[RuleKey, int] = {}
        self._keys: dict[int, RuleKey] = {}
        self._generations: dict[int, int] = {}
        self._last = 0
        self._free: list[int] = []

    @classmethod
    def restore(cls, state: RuleIdsState, rules_per_lane: int = RULES_PER_LANE) -> "RuleIds":
        """The ids as they were saved.

        Raises:
            NotRestorable: the message says why.
        """
        ids = cls(rules_per_lane)
        ids._last = state.last
        for slot in state.slots:
            fits = 0 < slot.number < SLOTS and 0 <= slot.generation < GENERATIONS and state.last < SLOTS
            if not fits or slot.number in ids._generations or slot.key in ids._ids:
                raise NotRestorable(f"rule ids: {slot}: out of range, or there twice; delete the file that holds it")
            ids._generations[slot.number] = slot.generation
            if slot.key is not None:
                ids._keys[slot.number] = slot.key
                ids._ids[slot.key] = _id(slot.number, slot.generation)
        if any(number > state.last for number in ids._keys):
            raise NotRestorable(f"rule ids: a slot in use is above {state.last}; delete the file that holds it")
        ids.priorities.restore(state.placed)
        ids.service_ports, ids.endpoints = Numbers(state.service_ports), Numbers(state.endpoints)
        ids.traffic = Numbers(state.traffic)
        ids._free = [number for number in range(1, state.last + 1) if number not in ids._keys]
        return ids

    @property
    def changes(self) -> int:
        """Grows whenever `state` may have changed. `state` is expensive, so check this first."""
        numbers = self.service_ports, self.endpoints, self.traffic
        return self._changes + self.priorities.changes + sum(each.changes for each in numbers)

    def state(self) -> RuleIdsState:
        slots = sorted(self._generations.items())
        return RuleIdsState(
            last=self._last,
            slots=tuple(Slot(number, age, self._keys.get(number)) for number, age in slots),
            placed=self.priorities.state(),
            service_ports=self.service_ports.state(),
            endpoints=self.endpoints.state(),
            traffic=self.traffic.state(),
        )

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[RuleKey]:
        """The rules that have an id."""
        return iter(self._ids)

    def allocate(self, key: RuleKey) -> int:
        """The rule's id, 1..2^32-1: its current one, or else a new one in the lowest free slot.

        Raises:
            CapacityExceeded: there are more rules than slots, or than lanes have room for.
        """
        number = self._ids.get(key)
        if number is None:
            slot = self._free[0] if self._free else self._last + 1
            if slot >= SLOTS or (slot - 1) // self._rules_per_lane >= LANES:
                raise CapacityExceeded(
                    f"this node has {len(self._ids)} rules, which is the maximum; merge rules, or spread the "
                    "Pods they apply to over more nodes"
                )
            if self._free:
                heappop(self._free)
            else:
                self._last = slot
            self._changes += 1
            self._generations[slot] = (self._generations.get(slot, -1) + 1) % GENERATIONS
            self._keys[slot] = key
            number = self._ids[key] = _id(slot, self._generations[slot])
        return number

    def key(self, id: int) -> RuleKey | None:
        """The rule that has this id, as found in a flow, a ct_label or a log line; None if no rule has it now."""
        key = self._keys.get(_slot(id))
        return key if key is not None and self._ids[key] == id else None

    def release(self, key: RuleKey) -> None:
        """Free the rule's id, if it has one."""
        number = self._ids.pop(key, None)
        if number is not None:
            self._changes += 1
            del self._keys[_slot(number)]
            heappush(self._free, _slot(number))

    def lane(self, id: int) -> int:
        """The rule's lane, 0..LANES-1."""
        return (_slot(id) - 1) // self._rules_per_lane


def _id(slot: int, generation: int) -> int:
    return generation << SLOT_BITS | slot


def _slot(id: int) -> int:
    return id & (SLOTS - 1)
