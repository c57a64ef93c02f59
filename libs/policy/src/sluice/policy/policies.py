"""The policies that there are, and which of them an event makes us look at again."""

from sluice.contracts import subjects
from sluice.contracts.ids import Revision, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import K8sNetworkPolicy
from sluice.grouping.events import Newest, ObjectEvent
from sluice.policy.affected import affected
from sluice.policy.translate import Translation, translate

POLICIES = frozenset({Kind.K8S_NETWORK_POLICY})
"""The kinds that programs are made of."""


class Policies:
    """The policies, by unit, each with its revision."""

    def __init__(self) -> None:
        self._newest = Newest()
        self._held: dict[Unit, tuple[K8sNetworkPolicy, Revision]] = {}

    def evolve(self, event: ObjectEvent) -> frozenset[Unit]:
        """The units to compile again."""
        key = event.key
        if key.kind not in POLICIES or not self._newest.is_news(key, event.revision):
            return frozenset()
        unit = subjects.unit(*key)
        before = self._held.pop(unit, None)
        after = event.object if isinstance(event.object, K8sNetworkPolicy) else None
        if after is not None:
            self._held[unit] = after, event.revision
        return affected(before[0] if before else None, after)

    def translate(self, unit: Unit) -> Translation | None:
        """None: there is no such policy.

        Raises:
            Untranslatable: nobody can say whom it applies to.
        """
        held = self._held.get(unit)
        return translate(*held) if held else None

    def settle(self, upto: Revision) -> None:
        self._newest.settle(upto)
