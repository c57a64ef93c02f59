"""What layer 7 entries mean: whether they allow a given request, or a given TLS handshake.

This is the reference that the engine's signatures are tested against. A rule with entries is final for what matches its
peers and ports: what no entry allows is denied, whatever later rules say.
"""

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct

from sluice.contracts.l7 import HttpMatch, L7Match, TlsMatch


class HttpRequest(Struct, frozen=True, kw_only=True, tag="http"):
    """A request as its server would understand it."""

    method: str = "GET"
    host: str = ""
    """Without a port."""

    path: str = "/"
    """Decoded, dot segments resolved, without query and fragment."""


class TlsHello(Struct, frozen=True, kw_only=True, tag="tls"):
    sni: str = ""
    """Empty: the ClientHello names no server."""


Asked = HttpRequest | TlsHello


class Pattern(NamedTuple):
    """The text between stars: `*a*b` is ("", "a", "b"), `a` is ("a",). A star matches any text, even empty."""

    pieces: tuple[str, ...]

    @property
    def ends_fixed(self) -> bool:
        """Whether every match ends in the same text."""
        return bool(self.pieces[-1])

    @property
    def matches_all(self) -> bool:
        return len(self.pieces) > 1 and not any(self.pieces)

    def fits(self, text: str) -> bool:
        """Whether the whole text matches."""
        first, *rest = self.pieces
        if not rest:
            return text == first
        *middle, last = rest
        if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
            return False
        at, end = len(first), len(text) - len(last)
        for piece in middle:
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True


def pattern(text: str) -> Pattern:
    """Parse a pattern as written; consecutive stars are merged."""
    first, *rest = text.split("*")
    if not rest:
        return Pattern((first,))
    *middle, last = rest
    return Pattern((first, *(piece for piece in middle if piece), last))


def satisfiable(entry: HttpMatch) -> bool:
    """Whether any request can match.

    A path ends where a query or a fragment begins, so it never contains `?` or `#`. Where servers interpret a path
    differently, no entry that names one allows it: a backslash may be a slash, and non-ASCII text is decoded in many
    ways.
    """
    return entry.path.isascii() and not any(one in entry.path for one in "?#\\")


def allows(entries: Iterable[L7Match], asked: Asked) -> bool:
    """Whether any of the entries allows it."""
    return any(_allows(entry, asked) for entry in entries)


def _allows(entry: L7Match, asked: Asked) -> bool:
    match entry, asked:
        case HttpMatch(), HttpRequest():
            return (
                satisfiable(entry)
                and (not entry.path or pattern(entry.path).matches_all or asked.path.isascii())
                and (not entry.path or pattern(entry.path).fits(asked.path))
                and (not entry.host or pattern(entry.host.lower()).fits(asked.host.lower()))
                and (not entry.method or entry.method == asked.method)
            )
        case TlsMatch(), TlsHello():
            # a single star is a pattern for any name, and a hello without SNI has the empty name
            return not entry.sni or pattern(entry.sni.lower()).fits(asked.sni.lower())
        case _:
            return False
