"""Which rules wait for the inspection engine, and which VLANs judge for them.

If only a rule's entries change, it keeps its old VLAN until the engine has confirmed the new entries, so traffic that
both allow is never rejected. If the rule also matches other packets than before, it waits closed, because the old
entries were not meant for them.
"""

from collections.abc import Iterator, Mapping

from sluice.contracts.status import Problem
from sluice.dataplane.ovs.ids import RuleKey
from sluice.dataplane.ovs.rules import Form


class Inspection:
    """What is known of the engine. The cost of a change is that of the rules whose VLAN changes."""

    def __init__(self) -> None:
        self._vlans: Mapping[str, int] = {}
        """VLANs by the digest of the rule set that is confirmed to be in force there."""

        self._forms: dict[RuleKey, Form] = {}
        self._former: dict[RuleKey, str] = {}
        """The digest by which a rule is judged until its own rule set is in force."""

        self._rules: dict[str, set[RuleKey]] = {}
        """The rules that are, or were, judged by each digest."""

    def put(self, rule: RuleKey, form: Form | None) -> None:
        """The rule has this form. Without a form, or if that is not inspected, the rule is removed."""
        if form is not None and not form.inspected_by:
            form = None
        old, former = self._forms.pop(rule, None), self._former.pop(rule, "")
        for digest in (old.inspected_by, former) if old else ():
            self._toggle(digest, rule, there=False)
        if form is None:
            return
        self._forms[rule] = form
        if old is not None and old._replace(inspected_by=form.inspected_by) == form:
            by = old.inspected_by if old.inspected_by in self._vlans else former
            if by and by != form.inspected_by and form.inspected_by not in self._vlans:
                self._former[rule] = by
                self._toggle(by, rule, there=True)
        self._toggle(form.inspected_by, rule, there=True)

    def vlan(self, form: Form) -> int | None:
        """The VLAN on which the engine judges what the rule allows; None: it does not yet."""
        own = self._vlans.get(form.inspected_by)
        return self._vlans.get(self._former.get(form.key, "")) if own is None else own

    def judged_by(self, vlan: int) -> tuple[RuleKey, ...]:
        """The rules whose packets use the VLAN; sorted."""
        return tuple(sorted(rule for rule, form in self._forms.items() if self.vlan(form) == vlan))

    def changed(self, vlans: Mapping[str, int]) -> tuple[RuleKey, ...]:
        """The rules whose VLAN may be another with these."""
        known = self._vlans
        changed = {digest for digest in known.keys() | vlans.keys() if known.get(digest) != vlans.get(digest)}
        return tuple(sorted({rule for digest in changed for rule in self._rules.get(digest, ())}))

    def use(self, vlans: Mapping[str, int]) -> None:
        """The engine has these VLANs. A rule whose own rule set is in force is no longer judged by its former one."""
        self._vlans = dict(vlans)
        for rule in [rule for rule in self._former if self._forms[rule].inspected_by in vlans]:
            self._toggle(self._former.pop(rule), rule, there=False)

    def problems(self) -> Iterator[Problem]:
        """Rules that the engine has not confirmed, by their units."""
        for rule, form in self._forms.items():
            if form.inspected_by not in self._vlans:
                meanwhile = (
                    "the previous rules stay in force" if self.vlan(form) is not None else "its traffic is dropped"
                )
                reason = f"{rule.unit}: the inspection engine has not loaded its rules yet; meanwhile {meanwhile}"
                yield Problem(unit=rule.unit, state="waiting", reason=f"{reason}; see the status of node-l7")

    def _toggle(self, digest: str, rule: RuleKey, *, there: bool) -> None:
        rules = self._rules.setdefault(digest, set())
        (rules.add if there else rules.discard)(rule)
        if not rules:
            del self._rules[digest]
