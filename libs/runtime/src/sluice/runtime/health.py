"""Liveness and readiness of the service, served over HTTP and over the bus."""

from collections.abc import Callable, Iterable

import nats.errors

from sluice.runtime.bus import Bus

_ROUND_TRIP_S = 1  # seconds; a slower server counts as down


class Health:
    """Ready means in sync: the service's current output is true of what it has read."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._checks: dict[str, Callable[[], bool]] = {}
        self._waits: list[Callable[[], Iterable[str]]] = []

    def ready_when(self, name: str, check: Callable[[], bool]) -> None:
        """The service is ready when all such checks pass; the name says what is checked."""
        self._checks[name] = check

    def waits_for_bus(self, tell: Callable[[], Iterable[str]]) -> None:
        """Register `tell`, which says in words what has to wait for the bus; called while the bus does not answer."""
        self._waits.append(tell)

    async def lacking(self) -> list[str]:
        """Descriptions of what is missing, sorted; empty when ready."""
        lacking = [name for name, check in self._checks.items() if not check()]
        if not await self._bus_answers():
            lacking.append("bus")
            lacking.extend(line for tell in self._waits for line in tell())
        if self._bus.denied:
            lacking.append("permitted")
        return sorted(lacking)

    async def _bus_answers(self) -> bool:
        """Do a round trip, since nats-py still considers a server connected that was just stopped."""
        if not self._bus.connected.is_set():
            return False
        try:
            await self._bus.nc.flush(_ROUND_TRIP_S)
        except nats.errors.Error:
            return False
        return True
