"""Follows the statuses of a lab's services, and waits until they match the wanted state."""

import asyncio
from collections.abc import Callable

from sluice.contracts import codec
from sluice.lab.realised import Statuses, kind_of
from sluice.lab.running import Running
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message


class NotRealised(Exception):
    """A change did not take effect in time. Each line says what is missing."""


class Waiting:
    def __init__(self, running: Running) -> None:
        self._running = running
        self.statuses = Statuses()

    async def follow(self, bus: Bus) -> None:
        """Run until cancelled."""
        async for event in follow(bus, "STATUS"):
            match event:
                case NewEpoch():
                    self.statuses = Statuses()
                case Message(subject=subject, body=body) if body and (kind := kind_of(subject)):
                    self.statuses.put(codec.decode(body, kind))
                case Message() | CaughtUp():
                    pass
            self._running.changed.set()

    async def until(self, missing: Callable[[], list[str]], timeout_s: float) -> None:
        """Return when nothing is missing.

        Raises:
            NotRealised: something is still missing.
        """
        lines: list[str] = []
        try:
            async with asyncio.timeout(timeout_s):
                while lines := missing():
                    if self._running.trouble:
                        raise self._running.trouble
                    self._running.changed.clear()
                    await self._running.changed.wait()
        except TimeoutError as error:
            raise NotRealised("\n".join([f"after {timeout_s:g} s:", *lines, *self._running.failing()])) from error
