"""The lifetime of something that works in the background: how it ended, and who waits for what it brings about."""

import asyncio
from collections.abc import Awaitable, Callable


class Lifetime:
    """Whether it still works. Those who wait are told when it brought about what they wait for, or ended."""

    def __init__(self, name: str) -> None:
        """`name`: of the stream, for messages."""
        self._name = name
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when nothing more will happen; holds the error, if there was one."""

    def alive(self) -> None:
        """Return while it works.

        Raises:
            Exception: the one that it failed with.
            RuntimeError: it was closed.
        """
        if self.over.done():
            self.over.result()
            raise self._closed()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Return when the condition holds.

        Raises:
            Exception: the one that it failed with.
            RuntimeError: it was closed.
        """
        self.alive()
        if reached():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((reached, waiter))
        await waiter

    def progress(self) -> None:
        """Wake those whose condition now holds; all of them if it is over."""
        if not self._waiters:
            return
        still = []
        for reached, waiter in self._waiters:
            if waiter.done():
                continue
            if self.over.done():
                waiter.set_exception(self.over.exception() or self._closed())
            elif reached():
                waiter.set_result(None)
            else:
                still.append((reached, waiter))
        self._waiters = still

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
        self.progress()

    def fail(self, error: Exception) -> None:
        """It ended because of this error, which is raised to all who wait or ask."""
        if not self.over.done():
            self.over.set_exception(error)
            self.over.exception()  # mark as retrieved, in case nobody asks
        self.progress()

    async def guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work; if it fails, so does the whole."""
        try:
            await work()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # raised to all who wait or ask
            self.fail(error)

    def _closed(self) -> RuntimeError:
        return RuntimeError(f"{self._name}: the output is closed")
