"""When the loop of a programmer goes round."""

from time import monotonic

from sluice.runtime.rounds import Rounds

LONG_S = 3_600.0


async def test_news_begins_a_round_and_only_one() -> None:
    rounds = Rounds(LONG_S)
    rounds.wake()
    rounds.wake()

    assert rounds.due
    assert not await rounds.next(monotonic() + LONG_S)
    assert not rounds.due


async def test_a_deadline_begins_a_round_that_reads_nothing_back() -> None:
    rounds = Rounds(LONG_S)

    assert not await rounds.next(None, monotonic(), monotonic() + LONG_S)


async def test_a_retry_begins_a_round() -> None:
    rounds = Rounds(LONG_S)
    rounds.wake_in(0.0)

    assert not await rounds.next()


async def test_when_the_resync_is_due_everything_is_read_back() -> None:
    assert await Rounds(0.0).next(None)
