"""Objects into programs, and objects into the groups that the programs name.

Two folds over the same translation: rule-compiler keeps the rules, group-resolver the selectors. Both translate again
only the units that `Policies` names, keep nothing of most objects but what was made of them, and absorb late, repeated
and unheard-of events.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from sluice.contracts.ids import GroupId, Revision, Unit
from sluice.contracts.kinds import INPUTS, Kind
from sluice.contracts.objects import AnyObject, AnyPolicy
from sluice.contracts.programs import Program
from sluice.contracts.status import Problem
from sluice.grouping.events import Newest, ObjectEvent, ObjectKey, key_of
from sluice.grouping.selectors import GroupSelector
from sluice.policy.policies import Policies
from sluice.policy.translate import Translation, Untranslatable, groups_of, translate

ProgramKey = tuple[GroupId, Unit]


class ProgramChanges(NamedTuple):
    """What differs since the last time. Store what is to be put before what is to be dropped goes."""

    put: dict[ProgramKey, Program]
    drop: set[ProgramKey]


class GroupChanges(NamedTuple):
    """What differs since the last time."""

    select: dict[GroupId, GroupSelector]
    release: set[GroupId]


class Compiler:
    """A fold of objects into programs."""

    def __init__(self) -> None:
        self._newest = Newest()
        self._policies = Policies()
        self._programs: dict[ProgramKey, Program] = {}
        self._addressed: dict[Unit, tuple[GroupId, ...]] = {}
        self._problems: dict[Unit, str] = {}
        self._put: dict[ProgramKey, Program] = {}
        self._drop: set[ProgramKey] = set()

    @property
    def programs(self) -> Mapping[ProgramKey, Program]:
        return self._programs

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Policies that are not in force as they are written; sorted."""
        return tuple(Problem(unit=unit, state="failed", reason=self._problems[unit]) for unit in sorted(self._problems))

    def evolve(self, event: ObjectEvent) -> bool:
        """Take the event in; True if a program changed. Never raises."""
        if event.key.kind not in INPUTS or not self._newest.is_news(event.key, event.revision):
            return False
        changed = False
        for unit, policy, cause in self._policies.evolve(event):
            changed |= self._compile(unit, policy, cause)
        return changed

    def put(self, obj: AnyObject, at: Revision) -> bool:
        """The object is this since that revision; True if a program changed."""
        return self.evolve(ObjectEvent(key_of(obj), obj, at))

    def delete(self, kind: Kind, namespace: str, name: str, at: Revision) -> bool:
        """The object does not exist since that revision; True if a program changed."""
        return self.evolve(ObjectEvent(ObjectKey(kind, namespace, name), None, at))

    def settle(self, upto: Revision) -> None:
        """Say that everything up to this revision was told; see `events.Newest.settle`."""
        self._newest.settle(upto)

    def drain(self) -> ProgramChanges:
        changes = ProgramChanges(self._put, self._drop)
        self._put, self._drop = {}, set()
        return changes

    def _compile(self, unit: Unit, policy: AnyPolicy | None, cause: Revision) -> bool:
        translation = self._translate(unit, policy, cause)
        changed = False
        programs = translation.programs if translation else ()
        for program in programs:
            changed |= self._keep((program.applied_to, unit), program)
        now = tuple([program.applied_to for program in programs])
        for group in self._addressed.pop(unit, ()):
            if group not in now:
                self._remove((group, unit))
                changed = True
        if now:
            self._addressed[unit] = now
        return changed

    def _translate(self, unit: Unit, policy: AnyPolicy | None, cause: Revision) -> Translation | None:
        if self._problems:
            self._problems.pop(unit, None)
        if policy is None:
            return None
        try:
            translation = translate(policy, cause, self._policies)
        except Untranslatable as error:
            self._problems[unit] = str(error)
            return None
        if translation.problems:
            self._problems[unit] = "; ".join(translation.problems)
        return translation

    def _keep(self, key: ProgramKey, program: Program) -> bool:
        """Hold the program; False if the one that is held says the same, which then keeps its cause."""
        known = self._programs.get(key)
        if known is not None and replace(known, cause=program.cause) == program:
            return False
        self._programs[key] = self._put[key] = program
        if self._drop:
            self._drop.discard(key)
        return True

    def _remove(self, key: ProgramKey) -> None:
        del self._programs[key]
        self._put.pop(key, None)
        self._drop.add(key)


class Groups:
    """A fold of objects into the selectors of the groups that programs name."""

    def __init__(self) -> None:
        self._newest = Newest()
        self._policies = Policies()
        self._selectors: dict[GroupId, GroupSelector] = {}
        self._more_users: dict[GroupId, int] = {}
        """How many units use a group beside the first."""

        self._of_unit: dict[Unit, tuple[GroupId, ...]] = {}
        self._told: set[GroupId] = set()
        self._touched: dict[GroupId, None] = {}
        """In the order in which policies came: what belongs together is looked at together."""

    @property
    def selectors(self) -> Mapping[GroupId, GroupSelector]:
        return self._selectors

    def evolve(self, event: ObjectEvent) -> bool:
        """Take the event in; True if a group came or went. Never raises."""
        if event.key.kind not in INPUTS or not self._newest.is_news(event.key, event.revision):
            return False
        changed = False
        for unit, policy, _ in self._policies.evolve(event):
            changed |= self._select(unit, policy)
        return changed

    def put(self, obj: AnyObject, at: Revision) -> bool:
        """The object is this since that revision; True if a group came or went."""
        return self.evolve(ObjectEvent(key_of(obj), obj, at))

    def delete(self, kind: Kind, namespace: str, name: str, at: Revision) -> bool:
        """The object does not exist since that revision; True if a group came or went."""
        return self.evolve(ObjectEvent(ObjectKey(kind, namespace, name), None, at))

    def settle(self, upto: Revision) -> None:
        """Say that everything up to this revision was told; see `events.Newest.settle`."""
        self._newest.settle(upto)

    def drain(self) -> GroupChanges:
        held, told = self._selectors, self._told
        select = {group: held[group] for group in self._touched if group in held and group not in told}
        release = {group for group in self._touched if group not in held and group in told}
        told.update(select)
        told -= release
        self._touched = {}
        return GroupChanges(select, release)

    def _select(self, unit: Unit, policy: AnyPolicy | None) -> bool:
        groups = groups_of(policy, self._policies) if policy else {}
        held, touched, changed = self._selectors, self._touched, False
        for group, selector in groups.items():
            if group in held:
                self._more_users[group] = self._more_users.get(group, 0) + 1
            else:
                held[group], touched[group], changed = selector, None, True
        for group in self._of_unit.pop(unit, ()):
            changed |= self._drop(group)
        if groups:
            self._of_unit[unit] = tuple(groups)
        return changed

    def _drop(self, group: GroupId) -> bool:
        """One unit less uses the group; True if it was the last."""
        others = self._more_users.pop(group, 0)
        if others > 1:
            self._more_users[group] = others - 1
        if others:
            return False
        del self._selectors[group]
        self._touched[group] = None
        return True
