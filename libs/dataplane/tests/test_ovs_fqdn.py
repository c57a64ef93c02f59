"""Names: what DNS told whom, and for how long."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.ids import Address, Uid
from sluice.dataplane.dns.message import Told
from sluice.dataplane.ovs.fqdn import MAX_TTL_S, NODE, Bounds, Fact, Full, Names
from sluice.dataplane.ovs.fqdn_ahead import MAX_RETRY_S, RETRY_S, Ahead
from sluice.policy import fqdn
from sluice.testkit.examples import share

A, B = Uid("a"), Uid("b")
ONE, TWO = Address("192.0.2.1"), Address("192.0.2.2")
EXACT, WILD = "www.a.com", "*a.com"


def names(*patterns: str, bounds: Bounds = Bounds(min_ttl_s=0), closes: bool = False) -> Names:  # noqa: B008
    found = Names(bounds)
    for pattern in patterns:
        found.want(pattern, closes=closes)
    return found


def test_a_name_that_no_rule_is_about_is_not_kept():
    known = names(EXACT)
    known.learn(A, [Told("b.com", ONE, 60)], 0)

    assert not len(known)


def test_facts_are_of_every_pattern_and_of_whoever_was_told():
    known = names(EXACT, WILD)
    known.learn(A, [Told(EXACT, ONE, 60)], 0)
    known.learn(NODE, [Told("a.com", TWO, 60)], 0)

    assert known.facts == {Fact(EXACT, ONE, A), Fact(WILD, ONE, A), Fact(WILD, TWO, NODE)}


def test_what_is_told_lives_as_long_as_it_says_and_no_longer():
    known = names(WILD)
    known.learn(A, [Told("a.com", ONE, 60), Told("a.com", TWO, 30)], 100)

    known.expire(129.9)
    assert len(known) == 2
    assert known.next_end_s == 130
    known.expire(130)
    assert known.facts == {Fact(WILD, ONE, A)}
    known.expire(160)
    assert not known.facts
    assert known.next_end_s is None


def test_a_later_answer_prolongs_and_never_shortens():
    known = names(WILD)
    known.learn(A, [Told("a.com", ONE, 60)], 0)
    known.learn(A, [Told("a.com", ONE, 10)], 20)
    assert [each.until for each in known.state(20, 20).known] == [60]
    known.expire(59)
    assert known.facts
    known.learn(A, [Told("a.com", ONE, 60)], 59)
    known.expire(118)
    assert known.facts
    known.expire(119)
    assert not known.facts


def test_the_least_and_the_longest_life():
    known = names(WILD, bounds=Bounds(min_ttl_s=5))
    known.learn(A, [Told("a.com", ONE, 0), Told("b.a.com", TWO, 1 << 30)], 0)

    known.expire(4.9)
    assert len(known) == 2
    known.expire(5)
    assert len(known) == 1
    known.expire(MAX_TTL_S)
    assert not len(known)


def test_changes_are_told_once():
    known = names(WILD)
    known.learn(A, [Told("a.com", ONE, 60), Told("b.a.com", ONE, 30)], 0)
    assert list(known.drain()) == [(Fact(WILD, ONE, A), True)]

    known.expire(30)
    assert list(known.drain()) == []  # another name has the address
    known.expire(60)
    assert list(known.drain()) == [(Fact(WILD, ONE, A), False)]
    known.learn(A, [Told("a.com", ONE, 60)], 61)
    known.forget([A])
    assert list(known.drain()) == []


def test_a_pattern_that_comes_later_is_about_what_is_known():
    known = names(WILD)
    known.learn(A, [Told(EXACT, ONE, 60)], 0)

    known.want(EXACT, closes=False)
    assert known.facts == {Fact(EXACT, ONE, A), Fact(WILD, ONE, A)}
    known.unwant(WILD)
    assert known.facts == {Fact(EXACT, ONE, A)}


def test_a_pod_that_tells_too_much_forgets_its_own_oldest():
    known = names(WILD, bounds=Bounds(min_ttl_s=0, addresses_per_pod=2))
    known.learn(B, [Told("b.a.com", ONE, 60)], 0)
    for number in range(3):
        known.learn(A, [Told(f"{number}.a.com", Address(f"192.0.2.{number}"), 60)], 0)
        known.learn(A, [Told("0.a.com", Address("192.0.2.0"), 60)], 0)

    kept = {"192.0.2.0": A, "192.0.2.2": A, ONE: B}
    assert known.facts == {Fact(WILD, Address(text), holder) for text, holder in kept.items()}


def test_nothing_is_forgotten_where_that_would_open():
    known = names(WILD, bounds=Bounds(min_ttl_s=0, addresses_per_pod=2, addresses=3), closes=True)
    known.learn(A, [Told("1.a.com", ONE, 60), Told("2.a.com", TWO, 60)], 0)
    before = known.facts

    with pytest.raises(Full):
        known.learn(A, [Told("3.a.com", Address("192.0.2.3"), 60)], 0)
    with pytest.raises(Full):
        known.learn(B, [Told("3.a.com", Address(f"192.0.2.{number}"), 60) for number in (3, 4)], 0)

    assert known.facts == before
    known.learn(A, [Told("1.a.com", ONE, 90)], 0)


def test_what_was_kept_is_there_again_and_what_ended_meanwhile_is_not():
    known = names(WILD)
    known.learn(A, [Told("a.com", ONE, 60), Told("a.com", TWO, 10)], 1000)
    state = known.state(1000, unix_s=5000)

    again = Names()
    again.restore(state, 3, unix_s=5030)
    again.want(WILD, closes=False)

    assert again.facts == {Fact(WILD, ONE, A)}
    again.expire(32.9)
    assert again.facts
    again.expire(33.1)
    assert not again.facts


def test_many_that_come_and_go_leave_nothing_behind():
    known = names(WILD, bounds=Bounds(addresses_per_pod=10))
    for number in range(1000):
        known.learn(A, [Told(f"{number}.a.com", ONE, 3600)], 0)

    assert (len(known), len(known._of_name), len(known._patterns)) == (10, 10, 10)
    assert len(known._ends) < 200


NAMES, PATTERNS = ("a.com", EXACT, "b.org"), ("a.com", EXACT, WILD, "*", "b.*")
STEPS = st.one_of(
    st.tuples(st.just("want"), st.sampled_from(PATTERNS)),
    st.tuples(st.just("unwant"), st.sampled_from(PATTERNS)),
    st.tuples(
        st.just("learn"),
        st.sampled_from((A, B, NODE)),
        st.builds(Told, st.sampled_from(NAMES), st.sampled_from((ONE, TWO)), st.integers(0, 3)),
    ),
    st.tuples(st.just("forget"), st.sampled_from((A, B, NODE))),
    st.tuples(st.just("pass"), st.integers(1, 2)),
    st.tuples(st.just("restart")),
)


@share(100)
@given(st.lists(STEPS, max_size=30))
def test_facts_are_what_a_plain_list_says(steps: list[tuple[Any, ...]]):
    known, now, wanted = Names(Bounds(min_ttl_s=0)), 0, set[str]()
    plain: dict[tuple[str, Address, Uid], int] = {}
    switch: set[Fact] = set()
    for what, *args in steps:
        match what:
            case "want":
                wanted |= set(args)
                known.want(*args, closes=False)
            case "unwant":
                wanted -= set(args)
                known.unwant(*args)
            case "learn":
                holder, told = args
                known.learn(holder, [told], now)
                if any(fqdn.is_name(pattern, told.name) for pattern in wanted) or told.name in {
                    name for name, _, _ in plain
                }:
                    key = told.name, told.address, holder
                    plain[key] = max(plain.get(key, 0), now + told.ttl_s)
            case "forget":
                known.forget(args)
                plain = {key: until for key, until in plain.items() if key[2] != args[0]}
            case "pass":
                now += args[0]
            case "restart":
                state, known, switch = known.state(now, now), Names(Bounds(min_ttl_s=0)), set()
                known.restore(state, now, now)
                for pattern in wanted:
                    known.want(pattern, closes=False)
        known.expire(now)
        plain = {key: until for key, until in plain.items() if until > now}
        for fact, true in known.drain():
            (switch.add if true else switch.remove)(fact)
        assert switch == {
            Fact(pattern, address, holder)
            for name, address, holder in plain
            for pattern in wanted
            if fqdn.is_name(pattern, name)
        }


def test_names_are_asked_for_at_once_and_again_before_they_end():
    ahead = Ahead()
    ahead.want("a.com", 0)
    assert ahead.due(0) == ["a.com"]
    assert ahead.next_s == float("inf") or ahead.next_s is None
    ahead.told("a.com", 60, 1)
    assert ahead.next_s == 31
    assert ahead.due(30) == []
    assert ahead.due(31) == ["a.com"]


def test_failures_are_tried_again_more_and_more_seldom():
    ahead, now, waits = Ahead(), 0.0, list[float]()
    ahead.want("a.com", now)
    for _ in range(9):
        assert ahead.due(now) == ["a.com"]
        ahead.failed("a.com", now)
        assert ahead.next_s is not None
        waits.append(ahead.next_s - now)
        now = ahead.next_s

    assert waits[:3] == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S]
    assert waits[-1] == MAX_RETRY_S


def test_a_name_that_nobody_wants_any_more_is_not_asked_for():
    ahead = Ahead()
    ahead.want("a.com", 0)
    assert ahead.due(0) == ["a.com"]
    ahead.unwant("a.com")
    ahead.told("a.com", 60, 1)

    assert ahead.next_s is None
    assert ahead.due(1e9) == []
