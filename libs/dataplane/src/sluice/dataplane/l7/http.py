"""HTTP entries: each request of a connection is judged separately, when its header block is complete.

Three signatures fire at that point, in this order: one clears `l7ok`, one per entry sets it, one rejects if it is not
set. Flow bits belong to the connection and not to the request; clearing the bit first makes the verdict one per
request.
"""

from collections.abc import Iterator, Sequence

from sluice.contracts.l7 import HttpMatch
from sluice.dataplane.l7.flowbits import ALLOWED
from sluice.dataplane.l7.signature import Does, Signature, content
from sluice.dataplane.l7.wildcard import regex
from sluice.policy.l7 import pattern, satisfiable

GATE = ("http.start", 'content:"|0d 0a|"', "endswith", "fast_pattern")
"""Matches once the header block is complete, and never before: only then does `http.start` exist, which without any
headers ends in a single CRLF. `flowbits:isnotset` is only tested when a rule first sees a request, so no rule that
reads the bit may see it earlier."""

_TO_SERVER = "flow:to_server,established"

EVENTS = (
    "request_header_host_invalid",
    "request_uri_host_invalid",
    "host_header_ambiguous",
    "request_line_invalid",
    "request_body_unexpected",
    "invalid_request_chunk_len",
    "invalid_transfer_encoding_value_in_request",
    "invalid_content_length_field_in_request",
    "duplicate_content_length_field_in_request",
    "request_field_too_long",
    "request_header_invalid",
    "request_field_missing_colon",
)
"""Cases in which the engine's parser may differ from a server's, so that an allowed request could hide a denied one.
Source: Suricata `rules/http-events.rules`."""

_IN_PATH = "[^?#]*"
"""What a star in a path matches: query and fragment are not part of the path."""

_PATH_END = r"(?=[?#]|\z)"

_NO_END = "(?!3f|23)"
"""`/a%3fb` is decoded to `/a?b`, but its path is not `/a`."""


def signatures(entries: Sequence[HttpMatch], message: str, sid: int) -> Iterator[Signature]:
    """Signatures that judge requests; with an entry that allows everything, only those that keep requests apart.

    Args:
        sid: sid of the signature that rejects a request.
    """
    yield from _hygiene(message)
    if any(entry == HttpMatch() for entry in entries):
        return
    yield Signature(
        sid=800_010,
        does=Does.NOTE,
        protocol="http1",
        options=(_TO_SERVER, *GATE, f"flowbits:unset,{ALLOWED}"),
        priority=1,
    )
    for place, entry in enumerate(filter(satisfiable, entries)):
        yield Signature(
            sid=100 + place,
            does=Does.NOTE,
            protocol="http1",
            options=(_TO_SERVER, *_conditions(entry), *GATE, f"flowbits:set,{ALLOWED}"),
            priority=2,
        )
    yield Signature(
        sid=sid,
        does=Does.REJECT,
        protocol="http1",
        options=(_TO_SERVER, f"flowbits:isnotset,{ALLOWED}", *GATE),
        priority=3,
        message=message,
    )


def _conditions(entry: HttpMatch) -> Iterator[str]:
    """The keywords of one entry; an unset field adds none.

    The raw path must be ASCII, and percent-encode only ASCII. The parser decodes more in its own ways: the invalid
    encoding `%u0065`, and UTF-8, which it maps to the most similar ASCII.
    """
    if entry.path:
        path = pattern(entry.path)
        if not path.matches_all:
            yield "http.uri"  # decoded once, dot segments resolved
            yield f'pcre:"/^{regex(path, _IN_PATH)}{_PATH_END if path.ends_fixed else ""}/"'
            yield "http.uri.raw"
            yield f'pcre:"/^(?:[^?#%\\x80-\\xff]++|%{_NO_END if path.ends_fixed else ""}[0-7][0-9a-f])*+{_PATH_END}/i"'
    if entry.method:
        yield from ("http.method", content(entry.method), "startswith", "endswith")
    if entry.host:
        host = pattern(entry.host)
        if not host.matches_all:
            # `content` would miss upper case, which http.host keeps, and does not allow nocase.
            yield "http.host"
            yield rf'pcre:"/^{regex(host, ".*")}\z/is"'


def _hygiene(message: str) -> Iterator[Signature]:
    def reject(sid: int, *options: str) -> Signature:
        return Signature(
            sid=sid,
            does=Does.REJECT,
            protocol="http1",
            options=(_TO_SERVER, *options),
            priority=3,
            message=message,
        )

    yield reject(800_005, "http.request_line", r'pcre:!"/ HTTP\/1\.[01][\r\n]*$/"')  # HTTP/0.9, the preface of HTTP/2
    yield reject(800_006, "http.method", content("CONNECT"), "startswith", "endswith")
    yield reject(  # the server will ignore one of the two lengths
        800_007,
        "http.header_names",
        'content:"|0d 0a|Transfer-Encoding|0d 0a|"',
        "nocase",
        'content:"|0d 0a|Content-Length|0d 0a|"',
        "nocase",
    )
    for place, event in enumerate(EVENTS):
        yield reject(800_020 + place, f"app-layer-event:http.{event}")
