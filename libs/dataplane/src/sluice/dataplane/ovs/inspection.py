"""Which rules wait for the inspection engine, and by which VLANs it judges for them."""

from collections.abc import Iterator, Mapping

from sluice.contracts.status import Problem
from sluice.dataplane.ovs.ids import RuleKey


class Inspection:
    """What is known of the engine. A change costs the rules whose VLAN it changes."""

    def __init__(self) -> None:
        self.vlans: Mapping[str, int] = {}
        """By the digest of the rule set that was shown to be in force there."""

        self._digests: dict[RuleKey, str] = {}
        self._rules: dict[str, set[RuleKey]] = {}

    def put(self, rule: RuleKey, digest: str) -> None:
        """The rule allows what this rule set does; empty: it is none that has one."""
        old = self._digests.pop(rule, "")
        if old:
            self._rules[old].discard(rule)
            if not self._rules[old]:
                del self._rules[old]
        if digest:
            self._digests[rule] = digest
            self._rules.setdefault(digest, set()).add(rule)

    def changed(self, vlans: Mapping[str, int]) -> tuple[RuleKey, ...]:
        """The rules that would have another VLAN by these."""
        known = self.vlans
        changed = {digest for digest in known.keys() | vlans.keys() if known.get(digest) != vlans.get(digest)}
        return tuple(sorted(rule for digest in changed for rule in self._rules.get(digest, ())))

    def problems(self) -> Iterator[Problem]:
        """Units whose connections are closed for the engine has not shown their rules."""
        for digest, rules in self._rules.items():
            for unit in {rule.unit for rule in rules} if digest not in self.vlans else ():
                reason = f"{unit}: the inspection engine has not shown its rules yet, so its traffic is dropped"
                yield Problem(unit=unit, state="waiting", reason=f"{reason}; see the status of node-l7")
