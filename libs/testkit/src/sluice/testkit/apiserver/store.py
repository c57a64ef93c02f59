"""The contents of the fake: versioned objects, and the history for watches.

There is one counter for everything, as in etcd. The history is the watch cache: it begins at `oldest`, and requests for
earlier versions are answered as expired.
"""

import uuid
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from sluice.testkit.apiserver.resources import Json, Resource

Name = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""


class Refused(Exception):
    """A request that the server answers with a Status object."""

    def __init__(self, code: int, reason: str, message: str, *, retry_after_s: int = 0, cause: str = "") -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.retry_after_s, self.cause = retry_after_s, cause

    def status(self) -> Json:
        details: Json = {}
        if self.retry_after_s:
            details["retryAfterSeconds"] = self.retry_after_s
        if self.cause:
            details["causes"] = [{"reason": self.cause, "message": self.message}]
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            **({"details": details} if details else {}),
            "code": self.code,
        }


class Stored(NamedTuple):
    version: int
    body: bytes


class Change(NamedTuple):
    version: int
    type: str
    """ADDED, MODIFIED or DELETED."""

    name: Name
    body: bytes


class Shelf:
    """The objects of one resource."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.objects: dict[Name, Stored] = {}
        self.history: deque[Change] = deque()
        self.oldest = 0
        """Watches may begin after this version."""

        self.listeners: set[Callable[[Change], None]] = set()
        self.installed = True

    def after(self, version: int) -> Iterator[Change]:
        """The changes since that version.

        Raises:
            Refused: they have expired.
        """
        if version < self.oldest:
            raise expired(version, self.oldest)
        return (change for change in tuple(self.history) if change.version > version)

    def compact(self, at: int) -> None:
        """Drop the history up to this version."""
        self.oldest = at
        while self.history and self.history[0].version <= at:
            self.history.popleft()


def expired(version: int, oldest: int) -> Refused:
    return Refused(410, "Expired", f"too old resource version: {version} ({oldest})")


class Store:
    """All objects. Writes of tests and of clients go through here."""

    def __init__(self, resources: tuple[Resource, ...], clock: Callable[[], str] | None = None) -> None:
        self.version = 1000  # like a server that has run for a while: 0 and 1 have special meanings
        self.shelves = {(one.api_version, one.plural): Shelf(one) for one in resources}
        self._clock = clock or (lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.writes: list[tuple[str, str, Name]] = []
        """Accepted writes: verb (create, update, status, delete), plural, name."""

    def shelf(self, kind: str, api_version: str = "") -> Shelf:
        """By kind or plural, if that is unambiguous."""
        found = [
            shelf
            for (version, plural), shelf in self.shelves.items()
            if kind in (plural, shelf.resource.kind) and api_version in ("", version)
        ]
        if len(found) != 1:
            raise LookupError(f"{kind} {api_version}: {len(found)} such resources")
        return found[0]

    def create(self, shelf: Shelf, written: Json) -> bytes:
        name = self._name(shelf, written)
        if name in shelf.objects:
            raise Refused(409, "AlreadyExists", f'{shelf.resource.plural} "{name[1]}" already exists')
        made = _named(shelf.resource, written)
        made["metadata"] = {
            **written["metadata"],
            "uid": written["metadata"].get("uid") or str(uuid.uuid4()),
            "creationTimestamp": written["metadata"].get("creationTimestamp") or self._clock(),
            "generation": 1,
        }
        if shelf.resource.status:
            made.pop("status", None)
        return self._store(shelf, "create", "ADDED", name, made)

    def update(self, shelf: Shelf, name: Name, written: Json, *, status: bool = False) -> bytes:
        """Replace the object, or only its status."""
        before = self.read(shelf, name)
        there: Json = msgspec.json.decode(before.body)
        meta = written.get("metadata", {})
        if (expected := meta.get("resourceVersion")) and expected != str(before.version):
            raise Refused(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {shelf.resource.plural} "{name[1]}": the object has been modified; '
                "please apply your changes to the latest version and try again",
            )
        if (uid := meta.get("uid")) and uid != there["metadata"]["uid"]:
            raise Refused(
                409, "Conflict", f"Precondition failed: UID in precondition: {uid}, UID in object meta: other"
            )
        if status:
            made = {**there, "status": written.get("status", {})}
        else:
            kept = {field: there["metadata"].get(field) for field in ("uid", "creationTimestamp", "generation")}
            made = _named(shelf.resource, written)
            made["metadata"] = {**meta, **{field: value for field, value in kept.items() if value is not None}}
            if shelf.resource.status:
                made.pop("status", None)
                if "status" in there:
                    made["status"] = there["status"]
            if made.get("spec") != there.get("spec"):
                made["metadata"]["generation"] = there["metadata"].get("generation", 0) + 1
        made["metadata"] = {**made["metadata"], "resourceVersion": str(before.version)}
        if made == there:
            return before.body  # a write without changes creates no version
        return self._store(shelf, "status" if status else "update", "MODIFIED", name, made)

    def put(self, shelf: Shelf, written: Json) -> bytes:
        """For tests: create or replace the whole object, including the status."""
        name = self._name(shelf, written)
        if name not in shelf.objects:
            self.create(shelf, written)
        else:
            self.update(shelf, name, {**written, "metadata": dict(written["metadata"])})
        if "status" in written and shelf.resource.status:
            self.update(shelf, name, {"status": written["status"]}, status=True)
        return shelf.objects[name].body

    def put_raw(self, shelf: Shelf, name: Name, body: bytes) -> None:
        """For tests: set the object to these bytes, whatever they are."""
        self.version += 1
        kind = "MODIFIED" if name in shelf.objects else "ADDED"
        shelf.objects[name] = Stored(self.version, body)
        self._tell(shelf, Change(self.version, kind, name, body))

    def delete(self, shelf: Shelf, name: Name) -> bytes:
        before = self.read(shelf, name)
        self.version += 1
        body = before.body
        try:
            last: Any = msgspec.json.decode(before.body)
            last["metadata"]["resourceVersion"] = str(self.version)
            body = msgspec.json.encode(last)
        except (msgspec.DecodeError, KeyError, TypeError):
            pass  # made invalid by a test
        del shelf.objects[name]
        self.writes.append(("delete", shelf.resource.plural, name))
        self._tell(shelf, Change(self.version, "DELETED", name, body))
        return body

    def read(self, shelf: Shelf, name: Name) -> Stored:
        if name not in shelf.objects:
            raise Refused(404, "NotFound", f'{shelf.resource.plural} "{name[1]}" not found')
        return shelf.objects[name]

    def _store(self, shelf: Shelf, verb: str, kind: str, name: Name, made: Json) -> bytes:
        self.version += 1
        made["metadata"]["resourceVersion"] = str(self.version)
        body = msgspec.json.encode(made)
        shelf.objects[name] = Stored(self.version, body)
        self.writes.append((verb, shelf.resource.plural, name))
        self._tell(shelf, Change(self.version, kind, name, body))
        return body

    def _tell(self, shelf: Shelf, change: Change) -> None:
        shelf.history.append(change)
        for listener in tuple(shelf.listeners):
            listener(change)

    def _name(self, shelf: Shelf, written: Json) -> Name:
        meta = written["metadata"]
        return (meta.get("namespace") or "default") if shelf.resource.namespaced else "", meta["name"]


def _named(resource: Resource, written: Json) -> Json:
    """The object with its kind at the beginning."""
    named = {"apiVersion": resource.api_version, "kind": resource.kind}
    return {**named, **{field: value for field, value in written.items() if field not in named}}
