"""Whose addresses the inspection engine saw: the node's Pods, as group-resolver says they are now."""

from collections.abc import Iterable, Mapping
from time import monotonic

import structlog
from msgspec.structs import replace
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from nats.js.errors import NotFoundError

from sluice.contracts import codec, subjects
from sluice.contracts.audit import AuditEvent, Inspection
from sluice.contracts.groups import Local
from sluice.contracts.ids import Address, NodeName
from sluice.runtime.bus import Bus

log = structlog.get_logger()

FRESH_S = 1.0
"""How old the list may be, at the cost of one question a second while the engine logs."""


class Pods:
    def __init__(self, bus: Bus, node: NodeName) -> None:
        self._bus, self._node = bus, node
        self._asked_s: float | None = None
        self._names: Mapping[Address, str] = {}

    async def named(self, events: Iterable[AuditEvent]) -> list[AuditEvent]:
        """The events, with the Pods of this node that they are about. Nobody is asked for events of another log."""
        events = list(events)
        if any(isinstance(event, Inspection) for event in events):
            await self._ask()
        return [
            replace(
                event,
                source_pod=self._names.get(event.source, ""),
                destination_pod=self._names.get(event.destination, ""),
            )
            if isinstance(event, Inspection)
            else event
            for event in events
        ]

    async def _ask(self) -> None:
        """Know them, no longer ago than a second; while the bus does not answer, those of before."""
        if self._asked_s is not None and monotonic() - self._asked_s < FRESH_S:
            return
        try:
            found = await self._bus.js.get_last_msg("GROUPS", subjects.local(self._node), direct=True)
            local = codec.decode(found.data or b"", Local) if found.data else None
        except NotFoundError:
            local = None
        except (NatsError, JetStreamError, OSError, TimeoutError, codec.Undecodable) as error:
            log.warning("pods_not_known", error=str(error) or type(error).__name__, instead="what was known before")
            return
        self._names = {address: pod.pod for pod in local.pods for address in pod.addresses} if local else {}
        self._asked_s = monotonic()
