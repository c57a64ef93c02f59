"""Folds the facts that say whether policies are in force: objects, programs, pages, marks and the nodes' reports.

A node is in the span of a policy while it hosts a member of a group that one of the policy's programs is addressed to.
It has the policy when each backend concerned has applied the program's cause and everything since the node entered the
span, is healthy, and reports no problem for the policy.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from sluice.contracts import subjects
from sluice.contracts.groups import Mark
from sluice.contracts.ids import ALL_NODES, NEVER, GroupId, NodeName, Revision, Unit
from sluice.contracts.kinds import PROGRAMMED, Kind
from sluice.contracts.status import CompilerStatus, DocumentProblem, NodeStatus, Problem, SourceStatus
from sluice.grouping.events import Newest, ObjectEvent, ObjectKey
from sluice.policy.computed import Computed
from sluice.policy.computed import Condition as Membership
from sluice.policy.realisation.report import (
    NOT_REALIZABLE,
    NOT_TAKEN_IN,
    PARTLY_REALIZABLE,
    Obstacle,
    Phase,
    Realised,
    Warned,
)

KINDS = PROGRAMMED | {Kind.CLUSTER_GROUP, Kind.GROUP, Kind.SERVICE, Kind.NODE}
"""The kinds of objects that it needs."""

K = TypeVar("K")
V = TypeVar("V")

_Holder = tuple[str, GroupId]
"""Backend, and the group that a program is addressed to."""


class _Known(NamedTuple):
    revision: Revision
    generation: int
    uid: str


class Realisation:
    """Mutable; `drain` returns what may have changed since the last call."""

    def __init__(self) -> None:
        self._newest = Newest()
        self._policies: dict[Unit, _Known] = {}
        self._nodes: dict[NodeName, Revision] = {}
        self._groups = Computed()
        self._group_uids: dict[tuple[str, str], _Known] = {}
        self._programs: dict[Unit, dict[_Holder, Revision]] = {}
        self._addressed: dict[GroupId, set[Unit]] = {}
        self._pages: dict[GroupId, dict[NodeName, Revision]] = {}
        self._marks: dict[str, dict[int, Mark]] = {}
        self._statuses: dict[tuple[NodeName, str], NodeStatus] = {}
        self._compilers: dict[int, tuple[Problem, ...]] = {}
        self._sources: dict[str, SourceStatus] = {}
        self._obstacles: dict[Unit, Problem] = {}
        self._refused: dict[Unit, str] = {}
        self._warnings: Mapping[Unit, Warned] | None = None
        """None: no lint run has finished yet."""

        self._dirty: set[Unit] = set()
        self._underived: set[Unit] = set()
        """Policies last found to have programs still to come; a new mark may change that."""

        self._missing_on: dict[Unit, frozenset[NodeName]] = {}
        self._waiting_for: dict[NodeName, set[Unit]] = {}
        """Per node, the policies last found missing on it; only the node's own reports can change that."""

    # --------------------------------------------------------------------------------------------------------- facts

    def object(self, event: ObjectEvent) -> None:
        """Take in a new value of an object. Other kinds are ignored."""
        key, made = event.key, event.object
        if key.kind not in KINDS or not self._newest.is_news(key, event.revision):
            return
        known = _Known(event.revision, made.metadata.generation, made.metadata.uid) if made else None
        if key.kind in PROGRAMMED:
            unit = subjects.unit(*key)
            _keep(self._policies, unit, known)
            self._touch((unit,))
        elif key.kind is Kind.NODE:
            _keep(self._nodes, NodeName(key.name), event.revision if made else None)
            self._touch(self._addressed.get(ALL_NODES, ()))
        else:
            if key.kind is not Kind.SERVICE:
                _keep(self._group_uids, (key.namespace, key.name), known)
            self._groups.evolve(event)

    def program(self, backend: str, group: GroupId, unit: Unit, cause: Revision | None) -> None:
        """The backend's program for the unit and group now reflects this cause; None: there is none."""
        holders = self._programs.setdefault(unit, {})
        _keep(holders, (backend, group), cause)
        if any(addressed == group for _, addressed in holders):
            self._addressed.setdefault(group, set()).add(unit)
        else:
            self._addressed.get(group, set()).discard(unit)
        self._touch((unit,))

    def page(self, group: GroupId, node: NodeName, cause: Revision | None) -> None:
        """The node hosts members of the group since this cause; None: it hosts none."""
        pages = self._pages.setdefault(group, {})
        if (node in pages) == (cause is not None):
            return  # only the appearance and removal of pages changes the span
        _keep(pages, node, cause)
        self._touch(self._addressed.get(group, ()))

    def mark(self, writer: str, mark: Mark) -> None:
        """Everything that this shard of the writer derives from objects up to the mark is stored."""
        before = self.derived()
        self._marks.setdefault(writer, {})[mark.shard] = mark
        self._touch(self._underived)
        if self.derived() < before:  # a new writer appeared, or the number of shards grew
            self._touch(self._policies)

    def node(self, status: NodeStatus | None, node: NodeName, backend: str) -> None:
        """Take in the status of a node's backend; None: it has none any more."""
        before = self._statuses.get((node, backend))
        _keep(self._statuses, (node, backend), status)
        told = [one for one in (before, status) if one is not None]
        self._touch(problem.unit for one in told for problem in one.problems)
        self._touch(self._waiting_for.get(node, ()))
        if _lost(before, status):
            self._touch(unit for group, nodes in self._pages.items() if node in nodes for unit in self._units(group))
            self._touch(self._units(ALL_NODES))

    def compiler(self, shard: int, status: CompilerStatus | None) -> None:
        """Take in what this shard of rule-compiler could not translate as written."""
        self._touch(problem.unit for problem in self._compilers.get(shard, ()))
        _keep(self._compilers, shard, status.problems if status else None)
        self._obstacles = {problem.unit: problem for problems in self._compilers.values() for problem in problems}
        self._touch(problem.unit for problem in self._compilers.get(shard, ()))

    def source(self, name: str, status: SourceStatus | None) -> None:
        """Take in the objects that the source rejected."""
        self._touch(self._refused)
        _keep(self._sources, name, status)
        self._refused = {
            unit: f"{problem.path}: {problem.reason}"
            for source in self._sources.values()
            for problem in source.problems
            if (unit := _unit_at(problem.file)) is not None
        }
        self._touch(self._refused)

    def warned(self, warnings: Mapping[Unit, Warned]) -> None:
        """Replace all warnings."""
        before, self._warnings = self._warnings, warnings
        if before is None:  # an object's status may still have warnings of an earlier process
            self._touch(self._policies)
        else:
            units = before.keys() | warnings.keys()
            self._touch(unit for unit in units if before.get(unit) != warnings.get(unit))

    # ----------------------------------------------------------------------------------------------------- questions

    def drain(self) -> frozenset[Unit]:
        """Policies whose answer may have changed, including those that were deleted."""
        dirty, self._dirty = frozenset(self._dirty), set()
        return dirty

    def drain_groups(self) -> Mapping[tuple[str, str], Membership | None]:
        """Groups whose condition changed, by namespace and name; None: deleted."""
        return self._groups.drain()

    @property
    def unread(self) -> tuple[DocumentProblem, ...]:
        """Rejected documents that cannot be attributed to an object: those of a folder."""
        sources = (source for _, source in sorted(self._sources.items()))
        return tuple(one for source in sources for one in source.problems if _unit_at(one.file) is None)

    @property
    def policies(self) -> Iterable[Unit]:
        """All policies, sorted."""
        return sorted(self._policies.keys() | self._refused.keys())

    @property
    def groups(self) -> Iterable[tuple[str, str]]:
        """All groups, by namespace and name, sorted."""
        return sorted(self._group_uids)

    def uid(self, key: ObjectKey) -> str:
        """The uid of a policy or a group; empty if there is none."""
        known = (
            self._policies.get(subjects.unit(*key))
            if key.kind in PROGRAMMED
            else self._group_uids.get((key.namespace, key.name))
        )
        return known.uid if known else ""

    def membership(self, name: tuple[str, str]) -> Membership | None:
        """The condition of a group, by namespace and name."""
        return self._groups.condition(name)

    def derived(self) -> Revision:
        """The revision up to which all programs and pages are stored; NEVER until every shard has reported."""
        upto = [self._upto(marks) for marks in self._marks.values()]
        writers = {writer.partition(".")[0] for writer in self._marks}
        return min(upto) if {"groups", "programs"} <= writers else NEVER

    def realised(self, unit: Unit) -> Realised | None:
        """How far the policy is in force; None if there is no such policy."""
        realised = self._realised(unit)
        warning = self._warnings.get(unit) if self._warnings else None
        return realised if realised is None or warning is None else replace(realised, warning=warning)

    @property
    def is_warned(self) -> bool:
        """Whether a lint run has finished."""
        return self._warnings is not None

    def _realised(self, unit: Unit) -> Realised | None:
        known = self._policies.get(unit)
        self._underived.discard(unit)
        if known is None:
            self._wait(unit, frozenset())
            if unit not in self._refused:
                return None
            # No version of it was ever accepted.
            return Realised(phase=Phase.PENDING, generation=0, obstacle=self._partial(unit, None))
        return self._judge(unit, known)

    def _judge(self, unit: Unit, known: _Known) -> Realised:
        holders = self._programs.get(unit)
        problem = self._obstacles.get(unit)
        if problem is not None and not holders:
            obstacle = Obstacle(reason=problem.code or NOT_REALIZABLE, message=problem.reason)
            self._wait(unit, frozenset())
            return Realised(phase=Phase.PENDING, generation=known.generation, obstacle=obstacle)
        if self.derived() < known.revision:
            self._underived.add(unit)
            self._wait(unit, frozenset())
            return Realised(phase=Phase.PENDING, generation=known.generation)
        missing, failing, span = self._missing(unit, holders or {})
        self._wait(unit, frozenset(missing))
        current, failed = len(span) - len(missing), len(failing)
        partial = self._partial(unit, problem)
        if partial is None and not missing:
            phase = Phase.REALIZED
        elif len(missing) == failed:
            phase = Phase.FAILED
        else:
            phase = Phase.REALIZING
        return Realised(
            phase=phase,
            generation=known.generation,
            current=current,
            desired=len(span),
            obstacle=partial,
            failing=tuple(sorted(failing.items())),
        )

    def _partial(self, unit: Unit, problem: Problem | None) -> Obstacle | None:
        if (refused := self._refused.get(unit)) is not None:
            return Obstacle(reason=NOT_TAKEN_IN, message=f"its newest version is not in force: {refused}")
        if problem is not None:
            return Obstacle(reason=problem.code or PARTLY_REALIZABLE, message=problem.reason)
        return None

    def _missing(
        self, unit: Unit, holders: Mapping[_Holder, Revision]
    ) -> tuple[set[NodeName], dict[NodeName, str], set[NodeName]]:
        """The nodes without the unit, the errors of those that fail, and all nodes that should have it."""
        span: set[NodeName] = set()
        missing: set[NodeName] = set()
        failing: dict[NodeName, str] = {}
        for (backend, group), cause in holders.items():
            for node, since in (self._nodes if group == ALL_NODES else self._pages.get(group, {})).items():
                span.add(node)
                status = self._statuses.get((node, backend))
                if status is None or status.applied < max(cause, since) or not status.healthy:
                    missing.add(node)
                if status is not None and (error := _error(status, unit)) is not None:
                    missing.add(node)
                    if error:
                        failing[node] = error
        return missing, failing, span

    def _wait(self, unit: Unit, nodes: frozenset[NodeName]) -> None:
        """Note which nodes are missing the unit."""
        before = self._missing_on.pop(unit, frozenset())
        if nodes:
            self._missing_on[unit] = nodes
        for node in before - nodes:
            self._waiting_for[node].discard(unit)
        for node in nodes - before:
            self._waiting_for.setdefault(node, set()).add(unit)

    def _upto(self, marks: Mapping[int, Mark]) -> Revision:
        shards = next(iter(marks.values())).shards
        return min((marks[shard].upto if shard in marks else NEVER) for shard in range(shards))

    def _units(self, group: GroupId) -> Iterable[Unit]:
        return self._addressed.get(group, ())

    def _touch(self, units: Iterable[Unit]) -> None:
        self._dirty.update(units)


def _lost(before: NodeStatus | None, status: NodeStatus | None) -> bool:
    """Whether units may have gone missing on the node, or come back."""
    if before is None or status is None:
        return before is not status
    return before.healthy != status.healthy or status.applied < before.applied


def _error(status: NodeStatus, unit: Unit) -> str | None:
    """Why the node does not have the unit; empty if it is only waiting for something, None if nothing is wrong."""
    problem = next((one for one in status.problems if one.unit == unit), None)
    if problem is not None:
        return problem.reason if problem.state == "failed" else ""
    if not status.healthy:
        return f"not healthy: {status.detail or 'it does not say why'}"
    return None


def _keep(table: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _unit_at(place: str) -> Unit | None:
    """The policy that a source names as <kind>/<namespace>/<name> or <kind>/<name>; None for files and others."""
    kind, _, name = place.partition("/")
    if kind not in PROGRAMMED:
        return None
    namespace, _, object_name = name.rpartition("/")
    return subjects.unit(Kind(kind), namespace, object_name)
