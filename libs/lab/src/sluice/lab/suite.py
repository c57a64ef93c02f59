"""Several stories: one after the other in one lab, or side by side in several."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec.structs import replace

from sluice.lab import offline
from sluice.lab import run as online
from sluice.lab.lab import Lab
from sluice.lab.leftovers import ids_left
from sluice.lab.reading import Story
from sluice.lab.results import Outcome

NO_PACKET = "--require-datapath: the scenario asks for verdict() alone (annotation lab.sluice.dev/offline)"


async def play(
    lab: Lab | None,
    stories: Sequence[Story],
    *,
    require_datapath: bool = False,
    keep_last: bool = False,
    last: bool = True,
    look: online.Look | None = None,
) -> AsyncIterator[Outcome]:
    """The outcome of each story, as soon as it is known. The lab may be None if all are offline.

    Args:
        require_datapath: offline stories fail.
        keep_last: the objects of the last story stay in the lab.
        last: nothing follows in this lab, so check for leftover rule ids after the last story.
        look: called to find problems while the objects of a story still exist.
    """
    for number, story in enumerate(stories, start=1):
        if story.scenario.offline:
            outcome = offline.run(story)
            yield replace(outcome, ok=False, error=NO_PACKET) if require_datapath else outcome
        else:
            assert lab is not None
            final = all(later.scenario.offline for later in stories[number:])
            yield await online.run(lab, story, keep=keep_last and final, last=last and final, look=look)


async def play_side_by_side(
    labs: Sequence[Lab],
    stories: Sequence[Story],
    told: Callable[[Outcome], None],
    *,
    require_datapath: bool = False,
    look: online.Look | None = None,
) -> list[Outcome]:
    """The outcomes, in the order of the stories. Stories mostly wait: two labs need little more CPU than one.

    Args:
        told: called with each outcome as soon as it is known, in no order.
        require_datapath: offline stories fail.
        look: called to find problems while the objects of a story still exist.
    """
    waiting = deque(enumerate(stories))
    done: dict[int, Outcome] = {}

    async def work(lab: Lab) -> None:
        number = -1
        while waiting:
            if number >= 0:
                told(done[number])
            number, story = waiting.popleft()
            playing = play(lab, [story], require_datapath=require_datapath, last=False, look=look)
            (done[number],) = [outcome async for outcome in playing]
        if number >= 0:
            left = [f"left behind: {what}" for what in await ids_left(lab)]
            if left:
                error = "\n".join(filter(None, [done[number].error, *left]))
                done[number] = replace(done[number], ok=False, error=error)
            told(done[number])

    async with asyncio.TaskGroup() as tasks:
        for lab in labs:
            tasks.create_task(work(lab), name=f"play-{lab.name}")
    return [done[number] for number in range(len(stories))]
