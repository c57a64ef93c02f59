"""Errors of the switch, in words.

Source: OpenFlow 1.5.1 section 7.5.4.
"""

from collections.abc import Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812  # it is a class
from typing import NamedTuple

from sluice.drivers.openflow.error_names import MEANINGS, NAMES, NICIRA_NAMES
from sluice.drivers.openflow.headers import NICIRA

EXPERIMENTER = 0xFFFF
"""OFPET_EXPERIMENTER"""

SHOWN = 3
"""How many of a bundle's refusals its message shows; `refusals` has all that were kept."""

_ERROR = Struct("!HH")
_EXPERIMENTER_ERROR = Struct("!HHI")


class SwitchError(NamedTuple):
    """An error message of the switch."""

    type: int
    code: int
    experimenter: int | None = None

    @property
    def name(self) -> str:
        """As ovs-ofctl prints it."""
        if self.experimenter == NICIRA and self.code in NICIRA_NAMES:
            return NICIRA_NAMES[self.code]
        names = NAMES.get(self.type, ())
        if self.experimenter is None and 0 <= self.code < len(names):
            return names[self.code]
        return f"error {self.type}, code {self.code}"

    def __str__(self) -> str:
        meaning = MEANINGS.get(self.name)
        return f"{self.name} ({meaning})" if meaning else self.name


def decode_error(body: bytes) -> SwitchError:
    """Decode the body of an ERROR message; a truncated one becomes an error of unknown type."""
    try:
        kind, code = _ERROR.unpack_from(body)
        if kind == EXPERIMENTER:
            return SwitchError(*_EXPERIMENTER_ERROR.unpack_from(body))
    except StructError:
        return SwitchError(-1, -1)
    return SwitchError(kind, code)


class SwitchGone(ConnectionError):
    """The connection ended, or the switch stopped answering. Whether a change was made is unknown: read back."""


class VersionRefused(Exception):
    """The bridge does not speak OpenFlow 1.5."""


class RequestRefused(Exception):
    """The switch answered with an error."""

    def __init__(self, what: str, error: SwitchError) -> None:
        super().__init__(f"{what}: the switch refused: {error}")
        self.error = error


class Refusal(NamedTuple):
    """One change of a bundle that the switch refused."""

    change: str
    error: SwitchError


class BundleRefused(Exception):
    """The switch refused some of a bundle's changes, so none was made."""

    def __init__(self, where: str, changes: int, refusals: Sequence[Refusal], more: int) -> None:
        shown = "; ".join(f"{refusal.change}: {refusal.error}" for refusal in refusals[:SHOWN])
        unshown = len(refusals) - len(refusals[:SHOWN]) + more
        rest = f"; and {unshown} more" if unshown else ""
        super().__init__(f"{where}: bundle of {changes} changes: nothing of it was applied: {shown}{rest}")
        self.refusals = tuple(refusals)
