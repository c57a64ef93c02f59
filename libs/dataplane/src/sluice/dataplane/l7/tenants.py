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
    """Whose rule set it is; names of rules are unique in a policy's direction."""

    unit: Unit
    direction: Direction
    rule: str


class Load(NamedTuple):
    """The VLAN has no tenant of its own yet: register one with these rules."""

    vlan: int
    rules: RuleSet


class Replace(NamedTuple):
    """The VLAN's tenant gets these rules; its connections go on."""

    vlan: int
    rules: RuleSet


Step = Load | Replace


class Kept(Struct, frozen=True, kw_only=True):
    """What outlives a restart: a VLAN must not mean another rule set then, for connections still bear it."""

    vlans: tuple[tuple[int, RuleSet], ...]
    """The tenants as they are in the engine's configuration."""

    subjects: tuple[tuple[Subject, int], ...]
    freed: tuple[int, ...]
    """Closed VLANs, the one that has been so longest first."""

    former: tuple[tuple[int, tuple[Subject, ...]], ...] = ()
    """Whose each closed VLAN was last: logs tell of what it let pass."""


NOTHING_KEPT = Kept(vlans=(), subjects=(), freed=())


class Tenants:
    """The allocation. Say what is wanted, do the steps, and say how they went."""

    def __init__(self, kept: Kept = NOTHING_KEPT) -> None:
        self._holds: dict[int, RuleSet] = dict(kept.vlans)
        """What the engine is to hold when it starts, and what it holds when all went well."""

        self._vlan = {subject: vlan for subject, vlan in kept.subjects if vlan in self._holds}
        self._freed: dict[int, None] = dict.fromkeys(kept.freed)
        self._former = dict(kept.former)
        self._wanted = {subject: self._holds[vlan] for subject, vlan in self._vlan.items()}
        """Until somebody says what is wanted, what was."""

        self._verified: dict[int, RuleSet] = {}
        self._refused: dict[int, tuple[RuleSet, str]] = {}
        self._homeless: set[Subject] = set()

    def want(self, rule_sets: Mapping[Subject, RuleSet]) -> None:
        """These are all the rule sets there are to be."""
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
        """Subjects that share a VLAN and no longer want the same: the first by name keeps it with its equals."""
        digest = self._wanted[min(some)].digest
        for subject in some:
            if self._wanted[subject].digest != digest:
                del self._vlan[subject]

    def _vacant(self) -> Iterator[int]:
        """VLANs that no subject has: those that never had one, then those that are closed the longest."""
        used = frozenset(self._vlan.values())
        yield from (vlan for vlan in range(FIRST_VLAN, LAST_VLAN + 1) if vlan not in self._holds and vlan not in used)
        yield from (vlan for vlan in tuple(self._freed) if vlan not in used)

    def steps(self) -> tuple[Step, ...]:
        """What the engine must still be told, in order: what closes first."""
        return tuple(self._steps())

    def _steps(self) -> Iterator[Step]:
        target = dict.fromkeys(self._freed, CLOSED)
        wanted = {vlan: self._wanted[subject] for subject, vlan in self._vlan.items()}
        for vlan, rules in (*sorted(target.items()), *sorted(wanted.items())):
            if vlan in self._refused and self._refused[vlan][0] == rules:
                continue  # it stays what it was until something else is wanted
            if vlan not in self._holds:
                yield Load(vlan, rules)
            elif self._holds[vlan] != rules or self._verified.get(vlan) not in (None, rules):
                yield Replace(vlan, rules)

    def done(self, step: Step) -> None:
        """The engine said that it holds it."""
        self._holds[step.vlan] = step.rules
        self._verified.pop(step.vlan, None)
        self._refused.pop(step.vlan, None)

    def prepared(self, step: Step) -> None:
        """The next engine will start with it."""
        self._holds[step.vlan] = step.rules

    def refused(self, step: Step, reason: str) -> None:
        """The rules cannot be loaded: what the VLAN held stays."""
        self._refused[step.vlan] = (step.rules, reason)

    def engine_ended(self) -> None:
        """Nothing is verified any more; the next engine starts with what `kept` says."""
        self._verified.clear()

    def shown(self, vlan: int) -> None:
        """A probe packet showed that the engine has the VLAN's rules."""
        self._verified[vlan] = self._holds[vlan]

    def unverified(self) -> tuple[int, ...]:
        """VLANs whose rules the engine should have, and a probe packet has still to show."""
        return tuple(vlan for vlan in sorted(self._holds) if vlan not in self._verified)

    @property
    def verified(self) -> dict[str, int]:
        """The VLAN of each rule set that is in force, by its digest: what node-ovs may send to."""
        return {rules.digest: vlan for vlan, rules in sorted(self._verified.items()) if vlan not in self._freed}

    @property
    def deserted(self) -> tuple[int, ...]:
        """VLANs that had a subject and have none: their connections are to be ended."""
        return tuple(sorted(self._freed))

    @property
    def holds(self) -> Mapping[int, RuleSet]:
        """What each VLAN's tenant has, as far as all went well."""
        return self._holds

    def subjects(self, vlan: int) -> tuple[Subject, ...]:
        """Whose packets are judged by the VLAN; sorted. None: it is closed."""
        return tuple(sorted(subject for subject, held in self._vlan.items() if held == vlan))

    def last_subjects(self, vlan: int) -> tuple[Subject, ...]:
        """The same; of a closed one, whose it was last."""
        return self.subjects(vlan) or self._former.get(vlan, ())

    @property
    def problems(self) -> dict[Subject, str]:
        """Subjects whose rule set is not in force for good, and why."""
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
