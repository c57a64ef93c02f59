"""DNS names, and patterns of them.

A `*` matches any number of characters, including none and including dots: `*foobar.com` matches `foobar.com`,
`www.foobar.com` and `evilfoobar.com`. Case and a trailing dot are ignored. Source: docs "Antrea Network Policy CRDs",
"FQDN based filtering"; RFC 4343 for case.
"""

import re
from functools import lru_cache

ALLOWED = re.compile(r"[-0-9a-zA-Z.*]+")
"""What a pattern is written with. Source: Antrea, pkg/controller/networkpolicy/validate.go."""


def normal(written: str) -> str:
    """The name or pattern in lower case, without a dot at its end."""
    return written.lower().removesuffix(".")


def is_name(pattern: str, name: str) -> bool:
    """Whether the pattern, in normal form, is about the name, as anybody writes it."""
    return _compiled(pattern).fullmatch(normal(name)) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Runs of stars are one, so that matching takes time linear in the name for each star."""
    return re.compile(".*".join(map(re.escape, re.split(r"\*+", pattern))), re.DOTALL)
