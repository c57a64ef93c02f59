"""Times in RFC 3339, as written by people and programs, and the nanoseconds that they cover.

A time covers all of its last unit: 12:45:21 is that whole second. So the state "as it was at" the printed time of an
event includes the event, however few digits were printed.
"""

import re
from datetime import UTC, datetime
from typing import NamedTuple

SECOND = 10**9
UNITS = {0: 86_400 * SECOND, 2: 3_600 * SECOND, 4: 60 * SECOND, 6: SECOND}
"""Length of a time in nanoseconds, by how many digits of hours, minutes and seconds it has."""

CLOCK = re.compile(r"[T ](\d\d)(?::?(\d\d))?(?::?(\d\d))?(?:[.,](\d+))?")


class Span(NamedTuple):
    """The first and the last nanosecond of a time, since 1970."""

    first: int
    last: int


def span(text: str) -> Span:
    """The span that the time covers; UTC if it has no zone.

    Raises:
        ValueError: it is not a time.
    """
    when = datetime.fromisoformat(text)
    whole = (when if when.tzinfo else when.replace(tzinfo=UTC)).replace(microsecond=0)
    found = CLOCK.search(text)
    digits = "".join(filter(None, found.groups()[:3])) if found else ""
    fraction = ((found[4] if found else "") or "")[:9]
    first = int(whole.timestamp()) * SECOND + int(fraction.ljust(9, "0"))
    return Span(first, first + UNITS[len(digits)] // 10 ** len(fraction) - 1)


def written(at_ns: int) -> str:
    """The time in UTC with milliseconds, from nanoseconds since 1970."""
    when = datetime.fromtimestamp(at_ns // SECOND, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{at_ns % SECOND // 10**6:03d}Z"
