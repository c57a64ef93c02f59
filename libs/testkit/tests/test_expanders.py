from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.grouping.events import ObjectEvent, ObjectKey
from sluice.testkit.builders import namespace, pod
from sluice.testkit.expanders import expand, outcome, split, squashed, story
from sluice.testkit.strategies import stories

X = ObjectKey(Kind.NAMESPACE, "", "x")


def test_a_story_numbers_its_steps() -> None:
    assert story(namespace("x"), X) == [
        ObjectEvent(X, namespace("x"), Revision(1, 1)),
        ObjectEvent(X, None, Revision(1, 2)),
    ]


def test_a_replacement_splits_into_an_end_and_a_beginning() -> None:
    told = split(story(namespace("x"), namespace("x", a="b"), X, namespace("x")))

    assert [event.object for event in told] == [namespace("x"), None, namespace("x", a="b"), None, namespace("x")]
    assert [event.revision.sequence for event in told] == [2, 3, 4, 6, 8]


def test_squashing_keeps_the_end_of_each_object() -> None:
    told = squashed(story(namespace("x"), pod("x/a"), X, pod("x/a", app="b")))

    assert [event.object for event in told] == [None, pod("x/a", app="b")]


@given(stories(), st.integers(0, 9))
def test_every_way_to_tell_it_ends_the_same(events: list[ObjectEvent], seed: int) -> None:
    expected = {key: event.object for key, event in outcome(events).items()}

    for name, told in expand(events, seed=seed):
        assert {key: event.object for key, event in outcome(told).items()} == expected, name


def test_equal_seeds_tell_equally() -> None:
    events = story(*(pod(f"x/p{number}") for number in range(20)))

    assert list(expand(events, seed=1)) == list(expand(events, seed=1))
    assert dict(expand(events, seed=1))["shuffled"] != dict(expand(events, seed=2))["shuffled"]
