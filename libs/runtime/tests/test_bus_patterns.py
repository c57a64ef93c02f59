from hypothesis import given
from hypothesis import strategies as st

from sluice.runtime.patterns import covering, covers

TOKENS = st.sampled_from(["a", "b", "c"])
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.tuples(st.lists(TOKENS | st.just("*"), min_size=0, max_size=4), st.sampled_from([[], [">"]])).map(
    lambda parts: ".".join(parts[0] + parts[1])
)


def obviously_covers(pattern: str, subject: str) -> bool:
    match pattern.split("."), subject.split("."):
        case [">"], [_, *_]:
            return True
        case [[], []]:
            return True
        case [first, *rest], [token, *tokens] if first in ("*", token):
            return obviously_covers(".".join(rest), ".".join(tokens)) if rest and tokens else not rest and not tokens
        case _:
            return False


@given(PATTERNS.filter(bool), SUBJECTS)
def test_covers(pattern, subject):
    assert covers(pattern, subject) == obviously_covers(pattern, subject)


@given(PATTERNS.filter(bool), SUBJECTS)
def test_covering_is_every_pattern_that_covers(pattern, subject):
    assert (pattern in set(covering(subject))) == covers(pattern, subject)


@given(SUBJECTS)
def test_covering_names_none_twice(subject):
    patterns = list(covering(subject))

    assert len(patterns) == len(set(patterns))
    assert patterns[0] == subject
