"""PUT and DELETE /v1/objects: change objects that people write. Ingest does it, at the source; see ADR 11."""

import asyncio
import time
import uuid
from typing import Annotated

import msgspec
import structlog
from fastapi import APIRouter, Header, Query, Request, Response
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from sluice.contracts import codec, subjects
from sluice.contracts.actions import Accepted, Action, AnyAnswer, AnyQuestion, Declined, DeleteQuestion, PutQuestion
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.services.query_api import answers
from sluice.services.query_api.actions import Record
from sluice.services.query_api.asking import Asking, InNamespace, Name, OfKind
from sluice.services.query_api.auth import Caller, Scope
from sluice.services.query_api.mirrors import Version
from sluice.services.query_api.objects import Stored, stored
from sluice.services.query_api.problems import Problem

log = structlog.get_logger()

MOST_BYTES = 2 << 20
"""Maximum size of an object; etcd's own limit is 1.5 MiB."""

ANSWER_S = 35.0
"""Timeout of ingest's answer: Kubernetes may take 30 s to answer it."""

SEEN_S = 10.0
"""How long to wait until the change comes back as a new version of the object."""

_NOBODY = Revision(0, 0)

Reason = Annotated[str, Query(max_length=1024, description="Why the change is made; /v1/actions shows it")]
IfMatch = Annotated[
    str | None, Header(max_length=256, description='Change the object only if this is its ETag: "<epoch>.<sequence>"')
]
IfNoneMatch = Annotated[
    str | None, Header(max_length=16, description="*: create the object, but do not change an existing one")
]

_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


class _Meta(msgspec.Struct, frozen=True):
    name: str
    namespace: str = ""


class _Head(msgspec.Struct, frozen=True, rename={"api_version": "apiVersion"}):
    api_version: str
    kind: str
    metadata: _Meta


class Changes:
    """Asks ingest, records the action, and waits until the change comes back."""

    def __init__(self, asking: Asking, record: Record) -> None:
        self._asking, self._record = asking, record

    async def make(self, request: Request, caller: Caller, question: AnyQuestion, reason: str) -> bool:
        """Make the change and wait until it is visible; True if it changed anything.

        Raises:
            Problem: it was not made, or the outcome is unknown.
        """
        before = self.known(question.kind, question.namespace, question.name)
        action = Action(
            id=uuid.uuid4().hex,
            at_ns=time.time_ns(),
            state="asked",
            verb="put" if isinstance(question, PutQuestion) else "delete",
            kind=question.kind,
            namespace=question.namespace,
            name=question.name,
            who=caller.name,
            by=caller.by,
            address=request.client.host if request.client else "",
            reason=reason,
            before=before.revision if before else None,
        )
        await self._record.tell(action)
        answer = await self._ask(question)
        now = msgspec.structs.replace(action, at_ns=time.time_ns())
        match answer:
            case Accepted(changed=changed):
                after = await self._seen(question, before) if changed else before
                revision = after.revision if after else None
                await self._record.tell(msgspec.structs.replace(now, state="done", after=revision))
                return changed
            case Declined(status=status, reason=says):
                await self._record.tell(msgspec.structs.replace(now, state="refused", says=says))
                raise Problem(status, says)
            case None:
                await self._record.tell(msgspec.structs.replace(now, state="unknown"))
                raise Problem(
                    504, f"ingest did not answer within {ANSWER_S:g} s; GET the object to see whether it was changed"
                )

    def known(self, kind: Kind, namespace: str, name: str) -> Version | None:
        return self._asking.board.objects.values.get(subjects.object_(kind, namespace, name))

    async def _ask(self, question: AnyQuestion) -> AnyAnswer | None:
        try:
            told = await self._asking.bus.nc.request(subjects.WRITE, codec.encode(question), timeout=ANSWER_S)
        except NoRespondersError:
            return Declined(
                status=503,
                reason="the source cannot be changed: ingest does not run, or runs without SLUICE_INGEST_WRITABLE=true",
            )
        except NatsTimeout:
            return None
        answer: AnyAnswer = codec.decode(told.data, AnyAnswer)  # type: ignore[arg-type]  # a union is not a type
        return answer

    async def _seen(self, question: AnyQuestion, before: Version | None) -> Version | None:
        """Wait for a new version of the object; returns the old one if none comes in time."""
        gone = isinstance(question, DeleteQuestion)
        deadline = time.monotonic() + SEEN_S
        while time.monotonic() < deadline:
            now = self.known(question.kind, question.namespace, question.name)
            if (now is None) if gone else (now is not None and (before is None or now.revision > before.revision)):
                return now
            await asyncio.sleep(0.02)
        return before


def router(asking: Asking, record: Record) -> APIRouter:
    routes = APIRouter(prefix="/v1/objects", tags=["objects"])
    changes = Changes(asking, record)
    path = "/{kind}/{namespace}/{name}"

    @routes.put(path, responses=answers.told(Stored), summary="Create or change an object", openapi_extra=_BODY)
    async def put(
        *,
        request: Request,
        kind: OfKind,
        namespace: InNamespace,
        name: Name,
        reason: Reason = "",
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        """Ingest writes the object to the cluster or the folder that it reads; the answer is its new version."""
        caller = asking.gate.require(request, Scope.WRITE)
        where = _place(kind, namespace)
        body = await _body(request, kind, where, name)
        expected = _expected(if_match, if_none_match)
        _check(changes.known(kind, where, name), expected)
        question = PutQuestion(kind=kind, namespace=where, name=name, body=body, expected=expected)
        await changes.make(request, caller, question, reason)
        version = changes.known(kind, where, name)
        if version is None:
            raise Problem(504, "the object is written, but has not come back from the source yet; GET it again")
        return answers.json(request, stored(subjects.object_(kind, where, name), version), version.revision)

    @routes.delete(
        path,
        status_code=204,
        response_class=Response,
        responses={code: told for code, told in answers.told(Stored).items() if code != 200},
        summary="Delete an object",
    )
    async def delete(
        *,
        request: Request,
        kind: OfKind,
        namespace: InNamespace,
        name: Name,
        reason: Reason = "",
        if_match: IfMatch = None,
    ) -> Response:
        """Ingest deletes the object in the cluster or the folder that it reads."""
        caller = asking.gate.require(request, Scope.WRITE)
        where = _place(kind, namespace)
        there = changes.known(kind, where, name)
        if there is None:
            raise Problem(404, f"{kind} {namespace}/{name}: there is no such object")
        expected = _expected(if_match, None)
        _check(there, expected)
        question = DeleteQuestion(kind=kind, namespace=where, name=name, expected=expected)
        await changes.make(request, caller, question, reason)
        return Response(status_code=204)

    return routes


def _place(kind: Kind, namespace: str) -> str:
    """The Namespace, empty for none.

    Raises:
        Problem: people do not write this kind, or not in this Namespace.
    """
    resource = RESOURCES[kind]
    if not resource.written:
        raise Problem(
            422,
            f"kind: {resource.plural} cannot be changed here, because the cluster maintains them; change "
            "policies, tiers or groups",
        )
    if resource.namespaced == (namespace == "_"):
        todo = "belong to a Namespace: write its name" if resource.namespaced else "belong to no Namespace: write _"
        raise Problem(422, f"namespace: {resource.plural} {todo}")
    return "" if namespace == "_" else namespace


async def _body(request: Request, kind: Kind, namespace: str, name: str) -> bytes:
    """The object, checked to be the one in the path; everything else is checked by ingest and the source.

    Raises:
        Problem
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise Problem(413, f"the object is larger than {MOST_BYTES} bytes, which no cluster accepts; split it")
    try:
        head = msgspec.json.decode(body, type=_Head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(422, f"the body is not an object in JSON: {error}") from error
    resource, meta = RESOURCES[kind], head.metadata
    wanted = _Head(resource.api_version, resource.kind, _Meta(name, namespace))
    if msgspec.structs.replace(head, metadata=_Meta(meta.name, meta.namespace or namespace)) != wanted:
        raise Problem(
            422,
            f"the body is not the {resource.kind} ({resource.api_version}) that the path names; correct one of the two",
        )
    return body


def _expected(if_match: str | None, if_none_match: str | None) -> Revision | None:
    if if_none_match is not None and if_match is not None:
        raise Problem(400, "If-Match, If-None-Match: only one of them is possible; leave the other out")
    if if_none_match is not None:
        if if_none_match.strip() != "*":
            raise Problem(400, "If-None-Match: only * is possible: create the object if it does not exist")
        return _NOBODY
    if if_match is None:
        return None
    epoch, dot, sequence = if_match.strip().strip('"').partition(".")
    if not (dot and epoch.isascii() and epoch.isdigit() and sequence.isascii() and sequence.isdigit()):
        raise Problem(400, f"If-Match: {if_match} is not the ETag of an object; GET the object to learn it")
    return Revision(int(epoch), int(sequence))


def _check(there: Version | None, expected: Revision | None) -> None:
    """Fail early if the object known here is not the expected one; ingest checks again."""
    if expected is not None and expected != (there.revision if there else _NOBODY):
        raise Problem(412, "the object was changed, created or deleted meanwhile; GET it again, then decide")
