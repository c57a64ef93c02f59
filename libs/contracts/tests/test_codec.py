"""What does not decode is an error with a name, whatever it is."""

import sys
from typing import Any

import msgspec
import pytest

from sluice.contracts import codec
from sluice.contracts.published import CHANNELS


class Named(msgspec.Struct):
    name: str = ""


def nested(levels: int) -> bytes:
    return b'{"x":' + b"[" * levels + b"]" * levels + b',"name":"a"}'


STRUCTS = sorted({channel.message for channel in CHANNELS}, key=lambda one: str(one.__name__))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"\0", b'"\\ud800"', nested(5_000), b"[" * 100_000])
@pytest.mark.parametrize("kind", STRUCTS, ids=lambda one: one.__name__)
def test_what_anybody_may_write_to_the_bus_ends_nobody(kind: Any, body: bytes) -> None:  # Any: a struct
    with pytest.raises(codec.Undecodable):
        codec.decode(body, kind)


@pytest.mark.parametrize("levels", [1, 900, codec.DEEPEST - 1])
def test_an_object_is_read_as_deeply_nested_as_an_api_server_accepts_it(levels: int) -> None:
    limit = sys.getrecursionlimit()

    assert codec.deeply(msgspec.json.Decoder(Named).decode, nested(levels)) == Named("a")

    assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize("body", [b"{", nested(100_000)])
def test_deeper_or_not_at_all_it_is_an_error_with_a_name(body: bytes) -> None:
    limit = sys.getrecursionlimit()

    with pytest.raises(msgspec.DecodeError):
        codec.deeply(msgspec.json.Decoder(Named).decode, body)

    assert sys.getrecursionlimit() == limit
