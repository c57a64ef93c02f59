"""Every scenario of tests/conformance, with real packets, in two labs side by side: a story is mostly waiting."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from tests.conformance.stories import called, read_once
from tests.e2e.explained import unexplained

from sluice.lab.lab import Lab
from sluice.lab.reading import Story
from sluice.lab.results import Outcome, lines_of
from sluice.lab.suite import play_side_by_side

LABS = 2

STORIES = read_once()

Outcomes = Mapping[str, asyncio.Future[Outcome]]

pytestmark = [pytest.mark.datapath, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(request: pytest.FixtureRequest) -> AsyncIterator[Outcomes]:
    """What will have come of each story that is asked for. They are played in order, while tests wait for theirs."""
    asked = [item.callspec.params["story"] for item in request.session.items if item.path == request.path]  # type: ignore[attr-defined]  # each has parameters
    coming: dict[tuple[str, str], asyncio.Future[Outcome]] = {
        (story.file, story.name): asyncio.get_running_loop().create_future() for story in asked
    }

    def told(outcome: Outcome) -> None:
        coming[outcome.file, outcome.name].set_result(outcome)

    async def play() -> None:
        try:
            await play_side_by_side(labs, asked, told, look=unexplained)
        except BaseException as error:
            for each in coming.values():
                if not each.done():
                    each.set_exception(AssertionError(f"the labs play no more: {error!r}"))
            raise

    async with AsyncExitStack() as stack:
        labs = [await stack.enter_async_context(await Lab.start()) for _ in range(min(LABS, len(asked)))]
        for lab in labs:
            await lab.realised()
        playing = asyncio.create_task(play(), name="conformance")
        yield {called(story): coming[story.file, story.name] for story in asked}
        if all(each.done() for each in coming.values()):
            await playing
        else:
            playing.cancel()  # the session ends before its time
            await asyncio.wait([playing])


@pytest.mark.parametrize("story", STORIES, ids=called)
async def test_scenario(story: Story, outcomes: Outcomes) -> None:
    """The packets get where they should, and whatever nodes hold and log then can be explained."""
    outcome = await outcomes[called(story)]

    assert outcome.ok, "\n" + lines_of(outcome, [])
    assert outcome.checks
