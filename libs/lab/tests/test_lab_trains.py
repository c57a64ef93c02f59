"""Trains of packets: one answer for all of them, and when they and their receivers are asked once more."""

from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

import pytest

from sluice.contracts.ids import Address
from sluice.lab import trains
from sluice.lab.capture.counting import Count, Ends
from sluice.lab.checks import Got, Question
from sluice.lab.probers import Result
from sluice.lab.receiving import Receiver

WANTED = Receiver(on="collector", packets=4)


def question(packets: int, expect: Got = "Allowed") -> Question:
    return Question(
        kind="probe",
        from_="x/a",
        to="x/b",
        what="UDP 53",
        expect=expect,  # type: ignore[arg-type]  # never an Error
        protocol="UDP",
        source=Address("10.0.0.1"),
        address=Address("10.0.0.2"),
        port=53,
        packets=packets,
    )


class Stage:
    """A lab whose packets and receivers have a fate that was written down, one for each time they are asked."""

    def __init__(self, answers: Sequence[Sequence[Got]], counted: Sequence[int] = ()) -> None:
        self._answers, self._counted = iter(answers), iter(counted)
        self.asked = 0
        self.equipment = self

    async def ask(self, questions: Sequence[Question], *, tries: int = 2, try_s: float = 0.25) -> list[Result]:
        if not questions:
            return []
        self.asked += 1
        return [Result(got) for got in next(self._answers)]

    def capture(self, asked: Sequence[tuple[Receiver, Ends]]) -> "Stage":
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def counts(self) -> list[Count]:
        return [Count(WANTED, next(self._counted))]

    def seen(self, wanted: Receiver, names: object) -> str:
        return "all sorts"


@pytest.mark.parametrize(
    ("answers", "result"),
    [
        (["Allowed"] * 4, Result("Allowed")),
        (["Dropped"] * 4, Result("Dropped")),
        (["Allowed", "Dropped", "Allowed", "Allowed"], Result("Error", "3 Allowed, 1 Dropped")),
    ],
)
async def test_a_train_has_one_answer(answers: list[Got], result: Result) -> None:
    stage = Stage([answers])

    assert await trains.ask(stage, [question(4)]) == [result]  # type: ignore[arg-type]  # as much of a lab as is asked


class Case(NamedTuple):
    name: str
    answers: list[list[Got]]
    counted: list[int]
    ok: bool


GOOD: list[Got] = ["Allowed"] * 4
LOST: list[Got] = ["Allowed", "Allowed", "Allowed", "Dropped"]

CASES = [
    Case("all is well", [GOOD], [4], True),
    Case("a copy got lost", [GOOD, GOOD], [3, 4], True),
    Case("an answer got lost", [LOST, GOOD], [4, 4], True),
    Case("one too many at once", [GOOD], [5], False),
    Case("what was late comes later", [GOOD, GOOD, GOOD], [3, 5, 4], True),
    Case("it is always one too few", [GOOD, GOOD, GOOD], [3, 3, 3], False),
    Case("it is always one too many", [GOOD, GOOD, GOOD], [3, 5, 5], False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_when_it_is_asked_once_more(case: Case) -> None:
    stage = Stage(case.answers, case.counted)

    results, counts = await trains.ask_and_count(stage, [question(4)], [(WANTED, Ends())], {})  # type: ignore[arg-type]  # as above

    assert stage.asked == len(case.answers)
    assert [count.ok for count, _ in counts] == [case.ok]
    assert [told for _, told in counts] == ["" if case.ok else "it heard all sorts"]
    assert len(results) == 1


async def test_what_should_not_be_answered_is_never_asked_again() -> None:
    stage = Stage([["Dropped"] * 4], [4])

    results, _ = await trains.ask_and_count(stage, [question(4, "Dropped")], [(WANTED, Ends())], {})  # type: ignore[arg-type]  # as above

    assert stage.asked == 1
    assert results == [Result("Dropped")]
