"""What becomes of the objects of a kind: the lines of a watch."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

import msgspec
from msgspec import Struct

from sluice.contracts.kinds import Resource
from sluice.drivers.kubernetes.client import Client, Refused, Status, Unreachable, collection

TIMEOUT_S = 540
"""After which the server ends a watch by itself, so that clients spread over replicas again."""

SILENCE_S = 120.0
"""A watch that says nothing for so long, not even where it stands, is dead: servers send a bookmark each minute."""

MAX_LINE_BYTES = 16 << 20
"""Objects have 1.5 MB at most, and what cannot be an event shall not fill the memory."""

INITIAL_END = "k8s.io/initial-events-end"
"""Annotation of the bookmark that ends a streaming list."""


class Event(NamedTuple):
    type: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""

    object: bytes
    name: tuple[str, str]
    """Namespace and name; empty where the object does not say them."""

    version: str
    """Empty where the object does not say it."""

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
    """Events as they come, those that arrived together at once; ends when the server ends the watch.

    Args:
        version: what happened after it is told.
        initial: tell first all that is there, and then when that is over (a streaming list); `version` is empty then.

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
        told = _lines.decode(line)
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
        meta = _heads.decode(body).metadata
    except msgspec.MsgspecError:
        return Event(told.type, body, ("", ""), "", ends_listing=False)  # who reads the object will say so
    ends = told.type == "BOOKMARK" and (meta.annotations or {}).get(INITIAL_END) == "true"
    return Event(told.type, body, (meta.namespace, meta.name), meta.resource_version, ends)


def is_expired(error: Exception) -> bool:
    """The version is too old to go on from."""
    return isinstance(error, Refused) and error.code == 410
