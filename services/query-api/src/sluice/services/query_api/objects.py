"""/v1/objects: the objects that people and clusters wrote, as they are or were."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct

from sluice.contracts import subjects
from sluice.contracts.kinds import Kind
from sluice.contracts.streams import LEDGER
from sluice.ledger.times import written
from sluice.runtime.follow import CaughtUp, follow
from sluice.runtime.message import Message
from sluice.services.query_api import answers
from sluice.services.query_api.answers import LIMIT, Meta
from sluice.services.query_api.asking import Asking, At, InNamespace, Name, OfKind, Seq
from sluice.services.query_api.auth import Scope
from sluice.services.query_api.mirrors import Version
from sluice.services.query_api.problems import Problem


class Stored(Struct, frozen=True, kw_only=True):
    """An object, and the entry of the ledger that stored it."""

    kind: Kind
    namespace: str
    name: str
    revision: str
    """<epoch>.<sequence>"""

    time: str
    """When it was stored, RFC 3339."""

    object: msgspec.Raw
    """As on the bus: complete for what people write, trimmed to what policy needs for what clusters report."""


class ObjectList(Struct, frozen=True, kw_only=True):
    metadata: Meta
    items: tuple[Stored, ...]


class PastVersion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version of an object."""

    revision: str
    time: str
    object: msgspec.Raw | None = None
    """None: it was deleted."""


class History(Struct, frozen=True, kw_only=True):
    items: tuple[PastVersion, ...]
    """Oldest first; as far back as the ledger goes."""


def router(asking: Asking) -> APIRouter:
    routes = APIRouter(prefix="/v1/objects", tags=["objects"])

    @routes.get("", responses=answers.told(ObjectList), summary="List objects")
    async def listed(
        *,
        request: Request,
        kind: Annotated[Kind | None, Query(description="Only objects of this kind")] = None,
        namespace: Annotated[str | None, Query(max_length=253, description="Only objects of this Namespace")] = None,
        seq: Seq = None,
        at: At = None,
        limit: answers.Limit = LIMIT,
        continue_: answers.Continue = "",
    ) -> Response:
        asking.gate.require(request, Scope.READ)
        there = await asking.moments.find(seq, at)
        wanted = [subject for subject in there.values if _is_asked(subject, kind, namespace)]
        keys, more = answers.page(wanted, limit, continue_)
        items = tuple(stored(subject, there.values[subject]) for subject in keys)
        meta = Meta(revision=answers.revision_text(there.revision), more=more)
        return answers.json(request, ObjectList(metadata=meta, items=items), there.revision)

    @routes.get("/{kind}/{namespace}/{name}", responses=answers.told(Stored), summary="One object")
    async def one(
        *, request: Request, kind: OfKind, namespace: InNamespace, name: Name, seq: Seq = None, at: At = None
    ) -> Response:
        asking.gate.require(request, Scope.READ)
        there = await asking.moments.find(seq, at)
        subject = _subject(kind, namespace, name)
        version = there.values.get(subject)
        if version is None:
            raise Problem(
                404, f"{kind} {namespace}/{name}: there is no such object at revision {there.revision.sequence}"
            )
        return answers.json(request, stored(subject, version), version.revision)

    @routes.get(
        "/{kind}/{namespace}/{name}/history",
        responses=answers.told(History),
        summary="All versions of an object that the ledger still has",
    )
    async def history(*, request: Request, kind: OfKind, namespace: InNamespace, name: Name) -> Response:
        asking.gate.require(request, Scope.READ)
        found = []
        async with follow(asking.bus, LEDGER.name, (_subject(kind, namespace, name),)) as events:
            async for event in events:
                match event:
                    case Message(body=body, revision=revision, time_ns=time_ns):
                        found.append(
                            PastVersion(
                                revision=answers.revision_text(revision),
                                time=written(time_ns),
                                object=answers.raw(body) if body else None,
                            )
                        )
                    case CaughtUp():
                        break
                    case _:
                        found.clear()
        return answers.json(request, History(items=tuple(found)))

    return routes


def _subject(kind: OfKind, namespace: InNamespace, name: Name) -> str:
    return subjects.object_(kind, "" if namespace == "_" else namespace, name)


def _is_asked(subject: str, kind: Kind | None, namespace: str | None) -> bool:
    named = subjects.known(subject)
    if not isinstance(named, subjects.ObjectSubject):  # a mark, or something from a later version
        return False
    return kind in (None, named.kind) and namespace in (None, named.namespace)


def stored(subject: str, version: Version) -> Stored:
    parsed = subjects.parse(subject)
    if not isinstance(parsed, subjects.ObjectSubject):
        raise AssertionError(f"{subject} is an object's")
    return Stored(
        kind=parsed.kind,
        namespace=parsed.namespace,
        name=parsed.name,
        revision=answers.revision_text(version.revision),
        time=written(version.time_ns),
        object=answers.raw(version.body),
    )
