"""Objects into programs, and objects into the groups that the programs name.

Two folds over the same translation: rule-compiler keeps the rules, group-resolver the selectors. Both compile again
only the units that `affected` names, and both absorb late, repeated and unheard-of events.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from sluice.contracts.ids import GroupId, Revision, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject
from sluice.contracts.programs import Program
from sluice.contracts.status import Problem
from sluice.grouping.events import ObjectEvent, ObjectKey, key_of
from sluice.grouping.selectors import GroupSelector
from sluice.policy.policies import Policies
from sluice.policy.translate import Untranslatable

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
        self._policies = Policies()
        self._programs: dict[ProgramKey, Program] = {}
        self._of_unit: dict[Unit, tuple[ProgramKey, ...]] = {}
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
        changed = False
        for unit in self._policies.evolve(event):
            changed |= self._compile(unit)
        return changed

    def put(self, obj: AnyObject, at: Revision) -> bool:
        """The object is this since that revision; True if a program changed."""
        return self.evolve(ObjectEvent(key_of(obj), obj, at))

    def delete(self, kind: Kind, namespace: str, name: str, at: Revision) -> bool:
        """The object does not exist since that revision; True if a program changed."""
        return self.evolve(ObjectEvent(ObjectKey(kind, namespace, name), None, at))

    def settle(self, upto: Revision) -> None:
        """Say that everything up to this revision was told; see `events.Newest.settle`."""
        self._policies.settle(upto)

    def drain(self) -> ProgramChanges:
        changes = ProgramChanges(self._put, self._drop)
        self._put, self._drop = {}, set()
        return changes

    def _compile(self, unit: Unit) -> bool:
        self._problems.pop(unit, None)
        try:
            translation = self._policies.translate(unit)
        except Untranslatable as error:
            translation = None
            self._problems[unit] = str(error)
        if translation and translation.problems:
            self._problems[unit] = "; ".join(translation.problems)
        programs = {(made.applied_to, unit): made for made in translation.programs} if translation else {}
        changed = False
        for key, program in programs.items():
            if not _same_but_for_cause(self._programs.get(key), program):
                self._programs[key] = self._put[key] = program
                self._drop.discard(key)
                changed = True
        for key in self._of_unit.pop(unit, ()):
            if key not in programs:
                del self._programs[key]
                self._put.pop(key, None)
                self._drop.add(key)
                changed = True
        if programs:
            self._of_unit[unit] = tuple(programs)
        return changed


class Groups:
    """A fold of objects into the selectors of the groups that programs name."""

    def __init__(self) -> None:
        self._policies = Policies()
        self._selectors: dict[GroupId, GroupSelector] = {}
        self._users: dict[GroupId, int] = {}
        self._of_unit: dict[Unit, tuple[GroupId, ...]] = {}
        self._told: set[GroupId] = set()
        self._touched: set[GroupId] = set()

    @property
    def selectors(self) -> Mapping[GroupId, GroupSelector]:
        return self._selectors

    def evolve(self, event: ObjectEvent) -> bool:
        """Take the event in; True if a group came or went. Never raises."""
        changed = False
        for unit in self._policies.evolve(event):
            changed |= self._translate(unit)
        return changed

    def put(self, obj: AnyObject, at: Revision) -> bool:
        """The object is this since that revision; True if a group came or went."""
        return self.evolve(ObjectEvent(key_of(obj), obj, at))

    def delete(self, kind: Kind, namespace: str, name: str, at: Revision) -> bool:
        """The object does not exist since that revision; True if a group came or went."""
        return self.evolve(ObjectEvent(ObjectKey(kind, namespace, name), None, at))

    def settle(self, upto: Revision) -> None:
        """Say that everything up to this revision was told; see `events.Newest.settle`."""
        self._policies.settle(upto)

    def drain(self) -> GroupChanges:
        select = {group: self._selectors[group] for group in self._touched - self._told if group in self._selectors}
        release = {group for group in self._touched & self._told if group not in self._selectors}
        self._told = (self._told | select.keys()) - release
        self._touched = set()
        return GroupChanges(select, release)

    def _translate(self, unit: Unit) -> bool:
        try:
            translation = self._policies.translate(unit)
        except Untranslatable:  # the Compiler reports it
            translation = None
        groups: Mapping[GroupId, GroupSelector] = translation.groups if translation else {}
        changed = False
        for group, selector in groups.items():
            users = self._users[group] = self._users.get(group, 0) + 1
            if users == 1:
                self._selectors[group] = selector
                self._touched.add(group)
                changed = True
        for group in self._of_unit.pop(unit, ()):
            self._users[group] -= 1
            if not self._users[group]:
                del self._users[group], self._selectors[group]
                self._touched.add(group)
                changed = True
        if groups:
            self._of_unit[unit] = tuple(groups)
        return changed


def _same_but_for_cause(known: Program | None, made: Program) -> bool:
    return known is not None and replace(known, cause=made.cause) == made
