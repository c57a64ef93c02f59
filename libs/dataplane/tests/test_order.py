"""Priorities agree with the order, whatever comes and goes, and few of them move."""

from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.dataplane.ovs.order import BandFull, Order


def check(order: Order[int], lowest: int, highest: int) -> None:
    listed = [order[key] for key in sorted(order.priorities)]
    assert listed == sorted(set(listed), reverse=True)
    assert all(lowest <= priority <= highest for priority in listed)


@given(st.lists(st.tuples(st.sampled_from(["insert", "remove", "bulk"]), st.integers(0, 60))))
def test_the_least_key_has_the_highest_priority_after_every_step(steps):
    order: Order[int] = Order(1, 40)
    held: dict[int, int] = {}
    for what, key in steps:
        if what == "remove":
            if key in order:
                order.remove(key)
                del held[key]
        else:
            keys = [key] if what == "insert" else list(range(key, key + 5))
            try:
                held |= order.insert(key) if what == "insert" else order.insert_all(keys)
            except BandFull:
                assert len({*order.priorities, *keys}) > 40
                return
        check(order, 1, 40)
        assert dict(order.priorities) == held  # what moved was told


def test_a_band_can_be_filled_to_the_last_priority():
    order: Order[int] = Order(1, 100)
    keys = list(range(100))
    Random(7).shuffle(keys)
    for key in keys:
        order.insert(key)

    check(order, 1, 100)
    with pytest.raises(BandFull, match="merge rules, or move policies"):
        order.insert(1000)
    assert len(order) == 100


def test_only_the_lighter_side_moves():
    order: Order[int] = Order(1, 6)
    order.restore({10: 5, 20: 4, 30: 3, 40: 2})

    assert order.insert(15, weight=lambda key: 100 if key == 10 else 1) == {20: 3, 30: 2, 40: 1, 15: 4}
    order.remove(15)
    assert order.insert(15) == {15: 4}


def test_kept_priorities_that_disagree_with_the_order_are_left_out():
    order: Order[int] = Order(1, 9)
    order.restore({1: 8, 2: 9, 3: 4, 4: 77, 5: 1})

    assert dict(order.priorities) == {1: 8, 3: 4, 5: 1}


def test_a_dense_list_of_fifty_thousand_moves_few():
    order: Order[int] = Order(1, 65_000)
    order.insert_all(range(0, 500_000, 10))
    random = Random(1)

    moved = [len(order.insert(random.randrange(50_000) * 10 + 1)) for _ in range(1_000)]

    assert median(moved) <= 10
    check(order, 1, 65_000)


@pytest.mark.parametrize("step", [1, -1], ids=["ascending", "descending"])
def test_keys_that_come_in_order_one_by_one_move_few(step: int):
    """As policies do that are written one after the other; the middle of the last gap alone would soon be none."""
    order: Order[int] = Order(1, 65_000)

    moved = [len(order.insert(step * number)) for number in range(10_000)]

    assert sum(moved) / len(moved) < 50
    assert median(moved) < 50
    check(order, 1, 65_000)


@given(st.sets(st.integers(0, 300), max_size=120), st.lists(st.integers(0, 300), max_size=60))
def test_a_stretch_that_is_spread_keeps_the_order_and_tells_what_moved(bulk: set[int], single: list[int]):
    order: Order[int] = Order(1, 200)
    held = order.insert_all(sorted(bulk))
    for key in single:
        held |= order.insert(key)
        check(order, 1, 200)
    assert dict(order.priorities) == held
