"""All objects of a kind and all their changes, for as long as the caller iterates.

Items come in this order: a listing, then changes; then another listing if changes were lost in between. That an object
is missing from the stream never means that it is gone: any trouble is reported and waited out, and nothing else is
emitted meanwhile.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, NamedTuple, TypeVar

import structlog
from msgspec import Struct

from sluice.contracts.kinds import Resource
from sluice.drivers.kubernetes import watching
from sluice.drivers.kubernetes.client import Backoff, Client, Refused, Unreachable
from sluice.drivers.kubernetes.paging import listed

T = TypeVar("T")

log = structlog.get_logger()

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

_PATIENCE = 3
"""Consecutive failures before they are reported; a single one is not worth reporting."""


class Listed(NamedTuple, Generic[T]):
    """All objects that exist."""

    objects: list[T]


class Changed(NamedTuple, Generic[T]):
    """Objects that changed, in order."""

    changes: list[tuple[T, bool]]
    """The object, and whether it exists; a deleted one in its last state."""


class Absent(NamedTuple):
    """The kind is not defined, so it has no objects. The server knows this for certain; it may be defined later."""

    reason: str


class Waiting(NamedTuple):
    """The objects cannot be read at present, so their state is unknown."""

    reason: str


Told = Listed[T] | Changed[T] | Absent | Waiting


class Pace(Struct, frozen=True, kw_only=True):
    """How often to ask the server."""

    longest_wait_s: float = 10.0
    """Between two failing tries."""

    absent_s: float = 5.0
    """Between two checks for a kind that is not defined."""

    silence_s: float = watching.SILENCE_S
    """A watch is considered dead after this time without a byte."""


DEFAULT = Pace()

_LIVED_S = 0.1  # a watch that lasted this long did not fail immediately


async def mirror(
    client: Client, resource: Resource, read: Callable[[bytes], T], pace: Pace = DEFAULT
) -> AsyncGenerator[Told[T]]:
    """The state of the kind and its changes, endlessly; each object as `read` decodes it from its JSON."""
    one = _Mirror(client, resource, read, pace)
    while True:
        try:
            if not one.version:
                async with aclosing(one.listing()) as tellings:
                    async for told in tellings:
                        yield told
            async with aclosing(one.changes()) as tellings:
                async for told in tellings:
                    yield told
        except (Refused, Unreachable) as error:
            telling, wait_s = await one.after(error)
            if telling is not None:
                yield telling
            await asyncio.sleep(wait_s)


class _Mirror(Generic[T]):
    def __init__(self, client: Client, resource: Resource, read: Callable[[bytes], T], pace: Pace) -> None:
        self._client, self._resource, self._read, self._pace = client, resource, read, pace
        self._backoff = Backoff(pace.longest_wait_s)
        self._failures = 0
        self._streaming = True
        self.version = ""
        """Everything up to here has been emitted; empty before the first listing."""

    async def listing(self) -> AsyncGenerator[Told[T]]:
        if self._streaming:
            try:
                async with aclosing(self._streamed()) as tellings:
                    async for told in tellings:
                        yield told
                return
            except Refused as error:
                if error.code not in (400, 422) or self.version:
                    raise
                self._streaming = False
                log.info("streaming_lists_not_offered", kind=self._resource.plural, reason=str(error))
        listing = await listed(self._client, self._resource, self._read)
        self._went_well()
        self.version = listing.version
        yield Listed(listing.objects)

    async def _streamed(self) -> AsyncGenerator[Told[T]]:
        """A listing through a watch (streaming list), and the changes that follow."""
        there: dict[tuple[str, str], T] = {}  # decoded as they arrive, so that nothing piles up at the end
        nameless: list[T] = []
        told = False
        async with aclosing(self._watched("", initial=True)) as batches:
            async for events in batches:
                rest = events
                if not told:
                    rest = []
                    for index, event in enumerate(events):
                        if event.ends_listing:
                            self._went_well()
                            told, self.version = True, event.version
                            yield Listed([*there.values(), *nameless])
                            there.clear()
                            rest = events[index + 1 :]
                            break
                        if event.type == "BOOKMARK":
                            continue
                        if not event.name[1]:
                            nameless.append(self._read(event.object))
                        elif event.type == "DELETED":
                            there.pop(event.name, None)
                        else:
                            there[event.name] = self._read(event.object)
                if rest:
                    yield self._changed(rest)

    async def changes(self) -> AsyncGenerator[Told[T]]:
        """Changes after `version`, until the server ends the watch."""
        loop = asyncio.get_running_loop()
        began_s, heard = loop.time(), False
        try:
            async with aclosing(self._watched(self.version, initial=False)) as batches:
                async for events in batches:
                    heard = True
                    yield self._changed(events)
            if not heard:
                raise Unreachable(f"{self._resource.plural}: the watch ended before it said anything")
        except Unreachable:
            if loop.time() - began_s > _LIVED_S:
                self._went_well()
            raise

    def _watched(self, version: str, *, initial: bool) -> AsyncGenerator[list[watching.Event]]:
        return watching.watched(self._client, self._resource, version, initial=initial, silence_s=self._pace.silence_s)

    def _changed(self, events: list[watching.Event]) -> Changed[T]:
        self._went_well()
        self.version = next((event.version for event in reversed(events) if event.version), self.version)
        return Changed(
            [(self._read(event.object), event.type != "DELETED") for event in events if event.type != "BOOKMARK"]
        )

    def _went_well(self) -> None:
        self._failures = 0
        self._backoff.reset()

    async def after(self, error: Refused | Unreachable) -> tuple[Absent | Waiting | None, float]:
        """What to report about the failure, and how long to wait."""
        if watching.is_expired(error):
            log.info("history_expired", kind=self._resource.plural, version=self.version)
            again = bool(self.version)
            self.version = ""
            return None, 0.0 if again else self._backoff.wait_s(error)
        self._failures += 1
        wait_s = self._backoff.wait_s(error)
        if isinstance(error, Refused) and error.code == 404:
            self.version = ""
            telling = await self._missing(error)
            return telling, self._pace.absent_s if isinstance(telling, Absent) else wait_s
        log.debug("kubernetes_failed", kind=self._resource.plural, reason=str(error), wait_s=wait_s)
        if isinstance(error, Refused) and not error.passes:
            return Waiting(f"{self._resource.plural}: {error}; {_mend(error)}"), wait_s
        if self._failures >= _PATIENCE:
            return Waiting(f"{self._resource.plural}: {error}; it is tried again"), wait_s
        return None, wait_s

    async def _missing(self, error: Refused) -> Absent | Waiting:
        """Whether the kind is undefined or just not served yet: a server that is starting answers 404 for a while."""
        group, _, _ = self._resource.api_version.rpartition("/")
        name = f"{self._resource.plural}.{group}"
        if error.reason != "NotFound" or "." not in group:
            return Waiting(f"{self._resource.plural}: {error}; is {self._client.host} an API server of Kubernetes?")
        try:
            await self._client.ask("GET", f"{DEFINITIONS}/{name}")
        except Refused as answer:
            if answer.code == 404 and answer.reason == "NotFound":
                return Absent(f"{self._resource.plural}: {name} is not installed; it is read as soon as it is")
            return Waiting(
                f"{self._resource.plural}: not served, and whether {name} is defined cannot be seen: {answer}"
            )
        except Unreachable as trouble:
            return Waiting(
                f"{self._resource.plural}: not served, and whether {name} is defined cannot be seen: {trouble}"
            )
        return Waiting(f"{self._resource.plural}: {name} is defined and not served yet")


def _mend(error: Refused) -> str:
    if error.code in (401, 403):
        return "allow it to list and watch them"
    return "the server does not understand what is asked; which version is it?"
