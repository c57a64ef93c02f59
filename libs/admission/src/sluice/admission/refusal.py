"""Why an object is not admitted, or what its author should know though it is."""

from typing import NamedTuple


class Refusal(NamedTuple):
    path: str
    """Of the offending field, from the object: $.spec.ports[0]."""

    reason: str
    """What is wrong and why, and what to do."""


class Caution(NamedTuple):
    """The object is admitted, and probably does not mean what its author thinks."""

    path: str
    reason: str
