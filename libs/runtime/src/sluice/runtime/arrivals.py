"""One queue, in order of arrival, for many subscriptions.

nats-py gives each subscription a queue and a task of its own; under a flood, marks are then handled before the pages
that were stored before them. Here all subscriptions share one queue.
"""

import asyncio
from collections import deque

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from sluice.runtime.bus import Bus
from sluice.runtime.client import subscribe


class Arrivals:
    """A bounded queue of messages in order of arrival; nats-py reports those that do not fit as a slow consumer."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._messages: deque[Msg] = deque()
        self._arrived = asyncio.Event()
        self.calm = asyncio.Event()
        """Set unless the queue was full and has not drained to half of its room since."""

        self.calm.set()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Msg) -> None:
        self._messages.append(message)
        self._arrived.set()

    def put_nowait(self, message: Msg) -> None:
        """The interface that nats-py calls.

        Raises:
            asyncio.QueueFull: there is no room.
        """
        if len(self._messages) >= self._room:
            self.calm.clear()
            raise asyncio.QueueFull
        self.put(message)

    def clear(self) -> None:
        self._messages.clear()
        self.calm.set()

    def wake(self) -> None:
        """Make whoever waits in `some` return."""
        self._arrived.set()

    async def some(self) -> None:
        """Return when there is a message, or after `wake`."""
        if not self._messages:
            await self._arrived.wait()
        self._arrived.clear()

    def take(self) -> Msg:
        if len(self._messages) <= self._room // 2:
            self.calm.set()
        return self._messages.popleft()

    async def subscribe(self, bus: Bus, subject: str, *, asked_for: bool = False) -> Subscription:
        """Subscribe with this queue as the destination; `asked_for` messages are accepted even when it is full."""
        return await subscribe(bus.nc, subject, _Door(self) if asked_for else self)


class _Door:
    """An entrance to the queue without a limit, for messages that were requested."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.put_nowait = arrivals.put
