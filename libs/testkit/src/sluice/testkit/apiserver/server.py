"""The fake on a socket. Tests use `ApiServer`: its store, its faults, and how to connect to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import yaml
from aiohttp import web
from multidict import MultiMapping

from sluice.testkit.apiserver import discovery, table, watching
from sluice.testkit.apiserver.faults import Faults
from sluice.testkit.apiserver.listing import Listings
from sluice.testkit.apiserver.resources import DEFINITIONS, Json, Resource, bare_definition, definitions_in, served
from sluice.testkit.apiserver.store import Name, Refused, Shelf, Store

_JSON = "application/json"


class Tls(NamedTuple):
    """Certificates for a server with TLS."""

    context: ssl.SSLContext
    authority: bytes
    """The CA certificate for clients, PEM."""


class _Target(NamedTuple):
    shelf: Shelf
    namespace: str
    name: str
    part: str


class ApiServer:
    """Runs until it is closed; `restart` keeps its port."""

    def __init__(self, store: Store, tls: Tls | None, token: str) -> None:
        self.store, self.faults = store, Faults()
        self.listings = Listings(store)
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []
        """Method, path and query of all requests, in order."""

        self.port = 0
        self.token = token
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._watching: dict[int, web.Request] = {}

    @classmethod
    @asynccontextmanager
    async def run(cls, *, crds: Path | None = None, tls: Tls | None = None, token: str = "") -> AsyncIterator[Self]:
        """A server for all kinds of contracts on a free port of this machine.

        Args:
            crds: a folder of definitions, with the short names and columns of custom kinds.
            token: the bearer token required from clients; empty for none.
        """
        definitions = definitions_in(crds) if crds and crds.is_dir() else []
        server = cls(Store(served(definitions)), tls, token)
        server._define(definitions)
        await server.open()
        try:
            yield server
        finally:
            await server.close()

    async def open(self) -> None:
        app = web.Application(client_max_size=4 << 20)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls and self._tls.context)
        await site.start()
        if not self.port:
            self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        self.cut_watches()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig for it."""
        cluster: Json = {"server": self.url}
        if self._tls:
            authority = path.with_suffix(".ca.pem")
            authority.write_bytes(self._tls.authority)
            cluster["certificate-authority"] = str(authority)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "double",
            "clusters": [{"name": "double", "cluster": cluster}],
            "users": [{"name": "double", "user": {"token": self.token} if self.token else {}}],
            "contexts": [{"name": "double", "context": {"cluster": "double", "user": "double"}}],
        }
        path.write_text(yaml.safe_dump(document))
        return path

    # ------------------------------------------------------------------------------------------------- what goes wrong

    def cut_watches(self) -> None:
        """Abort all open watches, possibly in the middle of a line."""
        for request in tuple(self._watching.values()):
            if request.transport is not None:
                request.transport.abort()

    def forget_history(self) -> None:
        """Watches from earlier versions now get 410; open ones continue."""
        for shelf in self.store.shelves.values():
            shelf.compact(self.store.version)

    async def restart(self) -> None:
        """Restart the server on the same port, with an empty watch cache."""
        await self.close()
        self.forget_history()
        await self.open()

    def uninstall(self, shelf: Shelf) -> None:
        """Delete the kind's definition and all its objects."""
        for name in tuple(shelf.objects):
            self.store.delete(shelf, name)
        definitions = self.store.shelf(DEFINITIONS)
        with suppress(Refused):
            self.store.delete(definitions, ("", shelf.resource.definition))
        shelf.installed = False
        self.cut_watches()

    def install(self, shelf: Shelf) -> None:
        """Define and serve the kind."""
        self.store.create(self.store.shelf(DEFINITIONS), bare_definition(shelf.resource))
        shelf.installed = True

    def _define(self, definitions: Iterable[Json]) -> None:
        shelf = self.store.shelf(DEFINITIONS)
        for definition in definitions:
            self.store.put(shelf, definition)
        for one in self.store.shelves.values():
            if one.resource.custom and ("", one.resource.definition) not in shelf.objects:
                self.store.create(shelf, bare_definition(one.resource))

    # -------------------------------------------------------------------------------------------------------- requests

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.requests.append((request.method, request.path, query))
        try:
            self._authenticate(request.headers)
            self.faults.check(request.path)
            steps = [step for step in request.path.split("/") if step]
            installed = [shelf.resource for shelf in self.store.shelves.values() if shelf.installed]
            if (document := discovery.answer(steps, installed)) is not None:
                return _json(document)
            return await self._objects(request, self._target(steps), query)
        except Refused as refused:
            headers = {"Retry-After": str(refused.retry_after_s)} if refused.retry_after_s else {}
            return _json(refused.status(), refused.code, headers)

    def _authenticate(self, headers: MultiMapping[str]) -> None:
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            raise Refused(401, "Unauthorized", "Unauthorized")

    def _target(self, steps: list[str]) -> _Target:
        api_version, rest = (steps[1], steps[2:]) if steps[0] == "api" else ("/".join(steps[1:3]), steps[3:])
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces" and rest[2] != "status":
            namespace, rest = rest[1], rest[2:]
        shelf = self.store.shelves.get((api_version, rest[0]))
        if shelf is None or not shelf.installed:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if shelf.resource.plural in self.faults.forbidden:
            raise Refused(403, "Forbidden", f'{shelf.resource.plural} is forbidden: User "double" cannot do this')
        name, part = [*rest[1:3], "", ""][:2]
        return _Target(shelf, namespace, name, part)

    async def _objects(self, request: web.Request, target: _Target, query: Mapping[str, str]) -> web.StreamResponse:
        shelf, name = target.shelf, (target.namespace, target.name)
        match request.method:
            case "GET" if target.name:
                body = self.store.read(shelf, name).body
                return self._shown(request, shelf.resource, [body], self.store.version, query) or _raw(body)
            case "GET" if query.get("watch") in ("true", "1"):
                return await self._watch(request, target, query)
            case "GET":
                return self._list(request, target, query)
            case "POST":
                written: Json = msgspec.json.decode(await request.read())
                if target.namespace:
                    written["metadata"].setdefault("namespace", target.namespace)
                return _raw(self.store.create(shelf, written), 201)
            case "PUT":
                written = msgspec.json.decode(await request.read())
                return _raw(self.store.update(shelf, name, written, status=target.part == "status"))
            case "PATCH":
                return _raw(self._patch(target, msgspec.json.decode(await request.read())))
            case "DELETE":
                return _raw(self.store.delete(shelf, name))
        raise Refused(405, "MethodNotAllowed", f"{request.method} is not supported")

    def _patch(self, target: _Target, patch: Json) -> bytes:
        """Apply a merge patch (RFC 7396) to the object or to its status."""
        name = target.namespace, target.name
        before: Json = msgspec.json.decode(self.store.read(target.shelf, name).body)
        made = _merged(before, patch)
        if "resourceVersion" not in patch.get("metadata", {}):
            made["metadata"].pop("resourceVersion", None)
        return self.store.update(target.shelf, name, made, status=target.part == "status")

    def _list(self, request: web.Request, target: _Target, query: Mapping[str, str]) -> web.StreamResponse:
        shelf = target.shelf
        page = self.listings.page(shelf, target.namespace, _selected(query), query)
        if shown := self._shown(request, shelf.resource, page.bodies, page.version, query):
            return shown
        metadata: Json = {"resourceVersion": str(page.version)}
        if page.token:
            metadata |= {"continue": page.token, "remainingItemCount": page.remaining}
        head = msgspec.json.encode(
            {"kind": f"{shelf.resource.kind}List", "apiVersion": shelf.resource.api_version, "metadata": metadata}
        )
        kind = shelf.resource.head
        bodies = page.bodies if shelf.resource.custom else [_anonymous(body, kind) for body in page.bodies]
        return _raw(head[:-1] + b',"items":[' + b",".join(bodies) + b"]}")

    def _shown(
        self, request: web.Request, resource: Resource, bodies: Iterable[bytes], version: int, query: Mapping[str, str]
    ) -> web.Response | None:
        api_version = table.wanted(request.headers.get("Accept", ""))
        if not api_version:
            return None
        include = query.get("includeObject", "Metadata")
        return _json(table.table(resource, bodies, version, api_version, include=include, now=datetime.now(UTC)))

    async def _watch(self, request: web.Request, target: _Target, query: Mapping[str, str]) -> web.StreamResponse:
        watching.check(query, self.faults)
        watch = watching.Watch(
            self.store,
            target.shelf,
            namespace=target.namespace,
            name=_selected(query),
            query=query,
            faults=self.faults,
        )
        response = web.StreamResponse(headers={"Content-Type": _JSON})
        self._watching[id(watch)] = request
        try:
            try:
                first = watch.begin()
            except Refused as refused:
                if self.faults.gone_as_status:
                    raise
                first = watching.error(refused)
                await response.prepare(request)
                await response.write(first)
                return response
            await response.prepare(request)
            if first:
                await response.write(first)
            async for said in watch.lines():
                await response.write(said)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client disconnected, or the watch was cut
        finally:
            watch.end()
            self._watching.pop(id(watch), None)
        return response


def _selected(query: Mapping[str, str]) -> str:
    return query.get("fieldSelector", "").removeprefix("metadata.name=")


def _anonymous(body: bytes, head: bytes) -> bytes:
    """Items in lists of built-in kinds do not repeat their kind."""
    return b"{" + body[len(head) :] if body.startswith(head) else body


def _merged(before: Any, patch: Any) -> Any:  # Any: JSON
    if not isinstance(patch, dict):
        return patch
    made = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = _merged(made.get(key), value)
    return made


def _raw(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type=_JSON)


def _json(document: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), status=status, content_type=_JSON, headers=headers)


__all__ = ["ApiServer", "Name", "Tls"]
