"""Feeds a node's fold from the bus: the subjects that it asks for, in order of arrival.

The node programmers differ in what they make of programs and pages, but not in how they read them.
"""

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Protocol

import structlog

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Revision
from sluice.runtime.bus import Bus
from sluice.runtime.interest import Answered, Interest, Restarted
from sluice.runtime.message import Message

log = structlog.get_logger()


class Fold(Protocol):
    """A node's state, folded from what it reads; each fold is built around `dataplane.view.View`."""

    def take(self, subject: str, body: bytes, cause: Revision, now_s: float) -> None:
        """Take in a stored value.

        Raises:
            codec.Undecodable, subjects.BadSubject: nothing was changed.
        """

    def answered(self, patterns: Iterable[str]) -> None:
        """Everything stored on these patterns has been received."""

    def restarted(self) -> None:
        """A stream was recreated: everything will be received again."""

    def interests(self) -> tuple[Iterable[str], Iterable[str]]:
        """Changes since the last call: patterns to stop reading, then patterns to start reading."""


class Feed:
    """Reads for one fold."""

    def __init__(self, bus: Bus, fold: Fold, *, resync_s: float, told: Callable[[], None]) -> None:
        """Nothing is read before `run`.

        Args:
            resync_s: seconds between full re-reads.
            told: called after each event.
        """
        self._bus, self._fold, self._told = bus, fold, told
        self._interest = Interest(bus, resync_s=resync_s)

    @property
    def sound(self) -> bool:
        """Whether the connection is up and nothing received is in doubt."""
        return self._interest.sound

    async def run(self) -> None:
        """Run until cancelled."""
        self.tell_interests()
        async for event in self._interest:
            match event:
                case Message():
                    try:
                        self._fold.take(event.subject, event.body, event.cause, monotonic())
                    except (codec.Undecodable, subjects.BadSubject) as error:
                        self._bus.rejects.add(event, str(error))
                case Answered(patterns):
                    self._fold.answered(patterns)
                case Restarted():
                    log.warning("streams_made_anew", kept="applied rules stay until the streams are read again")
                    self._fold.restarted()
            self.tell_interests()
            self._told()

    def tell_interests(self) -> None:
        """Read what the fold currently asks for; also to be called after the fold was advanced."""
        drop, add = self._fold.interests()
        if drop:
            self._interest.unwant(drop)
        if add:
            self._interest.want(add)
