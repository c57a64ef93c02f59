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
from sluice.services.query_api.answers import LIMIT, MOST
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
            raise Problem(503, "the bus does not keep a record of it now, and without one nothing is done") from error


class Told(Struct, frozen=True, kw_only=True):
    time: str
    action: Action


class ActionList(Struct, frozen=True, kw_only=True):
    """The newest first."""

    items: tuple[Told, ...]


def router(asking: Asking) -> APIRouter:
    routes = APIRouter(prefix="/v1/actions", tags=["actions"])

    @routes.get("", responses=answers.told(ActionList), summary="What people changed through this API")
    async def listed(
        *,
        request: Request,
        who: Annotated[str, Query(max_length=253)] = "",
        name: Annotated[str, Query(max_length=253, description="Of the object")] = "",
        limit: Annotated[int, Query(ge=1, le=MOST)] = LIMIT,
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
