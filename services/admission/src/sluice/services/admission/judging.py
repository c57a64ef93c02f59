"""The answer to a review, given the other objects. Pure: the same rules as for manifests, `sluice.admission`."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from sluice.admission import among
from sluice.admission.admit import admit, cautions
from sluice.admission.among import admit_among, admit_removal, cautions_among
from sluice.admission.context import Others
from sluice.admission.defaults import defaults, name_label
from sluice.contracts.jsonpath import ROOT
from sluice.contracts.kinds import BY_API, RESOURCES, Kind
from sluice.contracts.objects import AnyObject
from sluice.contracts.status import DocumentProblem
from sluice.contracts.subjects import ObjectSubject
from sluice.kube.convert import ANTREA_NAME_LABEL
from sluice.kube.manifest import Document, parse
from sluice.services.admission.review import (
    MAX_WARNING,
    NOTHING,
    Cause,
    Details,
    Request,
    Response,
    Status,
    patched,
)

UNREADY = (
    "the webhook has not read all objects of the cluster yet, so it cannot check this one; try again in a few seconds"
)

_FILE = "object.json"
"""Makes the parser read JSON; the name is not shown anywhere."""


class Asked(NamedTuple):
    """A decoded request."""

    request: Request
    kind: Kind | None
    """None: the object is not ours to judge. Pods and other built-in kinds are validated by the API server itself."""

    made: AnyObject | None = None
    """The new object, if it has the shape of its kind."""

    before: AnyObject | None = None
    """The old object, for an update, if it has the shape of its kind."""

    wrong: tuple[Cause, ...] = ()
    """Why the new object does not have the shape of its kind."""


def read(request: Request) -> Asked:
    """Decode the request's objects. Never raises."""
    kind = BY_API.get((request.kind.api_version, request.kind.kind))
    if (
        kind is None
        or not RESOURCES[kind].written
        or request.sub_resource
        or request.operation in ("CONNECT", "DELETE")
    ):
        return Asked(request, kind if request.operation == "DELETE" else None)
    made, wrong = _object(request.object, kind)
    before, _ = _object(request.old_object, kind) if request.operation == "UPDATE" else (None, ())
    return Asked(request, kind, made, before, wrong)


def misses(asked: Asked, others: Others) -> str | None:
    """The tier that the object refers to, if it is not known to exist."""
    return among.misses(asked.made, others) if asked.made is not None else None


def validate(asked: Asked, others: Others, tiers: Collection[str] = ()) -> Response:
    """Decide whether the object is admitted. `tiers`: additional existing tiers, known from elsewhere."""
    request, made = asked.request, asked.made
    if asked.kind is None:
        return Response(uid=request.uid, allowed=True)
    if request.operation == "DELETE":
        namespace = request.namespace if RESOURCES[asked.kind].namespaced else ""
        reason = admit_removal(ObjectSubject(asked.kind, namespace, request.name), others)
        return _refused(request, (_cause("$.metadata.name", reason),)) if reason else _admitted(request)
    if made is None:
        return _refused(request, asked.wrong)
    if asked.before is not None and says_the_same(asked.before, made):
        return _admitted(request)
    if refusals := (*admit(made), *admit_among(made, others, tiers)):
        return _refused(request, tuple(_cause(*refusal) for refusal in refusals))
    return _admitted(request, (*cautions(made), *cautions_among(made, others)))


def mutate(asked: Asked) -> Response:
    """Fill in defaults. Errors are left alone, for `validate` to refuse."""
    if asked.made is None:
        return patched(asked.request)
    return patched(asked.request, defaults(asked.made))


def mutate_namespace(request: Request) -> Response:
    """Label every Namespace with its own name, for selectors of other tools; ours do not need it."""
    wanted = request.kind.api_version == "v1" and request.kind.kind == "Namespace" and not request.sub_resource
    if not wanted or request.operation not in ("CREATE", "UPDATE") or request.object == NOTHING:
        return patched(request)
    whole: Any = msgspec.json.decode(request.object)  # Any: JSON
    return patched(request, name_label(ANTREA_NAME_LABEL, whole))


def unready(request: Request) -> Response:
    """The answer while nothing can be judged: a refusal."""
    status = Status(message=UNREADY, reason="ServiceUnavailable", code=503)
    return Response(uid=request.uid, allowed=False, status=status)


def says_the_same(before: AnyObject, after: AnyObject) -> bool:
    """Nothing changed that the rules cover: an object that was admitted once must stay editable.

    Metadata updates by finalizers and owners must not fail because a tier was deleted meanwhile.
    """
    about = [(getattr(made, "spec", None), made.key, made.metadata.annotations) for made in (before, after)]
    return bool(about[0] == about[1])


def _object(raw: Raw, kind: Kind) -> tuple[AnyObject | None, tuple[Cause, ...]]:
    found = parse(bytes(raw), _FILE)
    wrong = tuple(_cause(one.path, one.reason) for one in found if isinstance(one, DocumentProblem))
    match found:
        case [Document(kind=said) as document] if said is kind:
            return document.object, ()
        case _:
            return None, wrong or (
                _cause(ROOT, f"not a {RESOURCES[kind].kind}, as the request says; send an object of that kind"),
            )


def _cause(path: str, reason: str) -> Cause:
    return Cause(field=path.removeprefix(ROOT).removeprefix(".") or "metadata", message=f"{path}: {reason}")


def _refused(request: Request, causes: Sequence[Cause]) -> Response:
    name = "/".join(filter(None, (request.namespace, request.name)))
    message = "\n".join([f"{request.kind.kind} {name} is not valid:", *(one.message for one in causes)])
    details = Details(name=request.name, kind=request.kind.kind, group=request.kind.group, causes=causes)
    status = Status(message=message, reason="Invalid", code=422, details=details)
    return Response(uid=request.uid, allowed=False, status=status)


def _admitted(request: Request, said: Sequence[tuple[str, str]] = ()) -> Response:
    warnings = tuple(f"{path}: {reason}"[:MAX_WARNING] for path, reason in said)
    return Response(uid=request.uid, allowed=True, warnings=warnings)
