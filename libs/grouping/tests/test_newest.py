"""Which accounts of an object are news: an implementation that forgets, against one that does not."""

from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.kinds import Kind
from sluice.grouping.events import Newest, ObjectKey

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
