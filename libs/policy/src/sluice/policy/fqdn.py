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
    return _compiled(pattern).fullmatch(normal(name)) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Consecutive stars are merged, so that matching takes time linear in the name for each star."""
    return re.compile(".*".join(map(re.escape, re.split(r"\*+", pattern))), re.DOTALL)
