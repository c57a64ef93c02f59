"""/v1/audit: the nodes' decisions about connections, and how many of them were lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from msgspec import Struct
from msgspec.structs import replace

from sluice.contracts import codec
from sluice.contracts.audit import AuditEvent, Inspection
from sluice.ledger.times import written
from sluice.services.query_api import answers
from sluice.services.query_api.asking import Asking
from sluice.services.query_api.auth import Caller, Scope
from sluice.services.query_api.filling import Filling
from sluice.services.query_api.moments import named
from sluice.services.query_api.problems import Problem
from sluice.services.query_api.store import Event, Wanted

KEEPALIVE_S = 15.0
"""Interval of comments on a quiet stream, so that proxies do not consider the connection dead."""

Kind = Literal["np", "l7", "loss"]


class Seen(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event of the audit log. Only some callers may read what it says of users' requests."""

    time: str
    node: str
    kind: str
    verdict: str = ""
    unit: str = ""
    source_pod: str = ""
    destination_pod: str = ""
    event: msgspec.Raw


class SeenList(Struct, frozen=True, kw_only=True, omit_defaults=True):
    items: tuple[Seen, ...]
    """Newest first."""

    more: str = ""
    """Pass it as `continue` to get older ones; empty if there are none."""


class _Filter(Struct, frozen=True, kw_only=True):
    node: str = ""
    kind: str = ""
    verdict: str = ""
    unit: str = ""
    pod: str = ""

    def takes(self, event: Event) -> bool:
        for field in ("node", "kind", "verdict", "unit"):
            if (wanted := getattr(self, field)) and getattr(event, field) != wanted:
                return False
        return not self.pod or self.pod in (event.source_pod, event.destination_pod)


Node = Annotated[str, Query(max_length=253, description="Only events of this node")]
OfKind = Annotated[
    Kind | None,
    Query(description="np: decisions of rules; l7: events of the inspection engine; loss: lines that are missing"),
]
Verdict = Annotated[
    Literal["Allow", "Drop", "Reject", "Pass", "Redirect"] | None, Query(description="Only decisions with this outcome")
]
Unit = Annotated[str, Query(max_length=1024, description="Only decisions of this policy, such as acnps:_:deny")]
OfPod = Annotated[str, Query(max_length=512, description="Only connections from or to this Pod, as NAMESPACE/POD")]


def router(asking: Asking, filling: Filling) -> APIRouter:
    routes = APIRouter(prefix="/v1/audit", tags=["audit"])

    @routes.get("", responses=answers.told(SeenList), summary="Decisions about connections, newest first")
    async def listed(
        *,
        request: Request,
        since: Annotated[
            str | None, Query(max_length=64, description="Only events from this time on, RFC 3339")
        ] = None,
        until: Annotated[str | None, Query(max_length=64, description="Only events up to this time, RFC 3339")] = None,
        node: Node = "",
        kind: OfKind = None,
        verdict: Verdict = None,
        policy: Unit = "",
        pod: OfPod = "",
        limit: answers.Limit = 100,
        continue_: answers.Continue = "",
    ) -> Response:
        caller = asking.gate.require(request, Scope.READ)
        wanted = Wanted(
            node=node,
            kind=kind or "",
            verdict=verdict or "",
            unit=policy,
            pod=pod,
            before=_before(continue_),
            limit=limit + 1,
        )
        if since is not None:
            wanted = replace(wanted, since_us=named("since", since).first // 1_000)
        if until is not None:
            wanted = replace(wanted, until_us=named("until", until).last // 1_000)
        async with filling.using() as store:
            found = await asyncio.to_thread(store.find, wanted)
        more = answers.encoded(_place(found[limit - 1])) if len(found) > limit else ""
        items = tuple(_seen(event, caller) for event in found[:limit])
        return answers.json(request, SeenList(items=items, more=more))

    @routes.get("/follow", summary="Decisions about connections as they are made, as server-sent events")
    async def follow(
        *,
        request: Request,
        node: Node = "",
        kind: OfKind = None,
        verdict: Verdict = None,
        policy: Unit = "",
        pod: OfPod = "",
    ) -> Response:
        caller = asking.gate.require(request, Scope.READ)
        wanted = _Filter(node=node, kind=kind or "", verdict=verdict or "", unit=policy, pod=pod)
        return StreamingResponse(_events(filling, wanted, caller), media_type="text/event-stream")

    return routes


async def _events(filling: Filling, wanted: _Filter, caller: Caller) -> AsyncIterator[bytes]:
    async with filling.listening() as listener:
        yield b": following\n\n"
        while True:
            try:
                async with asyncio.timeout(KEEPALIVE_S):
                    event = await listener.events.get()
            except TimeoutError:
                yield b": quiet\n\n"
                continue
            if listener.lost:
                lost, listener.lost = listener.lost, 0
                yield b'event: lost\ndata: {"events":%d}\n\n' % lost
            if wanted.takes(event):
                yield b"event: audit\ndata: " + codec.encode(_seen(event, caller)) + b"\n\n"


def _seen(event: Event, caller: Caller) -> Seen:
    body = event.body
    if Scope.CONTENT not in caller.scopes:
        body = _without_content(event)
    return Seen(
        time=written(event.at_us * 1_000),
        node=event.node,
        kind=event.kind,
        verdict=event.verdict,
        unit=event.unit,
        source_pod=event.source_pod,
        destination_pod=event.destination_pod,
        event=answers.raw(body),
    )


def _without_content(event: Event) -> bytes:
    """The event without user content; only its type if a later version wrote it, whose fields are unknown."""
    try:
        told: AuditEvent = codec.decode(event.body, AuditEvent)  # type: ignore[arg-type]  # a union is not a type
    except codec.Undecodable:
        return codec.encode({"type": event.kind})
    return codec.encode(replace(told, packet="", url="") if isinstance(told, Inspection) else told)


def _place(event: Event) -> str:
    return f"{event.at_us}|{event.place}"


def _before(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    try:
        at_us, place = answers.decoded(text).split("|")
        return int(at_us), int(place)
    except ValueError:
        raise Problem(
            400, f"continue: {text!r} is not a value of `more`; leave it out to begin with the newest"
        ) from None
