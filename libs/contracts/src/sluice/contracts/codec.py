"""Bytes on the wire: JSON, deterministic, by msgspec."""

from functools import cache
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_encoder = msgspec.json.Encoder(order="deterministic")


class Undecodable(ValueError):
    """Bytes that are not what their subject promises. Set aside and counted, never retried."""


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:  # Any: unions are not `type[T]` to the type checker
    return msgspec.json.Decoder(kind)


def encode(value: object) -> bytes:
    """The value's bytes; equal values give equal bytes."""
    return _encoder.encode(value)


def decode(body: bytes, kind: type[T]) -> T:
    """The value of this type.

    Raises:
        Undecodable: the bytes are not JSON, or not of this type; the message names the JSON path.
    """
    try:
        value: T = _decoder(kind).decode(body)  # type: ignore[arg-type]  # a type is hashable
    except msgspec.MsgspecError as error:
        raise Undecodable(f"{getattr(kind, '__name__', kind)}: {error}") from error
    return value


def digest(body: bytes) -> str:
    """32 hex digits that stand for the content (BLAKE2b, 128 bits)."""
    return blake2b(body, digest_size=16).hexdigest()
