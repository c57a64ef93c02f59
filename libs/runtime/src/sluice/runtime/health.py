"""Liveness and readiness of the service, served over HTTP and over the bus."""

from collections.abc import Callable, Iterable

import nats.errors

from sluice.runtime.bus import Bus

_ROUND_TRIP_S = 1  # a server that takes longer is not there for us


class Health:
    """Readiness means in sync: what the service says by now is true of what it has read."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._checks: dict[str, Callable[[], bool]] = {}
        self._waits: list[Callable[[], Iterable[str]]] = []

    def ready_when(self, name: str, check: Callable[[], bool]) -> None:
        """The service is ready when all such checks hold; the name says what the check asks."""
        self._checks[name] = check

    def waits_for_bus(self, tell: Callable[[], Iterable[str]]) -> None:
        """`tell` says, in words, what has to wait for the bus; it is asked while the bus does not answer."""
        self._waits.append(tell)

    async def lacking(self) -> list[str]:
        """What is not as it should be, sorted; empty when ready."""
        lacking = [name for name, check in self._checks.items() if not check()]
        if not await self._bus_answers():
            lacking.append("bus")
            lacking.extend(line for tell in self._waits for line in tell())
        if self._bus.denied:
            lacking.append("permitted")
        return sorted(lacking)

    async def _bus_answers(self) -> bool:
        """A round trip: nats-py calls a server connected that was only just stopped."""
        if not self._bus.connected.is_set():
            return False
        try:
            await self._bus.nc.flush(_ROUND_TRIP_S)
        except nats.errors.Error:
            return False
        return True
