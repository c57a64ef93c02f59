"""How a connection may begin: the client's first bytes, before the engine has detected the protocol.

Nothing else judges the stream until it holds a complete opening (a request line, a ClientHello). What can no longer
become one is rejected at once, what still can passes byte by byte, and a server that speaks first is rejected. All of
this looks only at the first bytes of the stream and needs no memory, since a reload forgets flow bits.
"""

from collections.abc import Iterable, Iterator

from sluice.dataplane.l7.flowbits import OPENING
from sluice.dataplane.l7.signature import Does, Signature

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
"""Methods that a first request may have. Not CONNECT: what follows it is not a request that could be judged."""

WINDOW = 4096
"""Bytes of the stream that the engine shows to a signature at once; the engine's `toserver-chunk-size`, not
randomised. While the client has sent less, the window includes the connection's beginning."""

_LONG_URI = 1024
"""Bytes of a URI after which a request line counts as complete, well before it leaves the window. The HTTP signatures
judge it in full later."""

_INSIDE = f"stream_size:client,<,{WINDOW - 1_500}"
"""A packet less than the window, so that the window includes the beginning, whatever the packet adds."""

_REQUEST = rf"[\/*h][\x21-\x7e]*(?:(?<=[\x21-\x7e]{{{_LONG_URI}}})| HTTP\/1\.[01]\r?\n)"
_REQUEST_PARTS = r"(?:[\/*h][\x21-\x7e]*(?: (?:H(?:T(?:T(?:P(?:\/(?:1(?:\.(?:[01](?:\r)?)?)?)?)?)?)?)?)?)?)?"
"""A URI begins with `/`, is `*`, or begins with the `h` of `http://`."""

_HELLO = r"\x16\x03[\x00-\x04]..\x01"
_HELLO_PARTS = r"\x16(?:\x03(?:[\x00-\x04](?:..?)?)?)?"
"""A record of type handshake (22), version 3.0 to 3.4, two bytes of length, a ClientHello (1). Source: RFC 8446
sections 4 and 5.1."""


def signatures(protocols: Iterable[str], message: str) -> Iterator[Signature]:
    """The signatures for the beginning of connections, for `http`, `tls` or both."""
    known = sorted(protocols)
    whole = "|".join(_whole(one) for one in known)
    parts = "|".join(_parts(one) for one in known)
    client = ("flow:to_server,established,only_stream", _INSIDE)
    yield Signature(
        sid=900_001,
        does=Does.NOTE,
        protocol="tcp",
        options=(*client, rf'pcre:"/^(?:{parts})\z/s"', f"flowbits:set,{OPENING}"),
        priority=1,
    )
    yield Signature(
        sid=900_002,
        does=Does.NOTE,
        protocol="tcp",
        options=(*client, f'pcre:"/^(?:{whole})/s"', f"flowbits:unset,{OPENING}"),
        priority=2,
    )
    yield Signature(
        sid=900_003,
        does=Does.REJECT,
        protocol="tcp",
        options=(*client, rf'pcre:"/^(?!(?:{whole})|(?:{parts})\z)/s"'),
        priority=3,
        message=message,
    )
    # dsize: without it, the next three would answer the engine's own resets
    yield Signature(
        sid=900_004,
        does=Does.REJECT,
        protocol="tcp",
        options=("flow:to_client,established", "dsize:>0", "stream_size:client,<,2"),
        priority=3,
        message=message,
    )
    yield Signature(
        sid=900_005,
        does=Does.REJECT,
        protocol="tcp",
        options=("flow:to_client,established", "dsize:>0", f"flowbits:isset,{OPENING}"),
        priority=3,
        message=message,
    )
    yield Signature(
        sid=900_006,
        does=Does.REJECT,
        protocol="tcp",
        options=("flow:established", "dsize:>0", *(f"app-layer-protocol:!{_ENGINE_NAMES[one]}" for one in known)),
        priority=3,
        message=message,
    )


_ENGINE_NAMES = {"http": "http1", "tls": "tls"}


def _whole(protocol: str) -> str:
    return f"(?:{'|'.join(METHODS)}) {_REQUEST}" if protocol == "http" else _HELLO


def _parts(protocol: str) -> str:
    if protocol == "tls":
        return _HELLO_PARTS
    begun = sorted({method[:length] for method in METHODS for length in range(1, len(method) + 1)})
    return f"(?:{'|'.join(METHODS)}) {_REQUEST_PARTS}|(?:{'|'.join(begun)})"
