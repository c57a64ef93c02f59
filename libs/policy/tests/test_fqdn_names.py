"""Which names a pattern matches: as a regular expression would say, but in no time."""

import re

from hypothesis import given
from hypothesis import strategies as st

from sluice.policy.fqdn import is_name

PATTERNS = st.text("ab.*", max_size=10)
NAMES = st.text("ab.", max_size=12)


@given(PATTERNS, NAMES)
def test_a_star_is_any_number_of_characters(pattern: str, name: str) -> None:
    meant = re.compile(".*".join(map(re.escape, re.split(r"\*+", pattern))))

    assert is_name(pattern, name) is (meant.fullmatch(name.removesuffix(".")) is not None)


def test_many_stars_take_no_time() -> None:
    """Whoever writes the policy, and whoever answers the query, could stop the node for hours."""
    assert not is_name("*a" * 100 + "*b", "a" * 253)
    assert is_name("*a" * 100 + "*", "a" * 253)
