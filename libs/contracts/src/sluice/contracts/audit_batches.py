"""Reads AUDIT batches of any version: an unknown kind of event does not affect the rest of its batch."""

from typing import NamedTuple

import msgspec
from msgspec import Struct

from sluice.contracts import codec
from sluice.contracts.audit import AuditEvent
from sluice.contracts.ids import NodeName


class LaterEvent(Struct, frozen=True, kw_only=True):
    """One of a kind, or of a form, that this version does not know."""

    at_us: int
    """As it says, or else when the batch was stored."""

    kind: str
    why: str
    """What is not known of it."""

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
    """What a message on AUDIT says.

    Raises:
        Undecodable: it is no batch.
    """
    given = codec.decode(body, _Given)
    return Batch(given.node, given.id, tuple(_event(bytes(one), stored_us) for one in given.events))


def _event(body: bytes, stored_us: int) -> AuditEvent | LaterEvent:
    try:
        return codec.decode(body, AuditEvent)  # type: ignore[arg-type]  # a union is no type
    except codec.Undecodable as error:
        named = codec.decode(body, _Named)
        at_us = stored_us if named.at_us is None else named.at_us
        return LaterEvent(at_us=at_us, kind=named.type, why=str(error), body=body)
