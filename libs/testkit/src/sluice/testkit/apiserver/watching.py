"""Watches: the changes since a version and all future ones, one per line."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping

import msgspec

from sluice.testkit.apiserver.faults import Faults
from sluice.testkit.apiserver.resources import Json, Resource
from sluice.testkit.apiserver.store import Change, Refused, Shelf, Store

INITIAL_END = "k8s.io/initial-events-end"
"""The annotation of the bookmark that ends the initial part of a streaming list."""

_LONGEST_S = 1800.0


def check(query: Mapping[str, str], faults: Faults) -> None:
    """Return if the server supports such a watch.

    Raises:
        Refused: it does not.
    """
    if "sendInitialEvents" not in query:
        if "resourceVersionMatch" in query:
            raise _forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden for watch")
        return
    if not faults.streaming_lists:
        gate = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
        raise _forbidden("sendInitialEvents", gate)
    if query.get("resourceVersionMatch") != "NotOlderThan":
        raise _forbidden("resourceVersionMatch", "sendInitialEvents requires resourceVersionMatch=NotOlderThan")


def _forbidden(field: str, why: str) -> Refused:
    return Refused(422, "Invalid", f"ListOptions.meta.k8s.io is invalid: {field}: Forbidden: {why}")


class Watch:
    """An open watch. `lines` yields its output until its timeout."""

    def __init__(
        self, store: Store, shelf: Shelf, *, namespace: str, name: str, query: Mapping[str, str], faults: Faults
    ) -> None:
        self._store, self._shelf, self._namespace, self._name, self._faults = store, shelf, namespace, name, faults
        self._bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
        self._ends_s = float(query.get("timeoutSeconds", _LONGEST_S))
        self._mute = False
        self._waiting: deque[Change] = deque()
        self._arrived = asyncio.Event()
        asked = query.get("resourceVersion", "")
        self._initial = query.get("sendInitialEvents") == "true" or asked in ("", "0")
        self._marks_end = query.get("sendInitialEvents") == "true"
        self._since = 0 if self._initial else int(asked)

    def begin(self) -> bytes:
        """The first lines; from now on every change is recorded.

        Raises:
            Refused: the version is too old.
        """
        self._shelf.listeners.add(self._hear)
        if not self._initial:
            return b"".join(self._line(change) for change in self._shelf.after(self._since) if self._concerns(change))
        version = self._store.version
        lines = [
            _event("ADDED", stored.body)
            for name, stored in sorted(self._shelf.objects.items())
            if self._namespace in ("", name[0]) and self._name in ("", name[1])
        ]
        if self._marks_end and self._bookmarks:
            lines.append(bookmark(self._shelf.resource, version, {INITIAL_END: "true"}))
        return b"".join(lines)

    async def lines(self) -> AsyncIterator[bytes]:
        """The output after the first lines."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + self._ends_s
        while (left_s := ends_s - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left_s, self._faults.bookmark_every_s)):
                    await self._arrived.wait()
            except TimeoutError:
                if self._bookmarks and not self._muted():
                    yield bookmark(self._shelf.resource, self._store.version)
                continue
            self._arrived.clear()
            said = b"".join(map(self._line, self._waiting))
            self._waiting.clear()
            if not self._muted():
                yield said

    def _muted(self) -> bool:
        """Whether it is muted, permanently."""
        self._mute = self._mute or self._faults.mute
        return self._mute

    def end(self) -> None:
        self._shelf.listeners.discard(self._hear)

    def _hear(self, change: Change) -> None:
        if self._concerns(change):
            self._waiting.append(change)
            self._arrived.set()

    def _concerns(self, change: Change) -> bool:
        return self._namespace in ("", change.name[0]) and self._name in ("", change.name[1])

    def _line(self, change: Change) -> bytes:
        return _event(change.type, change.body)


def bookmark(resource: Resource, version: int, annotations: Mapping[str, str] | None = None) -> bytes:
    metadata: Json = {"resourceVersion": str(version), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = dict(annotations)
    body = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return _event("BOOKMARK", msgspec.json.encode(body))


def error(refused: Refused) -> bytes:
    return _event("ERROR", msgspec.json.encode(refused.status()))


def _event(kind: str, body: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), body)
