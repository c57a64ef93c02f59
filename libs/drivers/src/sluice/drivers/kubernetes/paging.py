"""A consistent snapshot of all objects of a kind, page by page."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from sluice.contracts import codec
from sluice.contracts.kinds import Resource
from sluice.drivers.kubernetes.client import Client, Refused, Unreachable, collection

T = TypeVar("T")

PAGE = 500
"""Objects per page: bounds memory at no cost; pages of 2,000 take as long."""


class Listing(NamedTuple, Generic[T]):
    objects: list[T]
    version: str
    """The resourceVersion to start a watch from."""


class _Meta(Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    token: str = msgspec.field(default="", name="continue")


class _Page(Struct):
    metadata: _Meta
    items: list[msgspec.Raw] | None = None
    """null from some servers if there are none."""


_decoder = msgspec.json.Decoder(_Page)


async def listed(client: Client, resource: Resource, read: Callable[[bytes], T]) -> Listing[T]:
    """All objects, each as `read` decodes it from its JSON. A consistent read from the store, never from a cache.

    Raises:
        Refused, Unreachable: see `client`.
    """
    try:
        return await _paged(client, resource, read, PAGE)
    except Refused as error:
        if error.code != 410:
            raise
    return await _paged(client, resource, read, 0)  # the snapshot expired before its last page: read everything at once


async def _paged(client: Client, resource: Resource, read: Callable[[bytes], T], limit: int) -> Listing[T]:
    head = b'{"apiVersion":"%s","kind":"%s",' % (resource.api_version.encode(), resource.kind.encode())
    query = {"limit": str(limit)} if limit else {}
    objects: list[T] = []
    while True:
        answer = await client.ask("GET", collection(resource), query)
        try:
            page = codec.deeply(_decoder.decode, answer)
        except msgspec.MsgspecError as error:
            raise Unreachable(f"{collection(resource)}: an answer that is no list: {error}") from error
        # Items of built-in kinds do not state their kind; of a duplicate key the second counts.
        objects += [read(head + bytes(item)[1:]) for item in page.items or ()]
        if not page.metadata.token:
            return Listing(objects, page.metadata.resource_version)
        query["continue"] = page.metadata.token
