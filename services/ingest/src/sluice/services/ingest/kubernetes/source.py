"""The Kubernetes API as a source: mirrors each kind, and returns what changed since the last look."""

import asyncio
from collections.abc import Iterable
from contextlib import aclosing

import structlog

from sluice.contracts.kinds import RESOURCES, Kind
from sluice.drivers.kubernetes.client import Client
from sluice.drivers.kubernetes.mirror import Absent, Changed, Listed, Pace, Told, Waiting, mirror
from sluice.runtime.metrics import METRICS
from sluice.services.ingest.catalog import Key
from sluice.services.ingest.kubernetes.objects import Objects
from sluice.services.ingest.kubernetes.reading import Reading, reader
from sluice.services.ingest.source import Outcome

log = structlog.get_logger()

_rejected = METRICS.counter("sluice_ingest_rejected_total", "Versions of objects that were rejected", "kind")
_listings = METRICS.counter("sluice_ingest_listings_total", "Full listings of a kind", "kind")
_waiting = METRICS.gauge("sluice_ingest_kinds_waiting", "Kinds that cannot be read at the moment")


class KubernetesSource:
    """Mirrors every kind in contracts. Run `run` concurrently with `look` and `wait`."""

    def __init__(self, client: Client, stored: Iterable[Key], pace: Pace) -> None:
        """`stored`: the objects in the stream."""
        self._client, self._pace = client, pace
        self._objects = Objects(stored)
        self._told = asyncio.Event()

    @property
    def listed(self) -> bool:
        """Every kind was listed; what was not reported does not exist."""
        return self._objects.listed

    async def run(self) -> None:
        """Never returns."""
        async with asyncio.TaskGroup() as tasks:
            for kind in Kind:
                tasks.create_task(self._follow(kind), name=f"mirror of {kind}")

    async def wait(self) -> None:
        """Return once something was reported since the last look."""
        await self._told.wait()

    async def look(self) -> Outcome:
        """What was reported since the last look."""
        self._told.clear()
        objects = self._objects
        _waiting.set(len(objects.waiting))
        return Outcome(objects.drain(), "", objects.problems, objects.waiting)

    async def _follow(self, kind: Kind) -> None:
        resource = RESOURCES[kind]
        async with aclosing(mirror(self._client, resource, reader(kind), self._pace)) as tellings:
            async for told in tellings:
                self._take(kind, told)
                self._told.set()

    def _take(self, kind: Kind, told: Told[Reading]) -> None:
        objects = self._objects
        match told:
            case Listed(readings):
                _listings.add(1, kind)
                self._count(kind, readings)
                objects.list(kind, readings)
                log.info("kind_listed", kind=kind, objects=len(readings))
            case Changed(changes):
                objects.heard(kind)
                for reading, exists in changes:
                    if exists:
                        self._count(kind, (reading,))
                        objects.put(kind, reading)
                    else:
                        objects.remove(kind, reading)
            case Absent(reason):
                objects.list(kind, ())
                if objects.wait(kind, reason):
                    log.warning("kind_not_installed", kind=kind, reason=reason)
            case Waiting(reason):
                if objects.wait(kind, reason):
                    log.warning("kind_not_readable", kind=kind, reason=reason)

    def _count(self, kind: Kind, readings: Iterable[Reading]) -> None:
        if rejected := sum(bool(reading.problems) for reading in readings):
            _rejected.add(rejected, kind)
