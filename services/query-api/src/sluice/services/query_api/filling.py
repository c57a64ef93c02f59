"""Moves events from AUDIT into the store, and to live followers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from sluice.contracts import audit_batches, codec
from sluice.contracts.audit import AuditEvent, FlowDecision, Inspection, Loss
from sluice.contracts.audit_batches import LaterEvent
from sluice.contracts.ids import NEVER, Address, NodeName, Revision
from sluice.contracts.streams import AUDIT
from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message
from sluice.runtime.metrics import METRICS
from sluice.services.query_api.mirrors import Objects
from sluice.services.query_api.store import Event, Store

log = structlog.get_logger()

GATHERED = 5_000
"""Maximum number of events per transaction."""

WAITING = 1_000
"""Events queued for one follower; a slower one loses events, and is told how many."""

_PRUNE_S = 3_600.0

_stored = METRICS.counter("sluice_audit_stored_total", "Events that were stored", "kind")
_unread = METRICS.counter("sluice_audit_unreadable_total", "Messages of AUDIT that could not be read")


_Batch = tuple[str, list[Event]]
"""The identifier of a batch, and its events."""


class Listener:
    """One live follower."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue(WAITING)
        self.lost = 0
        """How many events did not fit into the queue since the last report."""

    def tell(self, event: Event) -> None:
        try:
            self.events.put_nowait(event)
        except asyncio.QueueFull:
            self.lost += 1


class Filling:
    """The only writer of the store."""

    def __init__(self, bus: Bus, store: Store, objects: Objects) -> None:
        self._bus, self.store, self._objects = bus, store, objects
        self._listeners: set[Listener] = set()
        self._later: set[str] = set()
        """Event kinds of later versions that were logged already."""

        self._lock = asyncio.Lock()
        """Held while the store is used: only one thread may use it at a time."""

        self._pruned_s = float("-inf")
        self.caught_up = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Listener]:
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    @asynccontextmanager
    async def using(self) -> AsyncIterator[Store]:
        async with self._lock:
            yield self.store

    async def run(self) -> None:
        """Never returns."""
        await self._objects.caught_up.wait()  # otherwise addresses could not be resolved to Pods
        place = await self._place()
        here = place
        gathered: list[_Batch] = []
        count = 0
        async with follow(self._bus, AUDIT.name, after=place.sequence) as events:
            async for event in events:
                match event:
                    case Message():
                        here = event.revision
                        if batch := self._read(event):
                            gathered.append(batch)
                            count += len(batch[1])
                    case CaughtUp():
                        self.caught_up.set()
                    case NewEpoch():
                        here = NEVER
                if gathered and (count >= GATHERED or not events.waiting):
                    await self._add(gathered, here)
                    gathered, count = [], 0

    async def _add(self, gathered: list[_Batch], here: Revision) -> None:
        """Store the events, drop days that are too old, and tell those who listen."""
        async with self._lock:
            await asyncio.to_thread(self.store.add, gathered, here)
            if time.monotonic() - self._pruned_s > _PRUNE_S:
                self._pruned_s = time.monotonic()
                for day in await asyncio.to_thread(self.store.prune, time.time_ns() // 1_000):
                    log.info("audit_day_dropped", day=day)
        for one in (event for _, told in gathered for event in told):
            _stored.add(1, one.kind)
            for listener in self._listeners:
                listener.tell(one)

    async def _place(self) -> Revision:
        """The position up to which AUDIT is stored; NEVER if AUDIT was recreated, and is read from its start."""
        place = self.store.place()
        if place is None:
            return NEVER
        epoch = await streams.epoch(self._bus, AUDIT.name)
        if place.epoch != epoch:
            log.warning("audit_made_anew", epoch=epoch)
            return NEVER
        return place

    def _read(self, message: Message) -> _Batch | None:
        try:
            batch = audit_batches.read(message.body, message.time_ns // 1_000)
        except codec.Undecodable as error:
            _unread.add(1)
            self._bus.rejects.add(message, str(error))
            return None
        return batch.id, [self._event(batch.node, told) for told in batch.events]

    def _event(self, node: NodeName, told: AuditEvent | LaterEvent) -> Event:
        if isinstance(told, LaterEvent):
            return self._as_it_is(node, told)
        kind, verdict, unit, source, destination = self._facts(told)
        return Event(told.at_us, node, kind, verdict, unit, source, destination, codec.encode(told))

    def _as_it_is(self, node: NodeName, told: LaterEvent) -> Event:
        if told.kind not in self._later:
            self._later.add(told.kind)
            log.warning("audit_kind_not_known", kind=told.kind, node=node, reason=told.why, instead="stored as it is")
        return Event(told.at_us, node, told.kind, "", "", "", "", told.body)

    def _facts(self, told: AuditEvent) -> tuple[str, str, str, str, str]:
        """Kind, verdict, policy, and the Pods at both ends."""
        match told:
            case FlowDecision():
                source, destination = self._pod(told.source), self._pod(told.destination)
                if told.applied_to:  # more reliable than the address, which another Pod may have by now
                    source = told.applied_to if told.direction == "Egress" else source
                    destination = told.applied_to if told.direction == "Ingress" else destination
                return "np", told.action, told.unit or "", source, destination
            case Inspection():
                allowed = {True: "Allow", False: "Reject", None: ""}[told.allowed]
                return "l7", allowed, told.unit or "", self._pod(told.source), self._pod(told.destination)
            case Loss():
                return "loss", "", "", "", ""

    def _pod(self, address: Address) -> str:
        holder = self._objects.cluster.holder(address)
        return "/".join(holder.key) if holder else ""
