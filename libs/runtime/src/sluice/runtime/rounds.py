"""When a programmer's loop runs: on changes, at a deadline, and to read back what it programs."""

import asyncio
from time import monotonic


class Rounds:
    """Schedules rounds; a change that arrives during a round starts another.

    Args:
        resync_s: interval between rounds in which everything is read back.
    """

    def __init__(self, resync_s: float) -> None:
        self._resync_s = resync_s
        self._resync_at_s = monotonic() + resync_s
        self._news = asyncio.Event()

    @property
    def due(self) -> bool:
        """Whether there are changes for which no round has begun."""
        return self._news.is_set()

    def wake(self) -> None:
        """Notify of a change."""
        self._news.set()

    def wake_in(self, delay_s: float) -> None:
        """Start a round after this delay at the latest, whether there is a change or not."""
        asyncio.get_running_loop().call_later(delay_s, self._news.set)

    async def next(self, *deadlines_s: float | None) -> bool:
        """Wait for the next round; True if everything is to be read back in it.

        Args:
            deadlines_s: latest times to begin, by the monotonic clock; None sets no deadline.
        """
        until_s = min((self._resync_at_s, *(one for one in deadlines_s if one is not None)))
        resync = False
        try:
            async with asyncio.timeout(max(0.0, until_s - monotonic())):
                await self._news.wait()
        except TimeoutError:
            resync = monotonic() >= self._resync_at_s
            if resync:
                self._resync_at_s = monotonic() + self._resync_s
        self._news.clear()
        return resync
