"""Which accounts of an object are news: an implementation that forgets, against one that does not."""

from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.kinds import Kind
from sluice.grouping.events import Newest, ObjectEvent, ObjectKey

KEYS = [ObjectKey(Kind.POD, "x", name) for name in "abc"]
REVISIONS = st.builds(Revision, st.integers(1, 2), st.integers(1, 9))
STEPS = st.lists(st.tuples(st.sampled_from([*KEYS, None]), REVISIONS), max_size=40)


@given(STEPS)
def test_news_are_later_than_all_that_was_told(steps: list[tuple[ObjectKey | None, Revision]]) -> None:
    newest, floor = Newest(), NEVER
    seen: dict[ObjectKey, Revision] = {}
    for key, revision in steps:
        if key is None:
            newest.settle(revision)
            floor = max(floor, revision)
            continue
        known = max(seen.get(key, NEVER), floor)
        assert newest.is_news(key, revision) == (revision > known)
        seen[key] = max(known, revision)


@given(STEPS, STEPS)
def test_news_among_several_are_those_found_one_by_one(
    before: list[tuple[ObjectKey | None, Revision]], steps: list[tuple[ObjectKey | None, Revision]]
) -> None:
    together, singly = Newest(), Newest()
    for key, revision in before:
        for newest in (together, singly):
            if key is None:
                newest.settle(revision)
            else:
                newest.is_news(key, revision)
    told = [ObjectEvent(key, None, revision) for key, revision in steps if key is not None]

    assert together.news(told) == [one for one in told if singly.is_news(one.key, one.revision)]
    assert together.news(told) == []
