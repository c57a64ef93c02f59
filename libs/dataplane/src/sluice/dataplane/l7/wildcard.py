"""Translates a pattern with `*` into a regular expression of the engine.

Suricata's `content` could express stars at the ends, but not that a path ends where the query begins, nor a
case-insensitive comparison of `http.host`; one form for all is easier to trust.
"""

from sluice.dataplane.l7.signature import literal
from sluice.policy.l7 import Pattern


def regex(pattern: Pattern, any_text: str) -> str:
    """The pattern without anchors; a star matches `any_text`."""
    return any_text.join(map(literal, pattern.pieces))
