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
from sluice.services.query_api.asking import Asking, InNamespace, Name
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

Reason = Annotated[str, Query(max_length=1024, description="Why, for those who ask later")]
IfMatch = Annotated[str | None, Header(max_length=256, description='The ETag of the object: "<epoch>.<sequence>"')]
IfNoneMatch = Annotated[str | None, Header(max_length=16, description="* makes an object, and changes none")]

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
                raise Problem(504, f"ingest does not answer within {ANSWER_S:g} s; look whether it was done")

    def known(self, kind: Kind, namespace: str, name: str) -> Version | None:
        return self._asking.board.objects.values.get(subjects.object_(kind, namespace, name))

    async def _ask(self, question: AnyQuestion) -> AnyAnswer | None:
        try:
            told = await self._asking.bus.nc.request(subjects.WRITE, codec.encode(question), timeout=ANSWER_S)
        except NoRespondersError:
            return Declined(
                status=503,
                reason="nobody writes to the source: ingest does not run, or without SLUICE_INGEST_WRITABLE=true",
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

    @routes.put(path, responses=answers.told(Stored), summary="Make or change an object", openapi_extra=_BODY)
    async def put(
        *,
        request: Request,
        kind: Kind,
        namespace: InNamespace,
        name: Name,
        reason: Reason = "",
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        caller = asking.gate.require(request, Scope.WRITE)
        where = _place(kind, namespace)
        body = await _body(request, kind, where, name)
        expected = _expected(if_match, if_none_match)
        _check(changes.known(kind, where, name), expected)
        question = PutQuestion(kind=kind, namespace=where, name=name, body=body, expected=expected)
        await changes.make(request, caller, question, reason)
        version = changes.known(kind, where, name)
        if version is None:
            raise Problem(504, "it is written, and does not come back yet; look again")
        return answers.json(request, stored(subjects.object_(kind, where, name), version), version.revision)

    @routes.delete(
        path,
        status_code=204,
        response_class=Response,
        responses={code: told for code, told in answers.told(Stored).items() if code != 200},
        summary="Remove an object",
    )
    async def delete(
        *,
        request: Request,
        kind: Kind,
        namespace: InNamespace,
        name: Name,
        reason: Reason = "",
        if_match: IfMatch = None,
    ) -> Response:
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
        raise Problem(422, f"kind: the cluster itself says what {resource.plural} there are; people write policies")
    if resource.namespaced == (namespace == "_"):
        raise Problem(422, f"namespace: {kind} {'live in one' if resource.namespaced else 'have none: write _'}")
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
            raise Problem(413, f"the object has more than {MOST_BYTES} bytes; no cluster takes that")
    try:
        head = msgspec.json.decode(body, type=_Head)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Problem(422, f"the body is no object as JSON: {error}") from error
    resource, meta = RESOURCES[kind], head.metadata
    wanted = _Head(resource.api_version, resource.kind, _Meta(name, namespace))
    if msgspec.structs.replace(head, metadata=_Meta(meta.name, meta.namespace or namespace)) != wanted:
        raise Problem(422, f"the body is not the {resource.kind} of {resource.api_version} that the path names")
    return body


def _expected(if_match: str | None, if_none_match: str | None) -> Revision | None:
    if if_none_match is not None and if_match is not None:
        raise Problem(400, "If-Match and If-None-Match: one of them says what is expected; leave the other out")
    if if_none_match is not None:
        if if_none_match.strip() != "*":
            raise Problem(400, "If-None-Match: only * is understood here: make it if there is none")
        return _NOBODY
    if if_match is None:
        return None
    epoch, dot, sequence = if_match.strip().strip('"').partition(".")
    if not (dot and epoch.isascii() and epoch.isdigit() and sequence.isascii() and sequence.isdigit()):
        raise Problem(400, f"If-Match: {if_match} is no ETag of an object; GET it first")
    return Revision(int(epoch), int(sequence))


def _check(there: Version | None, expected: Revision | None) -> None:
    """Fail early if the object known here is not the expected one; ingest checks again."""
    if expected is not None and expected != (there.revision if there else _NOBODY):
        raise Problem(412, "the object is not what was expected any more; look at it again, then decide")
