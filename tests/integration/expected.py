"""What the streams must hold for a set of objects, computed from scratch."""

from collections.abc import Iterable
from typing import Any

from sluice.contracts import codec, subjects
from sluice.contracts.ids import GroupId, Revision, Unit
from sluice.contracts.objects import AnyObject, Namespace, Pod
from sluice.contracts.programs import Program
from sluice.contracts.shards import shard_of_group
from sluice.contracts.traffic_control import TrafficControl
from sluice.contracts.traffic_programs import TrafficProgram
from sluice.grouping.events import ObjectEvent, key_of
from sluice.grouping.index import Grouping
from sluice.policy.backends import backend_of
from sluice.policy.compiler import Compiler, Groups
from sluice.policy.traffic import TrafficControls


def groups_of(objects: Iterable[AnyObject], shards: int = 1) -> dict[str, object]:
    """GROUPS, without causes, marks and routes."""
    groups, grouping, names = Groups(), Grouping(), set()
    for sequence, obj in enumerate(objects, start=1):
        groups.put(obj, Revision(1, sequence))
        if isinstance(obj, Namespace | Pod):
            grouping.put(obj)
        if isinstance(obj, Pod):
            names.add(obj.node)
    for group, selector in groups.selectors.items():
        grouping.select(group, selector)
    wanted: dict[str, object] = {}
    for name in names:
        for group in grouping.groups_on(name):
            members = grouping.members(group, name)
            wanted[subjects.page(group, name)] = {"group": group, "node": name, "members": members}
        for shard in range(shards):
            if mine := [group for group in grouping.groups_on(name) if shard_of_group(group, shards) == shard]:
                wanted[subjects.own(name, shard)] = {"node": name, "shard": shard, "groups": mine}
        if pods := grouping.pods_on(name):
            wanted[subjects.local(name)] = {"node": name, "pods": pods, "interfaces": grouping.interfaces_on(name)}
    return codec.decode(codec.encode(wanted), dict[str, Any])  # Any: as `conftest.Stored` has them


def programs_of(objects: Iterable[AnyObject]) -> dict[str, object]:
    """PROGRAMS, without causes and marks; those of Services aside."""
    fold, controls = Compiler(), TrafficControls()
    for sequence, obj in enumerate(objects, start=1):
        fold.put(obj, Revision(1, sequence))
        if isinstance(obj, TrafficControl):
            controls.evolve(ObjectEvent(key_of(obj), obj, Revision(1, sequence)))
    wanted: dict[str, object] = {}
    programs: dict[tuple[GroupId, Unit], Program | TrafficProgram] = {**fold.programs, **controls.programs}
    for (group, unit), program in programs.items():
        value = wanted[subjects.program(backend_of(program), group, unit)] = codec.decode(
            codec.encode(program), dict[str, Any]
        )
        value.pop("cause")
    return wanted
