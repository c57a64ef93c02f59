"""Lists: a paged snapshot from the store, or everything at once from the watch cache."""

import base64
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sluice.testkit.apiserver.store import Name, Refused, Shelf, Store, Stored, expired


class Page(NamedTuple):
    bodies: tuple[bytes, ...]
    version: int
    token: str
    """To continue with; empty at the end."""

    remaining: int


class _Rest(NamedTuple):
    version: int
    bodies: tuple[bytes, ...]


class Listings:
    """Keeps the remaining pages."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rests: dict[str, _Rest] = {}
        self._cached: dict[int, tuple[int, Mapping[Name, Stored]]] = {}

    def hold_cache(self, shelf: Shelf) -> None:
        """Freeze the watch cache of this resource: lists at version 0 show the present state from now on."""
        self._cached[id(shelf)] = self._store.version, dict(shelf.objects)

    def page(self, shelf: Shelf, namespace: str, name: str, query: Mapping[str, str]) -> Page:
        """The page that the query asks for.

        Raises:
            Refused: the token has expired, or the version is in the future.
        """
        limit = int(query.get("limit", 0))
        if token := query.get("continue"):
            return self._next(shelf, token, limit)
        asked = query.get("resourceVersion", "")
        if asked.isdigit() and int(asked) > self._store.version:
            message = f"Too large resource version: {asked}, current: {self._store.version}"
            raise Refused(504, "Timeout", message, retry_after_s=1, cause="ResourceVersionTooLarge")
        version, objects = self._store.version, shelf.objects
        if asked == "0":
            held_version, held = self._cached.get(id(shelf), (version, objects))
            return Page(_chosen(held, namespace, name), held_version, "", 0)
        return self._cut(version, _chosen(objects, namespace, name), limit)

    def _next(self, shelf: Shelf, token: str, limit: int) -> Page:
        rest = self._rests.pop(token, None)
        if rest is None:
            raise Refused(400, "BadRequest", "continue key is not valid: unknown token")
        if rest.version < shelf.oldest:
            raise expired(rest.version, shelf.oldest)
        return self._cut(rest.version, rest.bodies, limit)

    def _cut(self, version: int, bodies: tuple[bytes, ...], limit: int) -> Page:
        if not limit or len(bodies) <= limit:
            return Page(bodies, version, "", 0)
        token = base64.urlsafe_b64encode(f"{version}:{len(self._rests)}:{len(bodies)}".encode()).decode()
        self._rests[token] = _Rest(version, bodies[limit:])
        return Page(bodies[:limit], version, token, len(bodies) - limit)


def _chosen(objects: Mapping[Name, Stored], namespace: str, name: str) -> tuple[bytes, ...]:
    names: Iterable[Name] = sorted(objects)
    return tuple(objects[one].body for one in names if namespace in ("", one[0]) and name in ("", one[1]))
