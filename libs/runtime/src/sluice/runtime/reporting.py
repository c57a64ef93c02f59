"""Publishes a programmer's status whenever it changes."""

import asyncio
from collections.abc import Callable

from sluice.contracts import subjects
from sluice.contracts.ids import Backend, NodeName
from sluice.contracts.status import NodeStatus
from sluice.runtime.bus import Bus
from sluice.runtime.output import Output


class Reporting:
    """Publishes one status, always as a whole.

    Args:
        status: returns the current status; None: nothing to report yet.
    """

    def __init__(self, bus: Bus, node: NodeName, backend: Backend, status: Callable[[], NodeStatus | None]) -> None:
        self._bus, self._subject, self._status = bus, subjects.status(node, backend), status
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Notify that the status may have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Run until cancelled."""
        async with await Output.open(self._bus, "STATUS", [self._subject]) as output:
            while True:
                await self._changed.wait()
                self._changed.clear()
                if (status := self._status()) is not None:
                    output.put(self._subject, status)
                await output.settled()
