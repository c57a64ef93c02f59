"""Turns objects into programs, and into the groups that the programs name.

Two folds share one translation: rule-compiler keeps the rules, group-resolver the selectors. Both retranslate only the
units that `Policies` names, keep little of most objects beyond their translation, and tolerate late, repeated and
unknown events.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from sluice.contracts.ids import GroupId, Revision, Unit
from sluice.contracts.kinds import INPUTS, SELF_CONTAINED, Kind
from sluice.contracts.objects import AnyObject, K8sNetworkPolicy
from sluice.contracts.programs import Program
from sluice.contracts.status import Problem
from sluice.grouping.events import Newest, ObjectEvent, ObjectKey, key_of
from sluice.grouping.selectors import GroupSelector
from sluice.policy.logged import Relogged, relogged
from sluice.policy.policies import Policies
from sluice.policy.selected import groups_of_control
from sluice.policy.translate import SelfContained, Untranslatable, groups_of, stays_at_home, translate
from sluice.policy.translate.antrea import Draft, Part

ProgramKey = tuple[GroupId, Unit]

MOST_PROBLEMS = 10
"""Of one policy that its status gives."""

MOST_LETTERS = 1_000
"""Of one problem that a status gives. Whoever writes a policy chooses the names in it, and how long they are."""


class ProgramChanges(NamedTuple):
    """Changes since the last drain. Store everything in `put` before deleting what is in `drop`."""

    put: dict[ProgramKey, Program]
    drop: set[ProgramKey]


class GroupChanges(NamedTuple):
    """Changes since the last drain."""

    select: dict[GroupId, GroupSelector]
    release: set[GroupId]


class Compiler:
    """A fold of objects into programs."""

    def __init__(self) -> None:
        self._newest = Newest()
        self._policies = Policies()
        self._programs: dict[ProgramKey, Program] = {}
        self._addressed: dict[Unit, tuple[GroupId, ...] | dict[GroupId, None]] = {}
        """The groups that the unit's programs are addressed to; for most units just one."""

        self._problems: dict[Unit, Problem] = {}
        self._put: dict[ProgramKey, Program] = {}
        self._drop: set[ProgramKey] = set()

    @property
    def programs(self) -> Mapping[ProgramKey, Program]:
        return self._programs

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Policies that are not in force as written; sorted."""
        return tuple(self._problems[unit] for unit in sorted(self._problems))

    def addressed(self, unit: Unit) -> tuple[GroupId, ...]:
        """The groups that the unit's programs are addressed to; sorted."""
        return tuple(sorted(self._addressed.get(unit, ())))

    def evolve(self, event: ObjectEvent) -> bool:
        """Apply the event; True if a program changed. Never raises."""
        if event.key.kind not in INPUTS or not self._newest.is_news(event.key, event.revision):
            return False
        changed = False
        for unit, policy, cause, amended in self._policies.evolve(event):
            if isinstance(policy, Relogged):
                changed |= self._relog(unit, policy, cause)
            elif amended is not None and isinstance(policy, Draft):
                changed |= self._amend(unit, policy, amended.groups, cause)
            else:
                changed |= self._compile(unit, policy, cause)
        return changed

    def put(self, obj: AnyObject, at: Revision) -> bool:
        """The object has this value since that revision; True if a program changed."""
        return self.evolve(ObjectEvent(key_of(obj), obj, at))

    def delete(self, kind: Kind, namespace: str, name: str, at: Revision) -> bool:
        """The object does not exist since that revision; True if a program changed."""
        return self.evolve(ObjectEvent(ObjectKey(kind, namespace, name), None, at))

    def settle(self, upto: Revision) -> None:
        """Declare that all events up to this revision were delivered; see `events.Newest.settle`."""
        self._newest.settle(upto)

    def drain(self) -> ProgramChanges:
        changes = ProgramChanges(self._put, self._drop)
        self._put, self._drop = {}, set()
        return changes

    def _relog(self, unit: Unit, policy: Relogged, at: Revision) -> bool:
        changed = False
        for group in self._addressed.get(unit, ()):
            program = self._programs[group, unit]
            made = relogged(program, on=policy.on)
            changed |= self._keep((group, unit), replace(made, cause=max(program.cause, at)))
        return changed

    def _compile(self, unit: Unit, policy: SelfContained | Draft | None, cause: Revision) -> bool:
        programs = self._translate(unit, policy, cause)
        if isinstance(policy, K8sNetworkPolicy) and self._policies.logs(policy.metadata.namespace):
            programs = tuple([relogged(program, on=True) for program in programs])
        changed = False
        for program in programs:
            changed |= self._keep((program.applied_to, unit), program)
        now = tuple([program.applied_to for program in programs])
        addressed = now if len(now) < 2 else dict.fromkeys(now)
        for group in self._addressed.pop(unit, ()):
            if group not in addressed:
                self._remove((group, unit))
                changed = True
        if addressed:
            self._addressed[unit] = addressed
        return changed

    def _amend(self, unit: Unit, draft: Draft, groups: Iterable[GroupId], cause: Revision) -> bool:
        """Update only the programs addressed to these groups; the unit may have many others, which stay as they are."""
        before = self._addressed.get(unit, ())
        addressed = before if isinstance(before, dict) else dict.fromkeys(before)
        changed = False
        for group in sorted(groups):
            program = draft.program(group, cause)
            if program is not None:
                changed |= self._keep((group, unit), program)
                addressed[group] = None
            elif group in addressed:
                self._remove((group, unit))
                del addressed[group]
                changed = True
        if addressed:
            self._addressed[unit] = addressed
        else:
            self._addressed.pop(unit, None)
        return changed

    def _translate(self, unit: Unit, policy: SelfContained | Draft | None, cause: Revision) -> tuple[Program, ...]:
        if self._problems:
            self._problems.pop(unit, None)
        if policy is None:
            return ()
        try:
            translation = policy.translation(cause) if isinstance(policy, Draft) else translate(policy, cause)
        except Untranslatable as error:
            self._problems[unit] = Problem(unit=unit, state="failed", reason=str(error), code=error.code)
            return ()
        if translation.problems:
            self._problems[unit] = Problem(unit=unit, state="failed", reason=_first_of(translation.problems))
        return translation.programs

    def _keep(self, key: ProgramKey, program: Program) -> bool:
        """Store the program; False if the stored one is equal apart from its cause, which it then keeps."""
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


def _first_of(problems: Sequence[str]) -> str:
    """The problems of one policy as a reason; of many only the first: all statuses travel in one message."""
    more = len(problems) - MOST_PROBLEMS
    told = [one if len(one) <= MOST_LETTERS else f"{one[:MOST_LETTERS]}…" for one in problems[:MOST_PROBLEMS]]
    return "; ".join([*told, *((f"and {more} problems more",) if more > 0 else ())])


class Groups:
    """A fold of objects into the selectors of the groups that programs name."""

    def __init__(self, has: Callable[[str], bool] | None = None) -> None:
        """Start empty.

        Args:
            has: whether groups of this Namespace are wanted; unset: all are. Groups confined to other Namespaces may be
                missing from the result.
        """
        self._has = has
        self._newest = Newest()
        self._policies = Policies()
        self._selectors: dict[GroupId, GroupSelector] = {}
        self._more_users: dict[GroupId, int] = {}
        """Uses of a group beyond the first: one per unit, or one per part of a unit."""

        self._of_object: dict[ObjectKey, tuple[GroupId, ...]] = {}
        """For objects whose translation looks nothing up."""

        self._of_parts: dict[Unit, dict[Part, tuple[GroupId, ...]]] = {}
        """For units with a draft, which use a group once for each part that names it."""

        self._told: set[GroupId] = set()
        self._touched: dict[GroupId, None] = {}
        """In the order in which policies arrived, so that groups that belong together are processed together."""

    @property
    def selectors(self) -> Mapping[GroupId, GroupSelector]:
        return self._selectors

    def evolve(self, event: ObjectEvent) -> bool:
        """Apply the event; True if a group appeared or disappeared. Never raises."""
        kind = event.key.kind
        if kind not in INPUTS and kind is not Kind.TRAFFIC_CONTROL:
            return False
        if not self._newest.is_news(event.key, event.revision):
            return False
        if kind in SELF_CONTAINED:
            return self._on_self_contained(event.key, event.object)
        if kind not in INPUTS:
            return self._name(event.key, groups_of_control(event.object))
        changed = False
        for unit, policy, _, amended in self._policies.evolve(event):
            if isinstance(policy, Draft):
                changed |= self._select_parts(unit, policy, amended.parts if amended else None)
            else:
                assert policy is None, "what looks nothing up is not asked for here"
                changed |= self._select_parts(unit, None, None)
        return changed

    def put(self, obj: AnyObject, at: Revision) -> bool:
        """The object has this value since that revision; True if a group appeared or disappeared."""
        return self.evolve(ObjectEvent(key_of(obj), obj, at))

    def delete(self, kind: Kind, namespace: str, name: str, at: Revision) -> bool:
        """The object does not exist since that revision; True if a group appeared or disappeared."""
        return self.evolve(ObjectEvent(ObjectKey(kind, namespace, name), None, at))

    def settle(self, upto: Revision) -> None:
        """Declare that all events up to this revision were delivered; see `events.Newest.settle`."""
        self._newest.settle(upto)

    def drain(self) -> GroupChanges:
        held, told = self._selectors, self._told
        select = {group: held[group] for group in self._touched if group in held and group not in told}
        release = {group for group in self._touched if group not in held and group in told}
        told.update(select)
        told -= release
        self._touched = {}
        return GroupChanges(select, release)

    def _on_self_contained(self, key: ObjectKey, obj: AnyObject | None) -> bool:
        """A self-contained policy is translated once, or not at all if none of its groups is wanted."""
        if isinstance(obj, SelfContained) and (self._has is None or self._has(key.namespace) or not stays_at_home(obj)):
            return self._name(key, groups_of(obj))
        return key in self._of_object and self._name(key, {})

    def _name(self, key: ObjectKey, groups: Mapping[GroupId, GroupSelector]) -> bool:
        """The object now names exactly these groups; True if a group appeared or disappeared."""
        changed = self._exchange(self._of_object.pop(key, ()), groups)
        if groups:
            self._of_object[key] = tuple(groups)
        return changed

    def _select_parts(self, unit: Unit, draft: Draft | None, parts: Iterable[Part] | None) -> bool:
        """Take over the groups named by the draft's parts. Only these parts differ; unset: any may."""
        known = self._of_parts.pop(unit, {})
        said = draft.parts if draft is not None else {}
        changed = False
        for part in sorted(known.keys() | said.keys() if parts is None else parts):
            groups = said.get(part, {})
            changed |= self._exchange(known.pop(part, ()), groups)
            if groups:
                known[part] = tuple(groups)
        if known:
            self._of_parts[unit] = known
        return changed

    def _exchange(self, before: Iterable[GroupId], after: Mapping[GroupId, GroupSelector]) -> bool:
        """Replace the groups that something names; True if a group appeared or disappeared."""
        held, touched, changed = self._selectors, self._touched, False
        for group, selector in after.items():
            if group in held:
                self._more_users[group] = self._more_users.get(group, 0) + 1
            else:
                held[group], touched[group], changed = selector, None, True
        for group in before:
            changed |= self._drop(group)
        return changed

    def _drop(self, group: GroupId) -> bool:
        """Drop one use of the group; True if it was the last."""
        others = self._more_users.pop(group, 0)
        if others > 1:
            self._more_users[group] = others - 1
        if others:
            return False
        del self._selectors[group]
        self._touched[group] = None
        return True
