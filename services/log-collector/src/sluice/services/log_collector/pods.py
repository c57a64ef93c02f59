"""Resolves the addresses in the inspection engine's events to the node's Pods, as currently known to group-resolver."""

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
"""Maximum age of the list; costs one request per second while the engine logs."""


class Pods:
    def __init__(self, bus: Bus, node: NodeName) -> None:
        self._bus, self._node = bus, node
        self._asked_s: float | None = None
        self._names: Mapping[Address, str] = {}

    async def named(self, events: Iterable[AuditEvent]) -> list[AuditEvent]:
        """The events, with the node's Pods added to those of the inspection engine. Other events cause no request."""
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
        """Refresh the list if it is older than a second; if the bus does not answer, keep the old one."""
        if self._asked_s is not None and monotonic() - self._asked_s < FRESH_S:
            return
        try:
            found = await self._bus.js.get_last_msg("GROUPS", subjects.local(self._node), direct=True)
            local = codec.decode(found.data or b"", Local) if found.data else None
        except NotFoundError:
            local = None
        except (NatsError, JetStreamError, OSError, TimeoutError, codec.Undecodable) as error:
            log.warning(
                "pods_not_known", error=str(error) or type(error).__name__, instead="the addresses known before"
            )
            return
        self._names = {address: pod.pod for pod in local.pods for address in pod.addresses} if local else {}
        self._asked_s = monotonic()
