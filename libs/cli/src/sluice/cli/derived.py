"""The output of group-resolver and rule-compiler for manifests, without a bus, node by node."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, TypeVar

from sluice.cli.uncollected import uncollected
from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import ALL_NODES, Backend, GroupId, NodeName, Revision, Unit
from sluice.contracts.programs import Program
from sluice.contracts.traffic_programs import TrafficProgram
from sluice.dataplane.view import peer_groups
from sluice.grouping.events import ObjectEvent, key_of
from sluice.grouping.index import Grouping
from sluice.policy.backends import backend_of
from sluice.policy.compiler import Compiler, Groups
from sluice.policy.services import Services
from sluice.policy.traffic import TrafficControls

P = TypeVar("P")


class Derived:
    """The folds over all documents, each as a revision of its own.

    A node costs what it holds: its programs are found by the groups of its Pods, and the members of a group are looked
    for only once a program of a node that was asked for names it.
    """

    @uncollected()
    def __init__(self, documents: Mapping[Any, Any]) -> None:  # Any: as `World.objects`, which is imported lazily
        self.compiler, self.services, self.controls = Compiler(), Services(), TrafficControls()
        self._groups, self._grouping = Groups(), Grouping()
        folds = (self.compiler, self._groups, self._grouping, self.services, self.controls)
        sequence = count(1)
        for document in documents.values():
            event = ObjectEvent(key_of(document.object), document.object, Revision(1, next(sequence)))
            for fold in folds:
                fold.evolve(event)
        self._programs = _by_group(self.compiler.programs)
        self._steering = _by_group(self.controls.programs)
        for group in sorted({*self._programs, *self._steering} - {ALL_NODES}):
            self._select(group)

    def programs(self, node: NodeName) -> list[Program]:
        """The programs that are addressed to the node, by group and unit."""
        return self._addressed(node, self._programs)

    def programs_of(self, backend: Backend, node: NodeName) -> list[Program]:
        """Those of the node's programs that this backend holds whole."""
        return [program for program in self.programs(node) if backend_of(program) == backend]

    def steering(self, node: NodeName) -> list[TrafficProgram]:
        """The programs of TrafficControls that are addressed to the node, by group and unit."""
        return self._addressed(node, self._steering)

    def members(self, group: GroupId, node: NodeName) -> tuple[Member, ...]:
        """The group's members on the node."""
        return self._grouping.members(group, node)

    def pages(self, programs: Iterable[Program]) -> Iterator[Page]:
        """All pages of the groups that the programs are addressed to or name."""
        named = {group for program in programs for group in (program.applied_to, *peer_groups(program))}
        for group in sorted(named - {ALL_NODES}):
            self._select(group)
            for node, members in self._grouping.pages(group, self._grouping.nodes(group)):
                yield Page(group=group, node=node, cause=Revision(1, 0), members=members)

    def _select(self, group: GroupId) -> None:
        self._grouping.select(group, self._groups.selectors[group])

    def _addressed(self, node: NodeName, held: Mapping[GroupId, Mapping[Unit, P]]) -> list[P]:
        groups = sorted(held.keys() & {*self._grouping.groups_on(node), ALL_NODES})
        return [program for group in groups for _, program in sorted(held[group].items(), key=lambda one: one[0])]


def _by_group(programs: Mapping[tuple[GroupId, Unit], P]) -> Mapping[GroupId, Mapping[Unit, P]]:
    found: dict[GroupId, dict[Unit, P]] = {}
    for (group, unit), program in programs.items():
        found.setdefault(group, {})[unit] = program
    return found
