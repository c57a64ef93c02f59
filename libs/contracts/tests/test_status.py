"""A status fits into a message."""

import pytest

from sluice.contracts import codec
from sluice.contracts.ids import Unit
from sluice.contracts.status import CompilerStatus, Problem, fitting

MAX_PAYLOAD = 8 << 20


def problems(count: int, letters: int) -> tuple[Problem, ...]:
    return tuple(Problem(unit=Unit(f"u{number}"), state="failed", reason="x" * letters) for number in range(count))


@pytest.mark.parametrize(("count", "letters"), [(0, 0), (3, 10_000), (10_000, 100)])
def test_what_fits_stays_as_it_is(count: int, letters: int) -> None:
    assert fitting(problems(count, letters)) == problems(count, letters)


def test_of_too_much_each_reason_is_shortened() -> None:
    told = fitting((*problems(20_000, 1_000), *problems(1, 10)))

    assert len(codec.encode(CompilerStatus(shard=0, problems=told))) < MAX_PAYLOAD
    assert len(told) == 20_001
    assert {len(one.reason) for one in told} == {201, 10}
