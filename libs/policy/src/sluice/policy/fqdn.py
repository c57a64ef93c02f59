"""Names of DNS, and patterns of them.

A `*` stands for any number of characters, none and dots included, so `*foobar.com` is `foobar.com`, `www.foobar.com`
and `evilfoobar.com` alike. Capitals and a dot at the end mean nothing. Source: docs "Antrea Network Policy CRDs",
"FQDN based filtering"; RFC 4343 for capitals.
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
