"""Several stories, one after the other, in one lab."""

from collections.abc import AsyncIterator, Sequence

from msgspec.structs import replace

from sluice.lab import offline
from sluice.lab import run as online
from sluice.lab.lab import Lab
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
) -> AsyncIterator[Outcome]:
    """What comes of each, as soon as it does. The lab may be missing if all are offline.

    Args:
        require_datapath: offline stories fail.
        keep_last: the objects of the last one stay in the lab.
        last: nothing follows in this lab, so look for ids of rules after the last one.
    """
    for number, story in enumerate(stories, start=1):
        if story.scenario.offline:
            outcome = offline.run(story)
            yield replace(outcome, ok=False, error=NO_PACKET) if require_datapath else outcome
        else:
            assert lab is not None
            final = all(later.scenario.offline for later in stories[number:])
            yield await online.run(lab, story, keep=keep_last and final, last=last and final)
