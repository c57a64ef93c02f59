"""What nodes tell of TrafficControls on STATS, beside what receivers counted."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

from nats.aio.msg import Msg

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NodeName
from sluice.contracts.stats import NodeStats
from sluice.lab import trains
from sluice.lab.capture.counting import Ends
from sluice.lab.checks import Question
from sluice.lab.lab import Lab
from sluice.lab.receiving import Receiver

TOLD_S = 15.0
"""In which what a receiver counted has to be told; nodes read twice a second if they are told to."""

ATTEMPTS = 3

Sums = Counter[tuple[str, str]]
"""Packets by name of the TrafficControl, and by what became of them."""


class Told:
    """The last that each node said."""

    def __init__(self) -> None:
        self._of: dict[NodeName, Sums] = {}
        self._news = asyncio.Event()

    async def take(self, message: Msg) -> None:
        stats = codec.decode(message.data, NodeStats)
        self._of[stats.node] = Counter(
            {
                (subjects.unit_parts(one.unit)[2], became): getattr(one, became)
                for one in stats.traffic
                for became in ("mirrored", "redirected", "dropped")
            }
        )
        self._news.set()

    @property
    def sums(self) -> Sums:
        """Of all nodes."""
        return sum(self._of.values(), Counter())

    async def settled(self) -> Sums:
        """Once nothing has been told for a while."""
        with suppress(TimeoutError):
            while True:
                self._news.clear()
                await asyncio.wait_for(self._news.wait(), 2.5)
        return self.sums

    async def becomes(self, wanted: Sums) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(TOLD_S):
                while self.sums != wanted:
                    self._news.clear()
                    await self._news.wait()
        return self.sums == wanted


async def differs(
    lab: Lab, told: Told, asked: Sequence[Question], receivers: Mapping[tuple[str, str], Receiver]
) -> str:
    """Where nodes tell something else than receivers count, of packets like these; empty if they agree.

    Args:
        receivers: who hears what becomes of packets because of a TrafficControl.
    """
    said = ""
    for _ in range(ATTEMPTS):  # what gets lost between the switch and a receiver is counted by one of them
        before = await told.settled()
        async with lab.equipment.capture([(receiver, Ends()) for receiver in receivers.values()]) as capture:
            await trains.ask(lab, asked, once=True)
            counts = await capture.counts()
        heard = Counter({key: count.got for key, count in zip(receivers, counts, strict=True)})
        if all(heard.values()) and await told.becomes(before + heard):
            return ""
        said = f"receivers counted {heard}, nodes {told.sums - before}"
    return said
