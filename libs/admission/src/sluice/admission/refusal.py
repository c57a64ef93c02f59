"""Why an object is not admitted, or what its author should know although it is."""

from typing import NamedTuple


class Refusal(NamedTuple):
    path: str
    """Path of the offending field within the object: $.spec.ports[0]."""

    reason: str
    """What is wrong, why, and what to do."""


class Caution(NamedTuple):
    """The object is admitted, but probably does not mean what its author thinks."""

    path: str
    reason: str
