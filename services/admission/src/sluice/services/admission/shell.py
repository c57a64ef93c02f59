"""Feeds OBJECTS to the rules, and answers reviews. Decides nothing."""

import asyncio
import time

import structlog

from sluice.admission.context import KINDS, Known
from sluice.grouping.events import Newest
from sluice.runtime.bus import Bus
from sluice.runtime.facts import Facts, facts
from sluice.runtime.metrics import METRICS
from sluice.services.admission import judging
from sluice.services.admission.lookup import Lookup, LookupFailed
from sluice.services.admission.review import Request, Response

log = structlog.get_logger()

_reviews = METRICS.counter("sluice_admission_reviews_total", "Reviews answered, by what was answered", "answer")
_seconds = METRICS.counter("sluice_admission_seconds_total", "Seconds spent on answering reviews")
_lookups = METRICS.counter("sluice_admission_lookups_total", "Tiers that the source was asked for", "found")


class Shell:
    """`in_sync` is set once all existing objects are known; until then everything is refused."""

    def __init__(self, bus: Bus, lookup: Lookup) -> None:
        self._bus, self._lookup = bus, lookup
        self._known, self._newest = Known(), Newest()
        self.in_sync = asyncio.Event()

    async def run(self) -> None:
        """Never returns."""
        async for told in facts(self._bus, KINDS):
            self.take(told)

    def take(self, told: Facts) -> None:
        """Take in a batch. An unreadable object keeps its previous version."""
        if told.afresh:
            self._known, self._newest = Known(), Newest()
            self.in_sync.clear()
        for event in told.events:
            if not self._newest.is_news(event.key, event.revision):
                continue
            if event.object is None:
                self._known.remove(event.key)
            else:
                self._known.put(event.object)
        self._newest.settle(told.upto)
        if told.in_sync and not self.in_sync.is_set():
            log.info("objects_in_sync", revision=told.seen.sequence)
            self.in_sync.set()

    async def validate(self, request: Request) -> Response:
        """Answer whether the object may be created, changed or deleted."""
        began_s = time.perf_counter()
        response = await self._validate(request)
        _seconds.add(time.perf_counter() - began_s)
        said = "admitted" if response.allowed else "unready" if not self.in_sync.is_set() else "refused"
        _reviews.add(1, said)
        if not response.allowed:
            log.info(
                "object_refused",
                kind=request.kind.kind,
                namespace=request.namespace,
                name=request.name,
                operation=request.operation,
                reason=response.status.message if response.status else "",
            )
        return response

    async def _validate(self, request: Request) -> Response:
        asked = judging.read(request)
        if asked.kind is None:
            return judging.validate(asked, self._known)
        if not self.in_sync.is_set():
            return judging.unready(request)
        tier = judging.misses(asked, self._known)
        tiers = (tier,) if tier is not None and await self._exists(tier) else ()
        if not self.in_sync.is_set():  # lost while waiting
            return judging.unready(request)
        return judging.validate(asked, self._known, tiers)

    async def mutate(self, request: Request) -> Response:
        """Answer with the defaults filled in."""
        _reviews.add(1, "mutated")
        return judging.mutate(judging.read(request))

    async def mutate_namespace(self, request: Request) -> Response:
        _reviews.add(1, "mutated")
        return judging.mutate_namespace(request)

    async def _exists(self, tier: str) -> bool:
        """Whether the source has the tier; False if it does not answer."""
        try:
            found = await self._lookup.has_tier(tier)
        except LookupFailed as error:
            log.warning("lookup_failed", tier=tier, reason=str(error))
            found = False
        _lookups.add(1, str(found).lower())
        return found
