"""Scenarios about groups and Namespaces once more, with real packets: their objects come in any order, few at a time.

What holds in the end depends on what there is, and not on the order in which it was told: a group after the policy
that names it, a Namespace after its Pods, labels before or after whom they are about.
"""

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from sluice.lab import reading
from sluice.lab.lab import Lab
from sluice.lab.reading import Story, Told
from sluice.lab.results import lines_of
from sluice.lab.scenario import Step
from sluice.lab.suite import play

SEEDS = Path(__file__).parents[1] / "conformance" / "seeds"
NAMES = (
    "acnp-with-cluster-groups",
    "annp-with-groups",
    "deny-self-ns-a-to-b",
    "isolation-based-on-org",
    "isolation-based-on-org-and-env",
    "strict-ns-isolation",
    "test-cg-nested",
    "test-cg-sel",
    "test-cg-svc-ref",
    "test-grp-nested",
)
AT_ONCE = 4
"""Objects that come in one change."""

pytestmark = [pytest.mark.datapath, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


def shuffled(story: Story, chance: random.Random) -> Story:
    """The story with its objects in another order, a few in each step; what is asked is asked when all are there."""
    first = Told(name="who is there", step=Step(), apply=story.objects, denied=())
    steps = tuple(step for told in (first, *story.steps) for step in _piecewise(told, chance))
    return replace(story, objects=(), steps=steps)


def _piecewise(told: Told, chance: random.Random) -> Iterator[Told]:
    documents = list(told.apply)
    chance.shuffle(documents)
    if told.step.delete:
        yield Told(name=f"{told.name}: what goes", step=Step(delete=told.step.delete), apply=(), denied=())
    for first in range(0, len(documents), AT_ONCE):
        some = tuple(documents[first : first + AT_ONCE])
        yield Told(name=f"{told.name}: from {first}", step=Step(), apply=some, denied=())
    yield replace(told, step=replace(told.step, delete=()), apply=())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[Lab]:
    async with await Lab.start() as running:
        await running.realised()
        yield running


@pytest.mark.parametrize("name", NAMES)
async def test_the_order_of_events_does_not_matter(name: str, lab: Lab) -> None:
    (story,) = reading.read([SEEDS / f"{name}.yaml"])

    async for outcome in play(lab, [shuffled(story, random.Random(name))], last=False):
        assert outcome.ok, "\n" + lines_of(outcome, [])
        assert outcome.checks
