"""Reads AUDIT batches of any version: an unknown kind of event does not affect the rest of its batch."""

from typing import NamedTuple

import msgspec
from msgspec import Struct

from sluice.contracts import codec
from sluice.contracts.audit import AuditEvent
from sluice.contracts.ids import NodeName


class LaterEvent(Struct, frozen=True, kw_only=True):
    """An event of a kind or form that this version does not know."""

    at_us: int
    """The time in the event; if it has none, when the batch was stored."""

    kind: str
    why: str
    """Why it does not decode."""

    body: bytes


class Batch(NamedTuple):
    node: NodeName
    id: str
    events: tuple[AuditEvent | LaterEvent, ...]


class _Given(Struct, frozen=True, kw_only=True):
    node: NodeName
    id: str
    events: tuple[msgspec.Raw, ...]


class _Named(Struct, frozen=True, kw_only=True):
    type: str
    at_us: int | None = None


def read(body: bytes, stored_us: int) -> Batch:
    """Decode a message on AUDIT.

    Raises:
        Undecodable: it is not a batch.
    """
    given = codec.decode(body, _Given)
    return Batch(given.node, given.id, tuple(_event(bytes(one), stored_us) for one in given.events))


def _event(body: bytes, stored_us: int) -> AuditEvent | LaterEvent:
    try:
        return codec.decode(body, AuditEvent)  # type: ignore[arg-type]  # a union is not a type
    except codec.Undecodable as error:
        named = codec.decode(body, _Named)
        at_us = stored_us if named.at_us is None else named.at_us
        return LaterEvent(at_us=at_us, kind=named.type, why=str(error), body=body)
