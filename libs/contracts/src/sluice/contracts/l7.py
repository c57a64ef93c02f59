"""Layer 7 conditions of a rule: the entries of its `l7Protocols`, at least one of which has to match.

Programs carry them unchanged. The inspection engine of the node evaluates them; `policy.l7` defines what they mean.
"""

from msgspec import Struct


class HttpMatch(Struct, frozen=True, kw_only=True, tag="http", omit_defaults=True):
    """Matches an HTTP request if all set fields match; with none set, every HTTP request."""

    path: str = ""
    """Path of the URI, without query and fragment; `*` matches any text."""

    host: str = ""
    """Host in the URI or the Host header, without a port, case-insensitive; `*` matches any text."""

    method: str = ""


class TlsMatch(Struct, frozen=True, kw_only=True, tag="tls", omit_defaults=True):
    sni: str = ""
    """Server name in the ClientHello, case-insensitive; `*` matches any text. Unset matches every handshake."""


L7Match = HttpMatch | TlsMatch
