"""What a node's fold reads from the bus: the subjects that it asks for, in order of arrival.

A node's programmers differ in what they make of programs and pages, but not in how they read them.
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
    """What a node holds, folded from what it reads; `dataplane.view.View` is at the heart of each."""

    def take(self, subject: str, body: bytes, cause: Revision, now_s: float) -> None:
        """Take a stored value in.

        Raises:
            codec.Undecodable, subjects.BadSubject: nothing was changed.
        """

    def answered(self, patterns: Iterable[str]) -> None:
        """All that is stored on these patterns was told."""

    def restarted(self) -> None:
        """A stream was made anew: everything will be told again."""

    def interests(self) -> tuple[Iterable[str], Iterable[str]]:
        """Patterns to read no longer, then patterns to read, since the last call."""


class Feed:
    """Reads for one fold."""

    def __init__(self, bus: Bus, fold: Fold, *, resync_s: float, told: Callable[[], None]) -> None:
        """Nothing is read before `run`.

        Args:
            resync_s: seconds between full read-backs.
            told: is called after each thing that the fold was told.
        """
        self._bus, self._fold, self._told = bus, fold, told
        self._interest = Interest(bus, resync_s=resync_s)

    @property
    def sound(self) -> bool:
        """The connection is there, and nothing that was told is in doubt."""
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
                    log.warning("streams_made_anew", kept="what is applied stays until they are read again")
                    self._fold.restarted()
            self.tell_interests()
            self._told()

    def tell_interests(self) -> None:
        """Read what the fold asks for by now; to be called after it was advanced as well."""
        drop, add = self._fold.interests()
        if drop:
            self._interest.unwant(drop)
        if add:
            self._interest.want(add)
