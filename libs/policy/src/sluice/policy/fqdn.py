"""DNS names, and patterns for them.

A `*` matches any number of characters, including none and including dots: `*foobar.com` matches `foobar.com`,
`www.foobar.com` and `evilfoobar.com`. Case and a trailing dot are ignored. Source: docs "Antrea Network Policy CRDs",
"FQDN based filtering"; RFC 4343 for case.
"""

import re
from functools import lru_cache

ALLOWED = re.compile(r"[-0-9a-zA-Z.*]+")
"""The characters allowed in a pattern. Source: Antrea, pkg/controller/networkpolicy/validate.go."""


def normal(written: str) -> str:
    """The name or pattern in lower case, without a trailing dot."""
    return written.lower().removesuffix(".")


def is_name(pattern: str, name: str) -> bool:
    """Whether the pattern, in normal form, matches the name, in any form."""
    text = normal(name)
    begin, *middle = _pieces(pattern)
    if not middle:
        return text == begin
    end = middle.pop()
    at, stop = len(begin), len(text) - len(end)
    if at > stop or not text.startswith(begin) or not text.endswith(end):
        return False
    for piece in middle:
        # The first place will do: what follows then has the most room. A regular expression would try all of them,
        # which takes hours for a dozen stars.
        found = text.find(piece, at, stop)
        if found < 0:
            return False
        at = found + len(piece)
    return True


@lru_cache(maxsize=1024)
def _pieces(pattern: str) -> tuple[str, ...]:
    """What is between the stars."""
    return tuple(pattern.split("*"))
