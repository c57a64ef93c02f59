"""What a time names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.ledger.times import SECOND, span, written

NOON = 1_783_166_400 * SECOND
"""2026-07-04T12:00:00Z."""


@pytest.mark.parametrize(
    ("text", "first", "length"),
    [
        ("2026-07-04T12:00:00Z", 0, SECOND),
        ("2026-07-04T12:00:00.707Z", 707 * 10**6, 10**6),
        ("2026-07-04T12:00:00.707123Z", 707_123_000, 1_000),
        ("2026-07-04T12:00:00.707123456Z", 707_123_456, 1),
        ("2026-07-04T12:00:00.7071234567Z", 707_123_456, 1),
        ("2026-07-04T12:00:00,5Z", SECOND // 2, SECOND // 10),
        ("2026-07-04 12:00:00", 0, SECOND),
        ("20260704T120000Z", 0, SECOND),
        ("2026-07-04T14:00:00+02:00", 0, SECOND),
        ("2026-07-04T12:00", 0, 60 * SECOND),
        ("2026-07-04T12", 0, 3_600 * SECOND),
        ("2026-07-04", -43_200 * SECOND, 86_400 * SECOND),
    ],
)
def test_a_time_names_all_of_its_last_unit(text: str, first: int, length: int) -> None:
    assert span(text) == (NOON + first, NOON + first + length - 1)


@pytest.mark.parametrize("text", ["", "now", "12:00", "2026-13-01", "10m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        span(text)


@given(st.integers(0, 4 * 10**18))
def test_what_is_written_of_an_event_names_the_event(at_ns: int) -> None:
    found = span(written(at_ns))
    assert found.first <= at_ns <= found.last
    assert found.last - found.first == 10**6 - 1
