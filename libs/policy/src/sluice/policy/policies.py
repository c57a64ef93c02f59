"""What an event makes us translate again, and what translations look up.

Of policies only those are kept that depend on something else: most are translated once and never again.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sluice.contracts import subjects
from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.ids import Revision, Unit
from sluice.contracts.kinds import POLICIES, SELF_CONTAINED, Kind
from sluice.contracts.objects import AntreaPolicy, AnyPolicy, Namespace, Tier
from sluice.grouping.events import ObjectEvent
from sluice.policy.affected import Dependents, Labels


class Affected(NamedTuple):
    """A unit to be translated: from this policy, or to nothing if there is none."""

    unit: Unit
    policy: AnyPolicy | None
    cause: Revision


class Policies:
    """A fold of events that are news: of two about one object the later comes last."""

    def __init__(self) -> None:
        self._kept: dict[Unit, tuple[AntreaPolicy, Revision]] = {}
        self._dependents = Dependents()
        self._tiers: dict[str, int] = {}
        self._namespaces: dict[str, Labels] = {}

    def evolve(self, event: ObjectEvent) -> Iterable[Affected]:
        """What is to be translated again."""
        key, obj, at = event.key, event.object, event.revision
        if key.kind in POLICIES:
            unit = subjects.unit(*key)
            if key.kind not in SELF_CONTAINED:
                self._keep(unit, obj if isinstance(obj, AntreaPolicy) else None, at)
            return (Affected(unit, obj if isinstance(obj, AnyPolicy) else None, at),)
        if key.kind is Kind.TIER:
            self._tiers.pop(key.name, None)
            if isinstance(obj, Tier):
                self._tiers[key.name] = obj.spec.priority
            return self._again(self._dependents.on_tier(key.name), at)
        if key.kind is Kind.NAMESPACE:
            before = self._namespaces.pop(key.name, None)
            after = obj.metadata.labels if isinstance(obj, Namespace) else None
            if after is not None:
                self._namespaces[key.name] = after
            return self._again(self._dependents.on_namespace(before, after), at)
        return ()

    def tier(self, name: str) -> int | None:
        """The priority of a tier; None if there is no such tier."""
        return STATIC_TIERS.get(name, self._tiers.get(name))

    @property
    def namespaces(self) -> Mapping[str, Labels]:
        """The labels of each Namespace, by name."""
        return self._namespaces

    def _keep(self, unit: Unit, policy: AntreaPolicy | None, at: Revision) -> None:
        if self._dependents.note(unit, policy) and policy is not None:
            self._kept[unit] = policy, at
        else:
            self._kept.pop(unit, None)

    def _again(self, units: Iterable[Unit], at: Revision) -> list[Affected]:
        found = []
        for unit in units:
            policy, since = self._kept[unit]
            found.append(Affected(unit, policy, max(since, at)))
        return found
