"""When a programmer's loop runs: on news, at a deadline, and to read back what it programs."""

import asyncio
from time import monotonic


class Rounds:
    """News that comes while a round is on its way begins another.

    Args:
        resync_s: between two rounds in which everything is read back.
    """

    def __init__(self, resync_s: float) -> None:
        self._resync_s = resync_s
        self._resync_at_s = monotonic() + resync_s
        self._news = asyncio.Event()

    @property
    def due(self) -> bool:
        """There is news that no round has begun for."""
        return self._news.is_set()

    def wake(self) -> None:
        """There is news."""
        self._news.set()

    def wake_in(self, delay_s: float) -> None:
        """Go round then at the latest, whether there is news or not."""
        asyncio.get_running_loop().call_later(delay_s, self._news.set)

    async def next(self, *deadlines_s: float | None) -> bool:
        """Wait for the next round; True if everything is to be read back in it.

        Args:
            deadlines_s: when it begins at the latest, by the monotonic clock; None sets none.
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
