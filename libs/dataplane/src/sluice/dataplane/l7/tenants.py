"""Which rule set has which VLAN, and what to tell the engine next.

A *subject* is a rule of a policy, identified by name. It keeps its VLAN when its entries change, so that open
connections continue and their next request is judged by the new rules; subjects with equal rule sets share a VLAN. An
unused VLAN is closed rather than removed, because a VLAN without a tenant would pass everything, and connections
outlive their policy. It is reused as late as possible.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, assert_never

from msgspec import Struct

from sluice.contracts.ids import Unit
from sluice.contracts.programs import Direction
from sluice.dataplane.l7.engine import FIRST_VLAN, LAST_VLAN
from sluice.dataplane.l7.ruleset import CLOSED, RuleSet


class Subject(NamedTuple):
    """The owner of a rule set; names of rules are unique in a policy's direction."""

    unit: Unit
    direction: Direction
    rule: str


class Load(NamedTuple):
    """The VLAN has no tenant of its own yet: register one with these rules."""

    vlan: int
    rules: RuleSet


class Replace(NamedTuple):
    """Give the VLAN's tenant these rules; its connections continue."""

    vlan: int
    rules: RuleSet


Step = Load | Replace


class Kept(Struct, frozen=True, kw_only=True):
    """State that survives restarts: a VLAN must not mean another rule set then, as connections are tagged with it."""

    vlans: tuple[tuple[int, RuleSet], ...]
    """The tenants in the engine's configuration."""

    subjects: tuple[tuple[Subject, int], ...]
    freed: tuple[int, ...]
    """Closed VLANs, longest closed first."""

    former: tuple[tuple[int, tuple[Subject, ...]], ...] = ()
    """The last subjects of each closed VLAN: logs refer to what it let pass."""


NOTHING_KEPT = Kept(vlans=(), subjects=(), freed=())


class Tenants:
    """The allocation. Set what is wanted, execute the steps, and report their results."""

    def __init__(self, kept: Kept = NOTHING_KEPT) -> None:
        self._holds: dict[int, RuleSet] = dict(kept.vlans)
        """What the engine should hold at its start, and does hold if every step succeeded."""

        self._vlan = {subject: vlan for subject, vlan in kept.subjects if vlan in self._holds}
        self._freed: dict[int, None] = dict.fromkeys(kept.freed)
        self._former = dict(kept.former)
        self._wanted = {subject: self._holds[vlan] for subject, vlan in self._vlan.items()}
        """Until `want` is called: what was wanted before."""

        self._verified: dict[int, RuleSet] = {}
        self._refused: dict[int, tuple[RuleSet, str]] = {}
        self._homeless: set[Subject] = set()

    def want(self, rule_sets: Mapping[Subject, RuleSet]) -> None:
        """Set all wanted rule sets."""
        self._wanted = dict(rule_sets)
        users: dict[int, set[Subject]] = {}
        before: dict[int, tuple[Subject, ...]] = {}
        for subject, vlan in sorted(self._vlan.items()):
            before[vlan] = (*before.get(vlan, ()), subject)
            if subject in rule_sets:
                users.setdefault(vlan, set()).add(subject)
        self._vlan = {subject: vlan for vlan, some in users.items() for subject in some}
        for vlan, some in sorted(users.items()):
            self._part(vlan, some)
        for vlan in sorted(self._holds.keys() - frozenset(self._vlan.values())):
            self._freed.setdefault(vlan)
            self._former[vlan] = before.get(vlan) or self._former.get(vlan, ())
        of_rules = {self._wanted[subject].digest: vlan for subject, vlan in sorted(self._vlan.items())}
        self._homeless = set()
        vacant = self._vacant()
        for subject in sorted(self._wanted.keys() - self._vlan.keys()):
            digest = self._wanted[subject].digest
            if digest not in of_rules:
                free = next(vacant, None)
                if free is None:
                    self._homeless.add(subject)
                    continue
                of_rules[digest] = free
            self._vlan[subject] = of_rules[digest]
        for vlan in self._freed.keys() & frozenset(self._vlan.values()):
            del self._freed[vlan]
            self._former.pop(vlan, None)

    def _part(self, vlan: int, some: set[Subject]) -> None:
        """Split subjects that share a VLAN and no longer want the same: the first by name keeps it, with its equals."""
        digest = self._wanted[min(some)].digest
        for subject in some:
            if self._wanted[subject].digest != digest:
                del self._vlan[subject]

    def _vacant(self) -> Iterator[int]:
        """VLANs without a subject: first those never used, then the longest closed."""
        used = frozenset(self._vlan.values())
        yield from (vlan for vlan in range(FIRST_VLAN, LAST_VLAN + 1) if vlan not in self._holds and vlan not in used)
        yield from (vlan for vlan in tuple(self._freed) if vlan not in used)

    def steps(self) -> tuple[Step, ...]:
        """What the engine must still be told, in order: closures first."""
        return tuple(self._steps())

    def _steps(self) -> Iterator[Step]:
        target = dict.fromkeys(self._freed, CLOSED)
        wanted = {vlan: self._wanted[subject] for subject, vlan in self._vlan.items()}
        for vlan, rules in (*sorted(target.items()), *sorted(wanted.items())):
            if vlan in self._refused and self._refused[vlan][0] == rules:
                continue  # keeps its old rules until something else is wanted
            if vlan not in self._holds:
                yield Load(vlan, rules)
            elif self._holds[vlan] != rules or self._verified.get(vlan) not in (None, rules):
                yield Replace(vlan, rules)

    def done(self, step: Step) -> None:
        """The engine confirmed the step."""
        self._holds[step.vlan] = step.rules
        self._verified.pop(step.vlan, None)
        self._refused.pop(step.vlan, None)

    def prepared(self, step: Step) -> None:
        """The next engine will start with the step's rules."""
        self._holds[step.vlan] = step.rules

    def refused(self, step: Step, reason: str) -> None:
        """The rules cannot be loaded: the VLAN keeps what it held."""
        self._refused[step.vlan] = (step.rules, reason)

    def engine_ended(self) -> None:
        """The engine ended: nothing is verified any more, and the next one starts with the content of `kept`."""
        self._verified.clear()

    def shown(self, vlan: int) -> None:
        """A probe packet has shown that the engine has the VLAN's rules."""
        self._verified[vlan] = self._holds[vlan]

    def unverified(self) -> tuple[int, ...]:
        """VLANs whose rules the engine should have, but no probe packet has shown yet."""
        return tuple(vlan for vlan in sorted(self._holds) if vlan not in self._verified)

    @property
    def verified(self) -> dict[str, int]:
        """By digest, the VLAN of each rule set in force: where node-ovs may send packets."""
        return {rules.digest: vlan for vlan, rules in sorted(self._verified.items()) if vlan not in self._freed}

    @property
    def deserted(self) -> tuple[int, ...]:
        """VLANs that have lost their last subject: their connections must be ended."""
        return tuple(sorted(self._freed))

    @property
    def holds(self) -> Mapping[int, RuleSet]:
        """The rules of each VLAN's tenant, if every step succeeded."""
        return self._holds

    def subjects(self, vlan: int) -> tuple[Subject, ...]:
        """Subjects whose packets the VLAN judges, sorted; empty if it is closed."""
        return tuple(sorted(subject for subject, held in self._vlan.items() if held == vlan))

    def last_subjects(self, vlan: int) -> tuple[Subject, ...]:
        """As `subjects`, but for a closed VLAN the last ones it had."""
        return self.subjects(vlan) or self._former.get(vlan, ())

    @property
    def problems(self) -> dict[Subject, str]:
        """Subjects whose rule set will not come into force by itself, and why."""
        found = {
            subject: self._refused[vlan][1]
            for subject, vlan in self._vlan.items()
            if vlan in self._refused and self._refused[vlan][0] == self._wanted[subject]
        }
        full = f"all {LAST_VLAN} VLANs are in use: its connections are closed; merge rules, or remove some"
        return found | dict.fromkeys(self._homeless, full)

    @property
    def waiting(self) -> frozenset[Subject]:
        """Subjects whose rule set is not in force yet."""
        return frozenset(
            subject
            for subject, vlan in self._vlan.items()
            if self._verified.get(vlan) != self._wanted[subject] and subject not in self.problems
        )

    def kept(self) -> Kept:
        return Kept(
            vlans=tuple(sorted(self._holds.items())),
            subjects=tuple(sorted(self._vlan.items())),
            freed=tuple(self._freed),
            former=tuple(sorted(self._former.items())),
        )


def described(step: Step) -> str:
    match step:
        case Load(vlan, rules):
            return f"load {rules.digest} as VLAN {vlan}"
        case Replace(vlan, rules):
            return f"give VLAN {vlan} the rules {rules.digest}"
        case _:
            assert_never(step)
