"""Changes of the objects of a kind: the lines of a watch."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

import msgspec
from msgspec import Struct

from sluice.contracts import codec
from sluice.contracts.kinds import Resource
from sluice.drivers.kubernetes.client import Client, Refused, Status, Unreachable, collection

TIMEOUT_S = 540
"""After this time the server ends a watch, so that clients spread over the replicas again."""

SILENCE_S = 120.0
"""A watch without even a bookmark for this long is dead: servers send one each minute."""

MAX_LINE_BYTES = 16 << 20
"""Objects have 1.5 MB at most; the limit keeps anything else from filling the memory."""

INITIAL_END = "k8s.io/initial-events-end"
"""Annotation of the bookmark that ends the initial part of a streaming list."""


class Event(NamedTuple):
    type: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""

    object: bytes
    name: tuple[str, str]
    """Namespace and name; empty if the object does not state them."""

    version: str
    """Empty if the object does not state it."""

    ends_listing: bool


class _Line(Struct):
    type: str
    object: msgspec.Raw


class _Meta(Struct):
    namespace: str = ""
    name: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    annotations: dict[str, str] | None = None


class _Head(Struct):
    metadata: _Meta


_lines = msgspec.json.Decoder(_Line)
_heads = msgspec.json.Decoder(_Head)
_statuses = msgspec.json.Decoder(Status)


async def watched(
    client: Client, resource: Resource, version: str, *, initial: bool, silence_s: float
) -> AsyncGenerator[list[Event]]:
    """Events as they arrive, batched if they arrive together; ends when the server ends the watch.

    Args:
        version: only changes after it are sent.
        initial: send all existing objects first, then a marker that they are complete (a streaming list); `version` is
            empty then.

    Raises:
        Refused: the server refuses, at first or later: 410 means that the version is too old.
        Unreachable: the connection broke off.
    """
    query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(TIMEOUT_S)}
    if initial:
        query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    if version:
        query["resourceVersion"] = version
    rest = b""
    async with client.stream(collection(resource), query, silence_s) as pieces:
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                raise Unreachable(f"{collection(resource)}: a line of more than {MAX_LINE_BYTES >> 20} MiB")
            if lines:
                yield [_event(line) for line in lines if line]


def _event(line: bytes) -> Event:
    try:
        told = codec.deeply(_lines.decode, line)
    except msgspec.MsgspecError as error:
        raise Unreachable(f"a line of a watch that is no event: {error}: {line[:100]!r}") from error
    body = bytes(told.object)
    if told.type == "ERROR":
        try:
            status = _statuses.decode(body)
        except msgspec.MsgspecError:
            status = Status(code=500, message=body[:200].decode(errors="replace"))
        raise status.refused()
    try:
        meta = codec.deeply(_heads.decode, body).metadata
    except msgspec.MsgspecError:
        return Event(told.type, body, ("", ""), "", ends_listing=False)  # whoever decodes the object will report it
    ends = told.type == "BOOKMARK" and (meta.annotations or {}).get(INITIAL_END) == "true"
    return Event(told.type, body, (meta.namespace, meta.name), meta.resource_version, ends)


def is_expired(error: Exception) -> bool:
    """Whether the version is too old to continue from."""
    return isinstance(error, Refused) and error.code == 410
