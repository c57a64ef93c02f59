"""The policies that there are, and which of them an event makes us look at again."""

from collections.abc import Collection, Mapping

from sluice.contracts import subjects
from sluice.contracts.ids import NEVER, GroupId, Revision, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject, K8sNetworkPolicy
from sluice.grouping.events import ObjectEvent
from sluice.grouping.selectors import GroupSelector
from sluice.policy.affected import affected
from sluice.policy.translate import Translation, groups_of, translate

_POLICY = Kind.K8S_NETWORK_POLICY


class Policies:
    """The policies, by unit, each with its revision."""

    def __init__(self) -> None:
        self._held: dict[Unit, tuple[K8sNetworkPolicy, Revision]] = {}
        self._gone: dict[Unit, Revision] = {}
        self._floor = NEVER

    def evolve(self, event: ObjectEvent) -> Collection[Unit]:
        """The units to compile again."""
        obj, at = event.object, event.revision
        return self.delete(*event.key, at) if obj is None else self.put(obj, at)

    def put(self, obj: AnyObject, at: Revision) -> Collection[Unit]:
        """The object is this since that revision; the units to compile again."""
        if not isinstance(obj, K8sNetworkPolicy):
            return ()
        unit = subjects.unit(_POLICY, obj.metadata.namespace, obj.metadata.name)
        before = self._held.get(unit)
        if at <= self._known(unit, before):
            return ()
        self._held[unit] = obj, at
        if self._gone:
            self._gone.pop(unit, None)
        return affected(before and before[0], obj)

    def delete(self, kind: Kind, namespace: str, name: str, at: Revision) -> Collection[Unit]:
        """The object does not exist since that revision; the units to compile again."""
        if kind is not _POLICY:
            return ()
        unit = subjects.unit(kind, namespace, name)
        before = self._held.get(unit)
        if at <= self._known(unit, before):
            return ()
        self._held.pop(unit, None)
        self._gone[unit] = at
        return affected(before and before[0], None)

    def settle(self, upto: Revision) -> None:
        """Say that everything up to this revision was told: what comes later and is not newer is no news."""
        self._floor = max(self._floor, upto)
        self._gone = {unit: at for unit, at in self._gone.items() if at > self._floor}

    def translate(self, unit: Unit) -> Translation | None:
        """None: there is no such policy.

        Raises:
            Untranslatable: nobody can say whom it applies to.
        """
        held = self._held.get(unit)
        return translate(*held) if held else None

    def groups_of(self, unit: Unit) -> Mapping[GroupId, GroupSelector]:
        """The groups that the unit's programs name."""
        held = self._held.get(unit)
        return groups_of(held[0]) if held else {}

    def _known(self, unit: Unit, held: tuple[K8sNetworkPolicy, Revision] | None) -> Revision:
        """What is newer than this is news of the unit."""
        at = held[1] if held else self._gone.get(unit, NEVER) if self._gone else NEVER
        return max(self._floor, at)
