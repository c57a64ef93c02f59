"""Brings the statuses in the API server up to date: writes only differences, only the latest, at a limited rate."""

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import structlog

from sluice.contracts.kinds import RESOURCES, Kind
from sluice.drivers.kubernetes.client import Backoff, Client, Refused, Unreachable, path
from sluice.drivers.kubernetes.paging import listed
from sluice.grouping.events import ObjectKey
from sluice.policy.realisation.report import AnyStatus
from sluice.runtime.metrics import METRICS
from sluice.services.status_writer.live import Live, patch, read
from sluice.services.status_writer.pace import Pace

log = structlog.get_logger()

_TRIES = 5  # attempts per write in the face of conflicts; after that it goes to the end of the queue

_writes = METRICS.counter("sluice_status_writes_total", "Statuses sent to the API server, by outcome", "outcome")
_waiting = METRICS.gauge("sluice_status_waiting", "Objects whose status is still to be computed")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Wanted(NamedTuple):
    uid: str
    status: AnyStatus
    kept: frozenset[str]


class Writer:
    """Holds wanted statuses until they are written. `want` and `forget` fill the queue, `run` works it off."""

    def __init__(self, client: Client, pace: Pace, now: Callable[[], str] = _now) -> None:
        self._client, self._pace, self._now = client, pace, now
        self._live: dict[ObjectKey, Live] = {}
        self._wanted: dict[ObjectKey, _Wanted] = {}
        """In the order in which they are checked."""

        self._woken = asyncio.Event()
        _waiting.follow(lambda: len(self._wanted))

    def want(self, key: ObjectKey, uid: str, status: AnyStatus, kept: frozenset[str] = frozenset()) -> None:
        """Set the wanted status of this object. Conditions of the types `kept` are left alone: not known yet."""
        self._wanted[key] = _Wanted(uid, status, kept)
        self._woken.set()

    def forget(self, key: ObjectKey) -> None:
        """Take in that the object was deleted."""
        self._wanted.pop(key, None)
        self._live.pop(key, None)

    async def learn(self, kinds: Iterable[Kind]) -> None:
        """Read the current status of all objects of these kinds by lists, instead of thousands of single requests.

        Objects of a kind that cannot be listed are requested one by one when their turn comes.
        """
        for kind in kinds:
            try:
                listing = await listed(self._client, RESOURCES[kind], _read)
            except (Refused, Unreachable) as error:
                log.info("statuses_not_listed", kind=kind, reason=str(error))
                continue
            self._live |= {ObjectKey(kind, *live.name): live for live in listing.objects if live}

    async def run(self) -> None:
        """Never returns."""
        backoff = Backoff()
        while True:
            while not self._wanted:
                self._woken.clear()
                await self._woken.wait()
            key = next(iter(self._wanted))
            wanted = self._wanted.pop(key)
            try:
                await self._write(key, wanted)
                backoff.reset()
            except (Refused, Unreachable) as error:
                self._wanted.setdefault(key, wanted)  # at the end, but without overwriting a newer one
                _writes.add(1, "failed")
                wait_s = backoff.wait_s(error)
                log.warning("status_not_written", object="/".join(key), reason=str(error), wait_s=wait_s)
                await asyncio.sleep(wait_s)

    async def _write(self, key: ObjectKey, wanted: _Wanted) -> None:
        """Write the status, unless the object is gone or another one has its name."""
        for _ in range(_TRIES):
            try:
                live = self._live.get(key) or await self._ask(key)
                if wanted.uid and live.uid != wanted.uid:
                    self._live.pop(key, None)
                    return  # OBJECTS will report the other one
                body = patch(live, wanted.status, self._now(), wanted.kept)
                if body is None:
                    return
                await asyncio.sleep(self._pace.wait_s(time.monotonic()))
                resource = RESOURCES[key.kind]
                target = path(resource, key.namespace, key.name, "status")
                answer = await self._client.ask("PATCH", target, body=body, content="application/merge-patch+json")
                self._live[key] = _understood(answer, target)
                _writes.add(1, "written")
                return
            except Refused as error:
                self._live.pop(key, None)
                if error.code == 404:
                    return
                if error.code != 409:
                    raise
                _writes.add(1, "conflict")
        self._wanted.setdefault(key, wanted)

    async def _ask(self, key: ObjectKey) -> Live:
        target = path(RESOURCES[key.kind], key.namespace, key.name)
        live = self._live[key] = _understood(await self._client.ask("GET", target), target)
        return live


def _read(body: bytes) -> Live | None:
    try:
        return read(body)
    except msgspec.MsgspecError:
        return None


def _understood(body: bytes, target: str) -> Live:
    try:
        return read(body)
    except msgspec.MsgspecError as error:
        raise Unreachable(f"{target}: the answer is not an object: {error}") from error
