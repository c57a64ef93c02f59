"""Explains whom the signatures of this node's engine belong to."""

from collections.abc import Iterator

import msgspec

from sluice.contracts import subjects
from sluice.contracts.explaining import Held, Meaning
from sluice.contracts.ids import NEVER, Revision, Uid
from sluice.contracts.programs import Origin
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.l7 import explaining
from sluice.dataplane.l7.engine import CLOSED_TENANT
from sluice.dataplane.l7.explaining import Line
from sluice.dataplane.l7.ruleset import CLOSED, RuleSet
from sluice.dataplane.l7.tenants import Subject, Tenants
from sluice.runtime.telling import NotOurs, Page, Place, cut, held, window
from sluice.services.node_l7.asked import Asked


class Explaining:
    """The signatures that the engine was given."""

    def __init__(self, facts: Asked, tenants: Tenants) -> None:
        self._facts, self._tenants = facts, tenants

    @property
    def upto(self) -> Revision:
        return self._facts.upto

    async def meaning(self, text: str) -> Meaning:
        """Explain a signature; those of equal rule sets are combined.

        Raises:
            NotOurs
        """
        try:
            wanted = explaining.read(text)
        except explaining.NotASignature as error:
            raise NotOurs(str(error)) from error
        found = [(line, rules) for line, rules in self._all() if wanted.fits(line)]
        if not found and wanted.happened and wanted.vlan is not None:  # the rules have changed since
            found = [(line, rules) for line, rules in self._all() if line.vlan == wanted.vlan]
        if not found:
            raise NotOurs("the engine has no such signature; `sluice get signatures` lists all")
        meanings = [self._meaning(line, rules) for line, rules in found]
        if wanted.happened and wanted.vlan is not None:
            return self._judged(wanted.vlan, meanings[0])
        return msgspec.structs.replace(
            meanings[0],
            rules=tuple(dict.fromkeys(rule for one in meanings for rule in one.rules)),
            places=tuple(dict.fromkeys(place for one in meanings for place in one.places)),
        )

    def _judged(self, vlan: int, signature: Meaning) -> Meaning:
        """The rules that led to an event. If they no longer exist, only their names are known."""
        rules = tuple(self._facts.deciding(one) or _former(one) for one in self._tenants.last_subjects(vlan))
        return msgspec.structs.replace(signature, kind="tenant", says="was decided by these rules", rules=rules)

    async def page(self, after: str, limit: int) -> Page:
        """Signatures by tenant and sid.

        Raises:
            NotOurs
        """
        there: dict[Place, tuple[Line, RuleSet]] = {(line.vlan, line.sid): (line, rules) for line, rules in self._all()}
        return cut(((place, self._held(*there[place])) for place in window(there, after, limit)), limit)

    def _all(self) -> Iterator[tuple[Line, RuleSet]]:
        for vlan, rules in (*sorted(self._tenants.holds.items()), (CLOSED_TENANT, CLOSED)):
            yield from ((line, rules) for line in explaining.lines(vlan, rules))

    def _held(self, line: Line, rules: RuleSet) -> Held:
        return held(line.line, self._meaning(line, rules))

    def _meaning(self, line: Line, rules: RuleSet) -> Meaning:
        found = map(self._facts.deciding, self._tenants.subjects(line.vlan))
        every = line.vlan == CLOSED_TENANT
        return Meaning(
            kind=explaining.does(line).name.lower(),
            says=explaining.says(line, rules),
            table=f"tenant {line.vlan}",
            does="for all VLANs without a tenant of their own" if every else "for the packets on this VLAN",
            rules=tuple(rule for rule in found if rule is not None),
            places=(f"tenant {line.vlan}",),
        )


def _former(subject: Subject) -> DecidingRule:
    kind, namespace, name = subjects.unit_parts(subject.unit)
    origin = Origin(kind=kind, namespace=namespace, name=name, uid=Uid(""))
    return DecidingRule(policy=origin, object_revision=NEVER, direction=subject.direction, name=subject.rule)
