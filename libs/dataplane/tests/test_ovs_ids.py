"""Ids are unique, stay with their rule, outlive a restart, and come back late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec
from sluice.contracts.ids import GroupId, Unit
from sluice.contracts.programs import Direction
from sluice.dataplane.ovs.ids import (
    GENERATIONS,
    LANES,
    SLOTS,
    CapacityExceeded,
    NotRestorable,
    RuleIds,
    RuleIdsState,
    RuleKey,
    Slot,
)


def key(number: int) -> RuleKey:
    return RuleKey(Unit("k8snetworkpolicies:x:p"), GroupId("g"), Direction.INGRESS, number)


@given(st.lists(st.tuples(st.sampled_from(["allocate", "release", "restart"]), st.integers(0, 9)), max_size=60))
def test_no_two_rules_ever_had_one_id(steps: list[tuple[str, int]]):
    ids = RuleIds()
    live: dict[RuleKey, int] = {}
    used: dict[int, RuleKey] = {}
    for what, number in steps:
        match what:
            case "allocate":
                fresh = key(number) not in live
                id_ = ids.allocate(key(number))
                assert live.setdefault(key(number), id_) == id_
                assert not (fresh and id_ in used)
                used[id_] = key(number)
            case "release":
                ids.release(key(number))
                live.pop(key(number), None)
            case _:
                ids = RuleIds.restore(codec.decode(codec.encode(ids.state()), RuleIdsState))
        assert set(ids) == set(live)
        assert all(ids.key(id_) == (one if live.get(one) == id_ else None) for id_, one in used.items())


def test_slots_stay_few_so_that_rules_share_lanes():
    ids = RuleIds(rules_per_lane=2)
    for number in range(50):
        ids.allocate(key(number))
        ids.release(key(number - 2))

    assert {ids.lane(ids.allocate(one)) for one in ids} <= {0, 1}


def test_an_id_comes_back_after_as_many_as_there_are_generations():
    ids = RuleIds()
    first = ids.allocate(key(0))
    for number in range(1, GENERATIONS):
        ids.release(key(number - 1))
        assert ids.allocate(key(number)) != first
    ids.release(key(GENERATIONS - 1))

    assert ids.allocate(key(0)) == first


def test_every_id_fits_a_register_and_none_is_zero():
    ids = RuleIds.restore(RuleIdsState(last=1, slots=(Slot(1, GENERATIONS - 2),)))

    assert ids.allocate(key(0)) == (GENERATIONS - 1) << 22 | 1 < 1 << 32
    assert ids.allocate(key(1)) == 2


def test_there_are_as_many_rules_as_lanes_have_room_for():
    ids = RuleIds(rules_per_lane=1)
    for number in range(LANES):
        ids.allocate(key(number))

    with pytest.raises(CapacityExceeded, match="this node has 4096 rules"):
        ids.allocate(key(LANES))
    assert ids.key(ids.allocate(key(7))) == key(7)


BROKEN = [
    ("a slot twice", RuleIdsState(last=1, slots=(Slot(1, 0, key(1)), Slot(1, 1, key(2))))),
    ("a rule twice", RuleIdsState(last=2, slots=(Slot(1, 0, key(1)), Slot(2, 0, key(1))))),
    ("slot 0", RuleIdsState(last=1, slots=(Slot(0, 0, key(1)),))),
    ("a slot beyond the last", RuleIdsState(last=1, slots=(Slot(2, 0, key(1)),))),
    ("more slots than bits", RuleIdsState(last=SLOTS, slots=(Slot(1, 0, key(1)),))),
    ("a generation beyond its bits", RuleIdsState(last=1, slots=(Slot(1, GENERATIONS, key(1)),))),
]


@pytest.mark.parametrize("state", [state for _, state in BROKEN], ids=[name for name, _ in BROKEN])
def test_a_state_that_cannot_be_is_refused(state: RuleIdsState):
    with pytest.raises(NotRestorable, match="delete the file"):
        RuleIds.restore(state)
