"""Translates a pattern with `*` into a regular expression of the engine.

Suricata's `content` could express stars at the ends, but not that a path ends where the query begins, nor a comparison
of `http.host` that ignores case; one form for all is easier to trust.
"""

from sluice.dataplane.l7.signature import literal
from sluice.policy.l7 import Pattern


def regex(pattern: Pattern, any_text: str) -> str:
    """What the pattern matches, to be put between anchors; `any_text` is what a star stands for."""
    return any_text.join(map(literal, pattern.pieces))
