"""The wire format: deterministic JSON, by msgspec."""

import sys
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")

DEEPEST = 10_000
"""Levels of nesting that an API server accepts. Source: sigs.k8s.io/json, `maxNestingDepth`."""

_encoder = msgspec.json.Encoder(order="deterministic")


class Undecodable(ValueError):
    """The bytes are not of the type that their subject carries. They are rejected and counted, never retried."""


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:  # Any: to the type checker, a union is not a `type[T]`
    return msgspec.json.Decoder(kind)


def encode(value: object) -> bytes:
    """Encode the value; equal values give equal bytes."""
    return _encoder.encode(value)


def decode(body: bytes, kind: type[T]) -> T:
    """Decode the bytes to a value of this type.

    Raises:
        Undecodable: the bytes are not JSON, or not of this type; the message names the JSON path.
    """
    try:
        value: T = _decoder(kind).decode(body)  # type: ignore[arg-type]  # a type is hashable
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Undecodable(f"{getattr(kind, '__name__', kind)}: {error}") from error
    return value


def deeply(decode: Callable[[bytes], T], body: bytes) -> T:
    """`decode(body)`, also of an object that is nested as deeply as an API server accepts.

    msgspec stops at the interpreter's limit of 1,000 levels with a RecursionError, even in fields that it skips.

    Raises:
        msgspec.MsgspecError: as `decode` does, or the body is nested still deeper.
    """
    try:
        return decode(body)
    except RecursionError:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(limit + DEEPEST)
        try:
            return decode(body)
        except RecursionError as error:
            raise msgspec.DecodeError(f"nested deeper than {DEEPEST} levels") from error
        finally:
            sys.setrecursionlimit(limit)


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """As `decode`, for what is decoded so often that a call more counts.

    It raises `msgspec.MsgspecError`, or `RecursionError` if the body is nested too deep.
    """
    return cast("Callable[[bytes], T]", _decoder(kind).decode)  # type: ignore[arg-type]  # a type is hashable


def digest(body: bytes) -> str:
    """BLAKE2b hash of the content, 128 bits, as 32 hex digits."""
    return blake2b(body, digest_size=16).hexdigest()
