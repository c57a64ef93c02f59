"""Answers as JSON: encoded by msgspec, with a revision as the ETag, and in pages."""

import base64
import binascii
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from fastapi import Query, Request, Response
from msgspec import Struct

from sluice.contracts import codec
from sluice.contracts.ids import Revision
from sluice.services.query_api.examples import EXAMPLES
from sluice.services.query_api.problems import MEDIA_TYPE, Problem, ProblemBody

LIMIT, MOST = 500, 5_000
"""Items per page: by default, and at most."""

Limit = Annotated[int, Query(ge=1, le=MOST, description="Maximum number of items in the answer")]
MORE = "`more` of the previous page, to get the next one"
Continue = Annotated[str, Query(alias="continue", max_length=1024, description=MORE)]


class Meta(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which moment a list describes, and whether there are more items."""

    revision: str
    """<epoch>.<sequence> of the moment that the answer describes."""

    more: str = ""
    """Pass it as `continue` to get the next page; empty on the last page."""


def revision_text(revision: Revision) -> str:
    return f"{revision.epoch}.{revision.sequence}"


def json(request: Request, value: Any, revision: Revision | None = None) -> Response:  # Any: whatever msgspec encodes
    """The JSON response, or 304 if the client already has this revision."""
    headers = {}
    if revision is not None:
        tag = f'"{revision_text(revision)}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        held = (one.strip() for one in request.headers.get("if-none-match", "").split(","))
        if tag in held:
            return Response(status_code=304, headers=headers)
    return Response(codec.encode(value), headers=headers, media_type="application/json")


def page(keys: Iterable[str], limit: int, after: str) -> tuple[list[str], str]:
    """The keys of this page, and what to continue with.

    Raises:
        Problem: `after` is not a value of `more`.
    """
    begin = decoded(after)
    rest = sorted(key for key in keys if key > begin)
    return rest[:limit], encoded(rest[limit - 1]) if len(rest) > limit else ""


def raw(body: bytes) -> msgspec.Raw:
    """JSON that is written as it is."""
    return msgspec.Raw(body)


FAILURES = (
    (400, "A parameter is wrong"),
    (401, "No valid token"),
    (403, "The caller lacks the scope"),
    (404, "There is no such object, or no such moment"),
)


def told(kind: Any, example: Any = None) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of a route that returns this type, for FastAPI. The default example is from `EXAMPLES`."""
    body = codec.encode(EXAMPLES[kind.__name__] if example is None else example)
    content: dict[str, Any] = {"schema": _schema(kind), "example": msgspec.json.decode(body)}
    failures: dict[int | str, dict[str, Any]] = {code: failure(says) for code, says in FAILURES}
    return {200: {"description": "The answer", "content": {"application/json": content}}, **failures}


def failure(says: str) -> dict[str, Any]:
    """The OpenAPI response of an error."""
    return {"description": says, "content": {MEDIA_TYPE: {"schema": _schema(ProblemBody)}}}


def _schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema of the type, with all references inlined."""
    (schema,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    whole: dict[str, Any] = _inlined(schema, parts, ())
    return whole


def _inlined(schema: Any, parts: dict[str, Any], inside: tuple[str, ...]) -> Any:
    match schema:
        case {"$ref": str(ref)}:
            name = ref.rpartition("/")[2]
            return {"type": "object"} if name in inside else _inlined(parts[name], parts, (*inside, name))
        case dict():
            return {key: _inlined(value, parts, inside) for key, value in schema.items() if key != "discriminator"}
        case list():
            return [_inlined(one, parts, inside) for one in schema]
        case _:
            return schema


def encoded(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decoded(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise no_page(text) from None


def no_page(text: str) -> Problem:
    return Problem(400, f"continue: {text!r} is not a value of `more`; leave it out to begin with the first page")
