"""Every scenario of tests/conformance, with real packets, all in one lab."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.e2e.explained import unexplained

from sluice.lab import reading
from sluice.lab.lab import Lab
from sluice.lab.leftovers import ids_left
from sluice.lab.reading import Story
from sluice.lab.results import lines_of
from sluice.lab.suite import play

CONFORMANCE = Path(__file__).parents[1] / "conformance"

STORIES = reading.read([CONFORMANCE])

pytestmark = [pytest.mark.datapath, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with await Lab.start() as running:
        await running.realised()
        yield running
        assert await ids_left(running) == []


@pytest.mark.parametrize("story", STORIES, ids=lambda story: f"{Path(story.file).parent.name}/{story.name}")
async def test_scenario(story: Story, lab: Lab) -> None:
    """The packets get where they should, and whatever nodes hold and log then can be explained."""
    async for outcome in play(lab, [story], last=False, look=unexplained):
        assert outcome.ok, "\n" + lines_of(outcome, [])
        assert outcome.checks
