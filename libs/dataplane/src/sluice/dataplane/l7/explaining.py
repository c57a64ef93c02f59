"""The meaning of a signature in words, and which signature a text refers to.

Since every rule set numbers its signatures from 1, a signature is identified by its tenant's VLAN and its sid: as
`3/1`, by an event of eve.json with both, or by the rule's own text, which every tenant with an equal rule set has.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from sluice.dataplane.l7.ruleset import CLOSED, RuleSet
from sluice.dataplane.l7.signature import Does

SAYS = {
    Does.NOTE: "remembers a property of the connection for other signatures of the tenant",
    Does.PASS: "passes what these rules allow",
    Does.DROP: "drops without an answer what these rules do not allow",
    Does.REJECT: "rejects what these rules do not allow",
}
"""The purpose of each kind of signature, in words."""

PROOF = "matches only a probe packet, which proves that this very rule set is in force"
NOBODYS = "rejects everything, because no rule sends connections here any more"

_SHORT = re.compile(r"(?:vlan\s+)?(\d+)(?:\s*/\s*|\s+sid\s+)(\d+)")
_SID = re.compile(r"\bsid:\s*(\d+)\s*;")
_WORD = re.compile(r"[a-z]+")


class NotASignature(ValueError):
    """The text does not refer to a signature."""


class Wanted(NamedTuple):
    """The properties of a signature that a text gives; None for unknown ones."""

    vlan: int | None = None
    sid: int | None = None
    line: str | None = None
    happened: bool = False
    """It comes from an event, at whose time the tenant may have belonged to another rule."""

    def fits(self, one: "Line") -> bool:
        said = zip(self[:3], (one.vlan, one.sid, one.line), strict=True)
        return all(wanted in (None, has) for wanted, has in said)


class Line(NamedTuple):
    """A signature of a tenant."""

    vlan: int
    sid: int
    line: str


class _Alert(msgspec.Struct):
    signature_id: int | None = None


class _Event(msgspec.Struct):
    vlan: tuple[int, ...] = ()
    tenant_id: int | None = None
    alert: _Alert = msgspec.field(default_factory=_Alert)


def read(text: str) -> Wanted:
    """Which signature the text refers to; for an event without a signature, only the tenant is known.

    Raises:
        NotASignature
    """
    text = text.strip()
    if short := _SHORT.fullmatch(text):
        return Wanted(int(short[1]), int(short[2]))
    if text.startswith("{"):
        try:
            event = msgspec.json.decode(text, type=_Event)
        except msgspec.DecodeError as error:
            raise NotASignature(f"{text[:60]!r}… is not an event of eve.json: {error}") from error
        vlan = event.tenant_id if event.tenant_id is not None else next(iter(event.vlan), None)
        if vlan is None:
            raise NotASignature(f"{text[:60]!r}… has neither tenant_id nor vlan, so its tenant is unknown")
        return Wanted(vlan, event.alert.signature_id, happened=True)
    if _SID.search(text):
        return Wanted(line=text)
    raise NotASignature(
        f"{text[:60]!r} is not a signature; give a rule with its sid, VLAN/SID, or an event of eve.json"
    )


def lines(vlan: int, rules: RuleSet) -> Iterator[Line]:
    """The signatures in a tenant's rule file."""
    for line in rules.text.splitlines():
        found = _SID.search(line)
        yield Line(vlan, int(found[1]) if found else 0, line)


def does(line: Line) -> Does:
    found = _WORD.match(line.line)
    return Does(found[0] if found else "")


def says(line: Line, rules: RuleSet) -> str:
    if "sluice-l7-" in line.line:
        return PROOF
    return NOBODYS if rules == CLOSED else SAYS[does(line)]
