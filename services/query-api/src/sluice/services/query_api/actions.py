"""/v1/actions: what people did through this API. Each action is recorded before it is carried out."""

import asyncio
from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct

from sluice.contracts import codec, subjects
from sluice.contracts.actions import Action
from sluice.contracts.codec import Undecodable
from sluice.contracts.streams import ACTIONS
from sluice.ledger.times import written
from sluice.runtime import past
from sluice.runtime.bus import Bus
from sluice.runtime.patience import patiently
from sluice.services.query_api import answers
from sluice.services.query_api.answers import LIMIT
from sluice.services.query_api.asking import Asking
from sluice.services.query_api.auth import Scope
from sluice.services.query_api.problems import Problem

log = structlog.get_logger()

STORED_S = 5.0


class Record:
    """Writes to ACTIONS, as one replica."""

    def __init__(self, bus: Bus, replica: str) -> None:
        self._bus, self._subject = bus, subjects.action(replica)

    async def tell(self, action: Action) -> None:
        """Store the action.

        Raises:
            Problem: it was not stored in time.
        """
        headers = {"Nats-Msg-Id": f"{action.id}.{action.state}"}
        body = codec.encode(action)
        try:
            async with asyncio.timeout(STORED_S):
                await patiently(
                    self._bus,
                    lambda: self._bus.js.publish(self._subject, body, stream=ACTIONS.name, headers=headers),
                )
        except TimeoutError as error:
            log.error("action_not_recorded", id=action.id, state=action.state)
            raise Problem(503, _NOT_ASKED if action.state == "asked" else _NOT_TOLD) from error


_NOT_ASKED = "the bus cannot record the change now, so it was not made; see that NATS runs, and try again"
_NOT_TOLD = "the bus cannot record now what became of the change; GET the object to see whether it was made"


class Told(Struct, frozen=True, kw_only=True):
    time: str
    action: Action


class ActionList(Struct, frozen=True, kw_only=True):
    """Changes, newest first."""

    items: tuple[Told, ...]


def router(asking: Asking) -> APIRouter:
    routes = APIRouter(prefix="/v1/actions", tags=["actions"])

    @routes.get("", responses=answers.told(ActionList), summary="Changes made through this API, newest first")
    async def listed(
        *,
        request: Request,
        who: Annotated[str, Query(max_length=253, description="Only changes by this caller")] = "",
        name: Annotated[str, Query(max_length=253, description="Only changes of objects of this name")] = "",
        limit: answers.Limit = LIMIT,
    ) -> Response:
        asking.gate.require(request, Scope.READ)
        found = []
        for message in await past.last_of(asking.bus, ACTIONS.name, "actions.>"):
            try:
                action = codec.decode(message.body, Action)
            except Undecodable as error:
                asking.bus.rejects.add(message, str(error))
                continue
            if who in ("", action.who) and name in ("", action.name):
                found.append(Told(time=written(action.at_ns), action=action))
        return answers.json(request, ActionList(items=tuple(reversed(found[-limit:]))))

    return routes
