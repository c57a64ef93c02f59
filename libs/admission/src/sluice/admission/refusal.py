"""Why an object is not admitted."""

from typing import NamedTuple


class Refusal(NamedTuple):
    path: str
    """Of the offending field, from the object: $.spec.ports[0]."""

    reason: str
    """What is wrong and why, and what to do."""
