"""The condition GroupMembersComputed of ClusterGroups and Groups: whether it is known what the group selects.

Source: docs "Antrea Network Policy CRDs", "ClusterGroup", status; a group with children is computed when all of them
exist and are computed.
"""

from collections.abc import Iterable

from msgspec import Struct

from sluice.contracts.antrea_groups import GroupSpec
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyGroup
from sluice.grouping.events import Newest, ObjectEvent
from sluice.policy.policies import Policies
from sluice.policy.translate.cluster import Name, Recorder
from sluice.policy.translate.named import NestedTooDeep, meaning, title
from sluice.policy.translate.translation import Refused

CONDITION = "GroupMembersComputed"
NESTED = "ChildGroupsNestingExceeded"
"""Source: Antrea, pkg/apis/crd/v1beta1, GroupConditionReason."""

MISSING = "ChildGroupNotFound"
UNKNOWN = "InvalidGroup"


class Condition(Struct, frozen=True, kw_only=True):
    """`status.conditions` of a group, but for the time."""

    computed: bool
    reason: str = ""
    message: str = ""


class Computed:
    """A fold of groups and Services into conditions. Tolerates late and repeated events, and those of other kinds."""

    def __init__(self) -> None:
        self._newest = Newest()
        self._known = Policies()
        self._parents: dict[Name, set[Name]] = {}
        self._groups: dict[Name, GroupSpec] = {}
        self._conditions: dict[Name, Condition] = {}
        self._changed: set[Name] = set()

    def evolve(self, event: ObjectEvent) -> None:
        """Apply the event. Takes time proportional to the number of parents of the group."""
        kind, namespace, name = event.key
        if kind not in (Kind.CLUSTER_GROUP, Kind.GROUP) or not self._newest.is_news(event.key, event.revision):
            return
        self._known.evolve(event)
        own = namespace, name
        before = self._groups.pop(own, None)
        for child in before.child_groups if before else ():
            self._parents[namespace, child].discard(own)
        if isinstance(event.object, AnyGroup):
            self._groups[own] = event.object.spec
            for child in event.object.spec.child_groups:
                self._parents.setdefault((namespace, child), set()).add(own)
        self._again((own, *self._parents.get(own, ())))

    def condition(self, name: Name) -> Condition | None:
        """The condition of the ClusterGroup, whose namespace is empty, or of the Group; None if there is none."""
        return self._conditions.get(name)

    def drain(self) -> dict[Name, Condition | None]:
        """The conditions that changed since the last drain; None: the group is gone."""
        changed, self._changed = self._changed, set()
        return {name: self._conditions.get(name) for name in sorted(changed)}

    def _again(self, names: Iterable[Name]) -> None:
        for name in names:
            after = self._judge(name)
            before = self._conditions.pop(name, None)
            if after is not None:
                self._conditions[name] = after
            if before != after:
                self._changed.add(name)

    def _judge(self, name: Name) -> Condition | None:
        spec = self._groups.get(name)
        if spec is None:
            return None
        try:
            meaning(name, Recorder(self._known))
        except NestedTooDeep as deep:
            return Condition(computed=False, reason=NESTED, message=str(deep))
        except Refused as refused:
            return Condition(computed=False, reason=UNKNOWN, message=str(refused))
        missing = [child for child in spec.child_groups if (name[0], child) not in self._groups]
        if missing:
            reason = f"{title(name)} has the child {missing[0]}, which does not exist and counts as empty; create it"
            return Condition(computed=False, reason=MISSING, message=reason)
        return Condition(computed=True)
