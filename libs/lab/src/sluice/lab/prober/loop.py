"""Socket readiness and timers: the event loop of the prober."""

import heapq
import select
import time
from collections.abc import Callable

Callback = Callable[[], None]
Ready = Callable[[int], None]
"""Called with the events of select.epoll."""


class Loop:
    """Calls back when a socket is ready or a timer expires; everything runs in one thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Ready] = {}
        self._timers: list[tuple[float, int, Callback]] = []
        self._count = 0

    def watch(self, fd: int, events: int, ready: Ready) -> None:
        self._ready[fd] = ready
        self._epoll.register(fd, events)

    def forget(self, fd: int) -> None:
        if self._ready.pop(fd, None):
            self._epoll.unregister(fd)

    def later(self, delay_s: float, callback: Callback) -> None:
        self._count += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._count, callback))

    def run(self) -> None:
        while True:
            wait_s = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1
            for fd, events in self._epoll.poll(wait_s):
                if ready := self._ready.get(fd):
                    ready(events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()
