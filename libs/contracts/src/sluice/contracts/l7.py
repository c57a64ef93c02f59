"""Layer 7 conditions of a rule: the entries of its `l7Protocols`, of which one has to match.

Programs carry them unchanged. The inspection engine of the node evaluates them; `policy.l7` defines what they mean.
"""

from msgspec import Struct


class HttpMatch(Struct, frozen=True, kw_only=True, tag="http", omit_defaults=True):
    """A request matches if all that is set does. Nothing set: every HTTP request does."""

    path: str = ""
    """Of the URI, without query and fragment; `*` stands for any text."""

    host: str = ""
    """In the URI or the Host header, without a port, in any case; `*` stands for any text."""

    method: str = ""


class TlsMatch(Struct, frozen=True, kw_only=True, tag="tls", omit_defaults=True):
    sni: str = ""
    """The server name of the ClientHello, in any case; `*` stands for any text. Unset: every handshake matches."""


L7Match = HttpMatch | TlsMatch
