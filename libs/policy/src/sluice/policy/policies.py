"""Determines which policies to retranslate after an event, and answers the lookups of translations.

Only policies that depend on other objects are kept: most are translated once and never again.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, TypeVar

from sluice.contracts import subjects
from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.antrea_groups import GroupSpec
from sluice.contracts.ids import Revision, Unit
from sluice.contracts.kinds import SELF_CONTAINED, Kind
from sluice.contracts.objects import (
    AntreaPolicy,
    AnyGroup,
    AnyObject,
    Namespace,
    Service,
    Tier,
)
from sluice.grouping.events import ObjectEvent
from sluice.policy.affected import Dependents
from sluice.policy.logged import Logged, Relogged
from sluice.policy.translate import SelfContained
from sluice.policy.translate.antrea import Amendment, Draft
from sluice.policy.translate.cluster import Labels, Name

_K8S, _NAMESPACE = Kind.K8S_NETWORK_POLICY, Kind.NAMESPACE
"""Constants for the most frequent kinds: looking up an Enum member takes 0.1 us, and so does comparing it as text."""

K = TypeVar("K")
V = TypeVar("V")


class Affected(NamedTuple):
    """A unit whose meaning may have changed: it now has this policy, or none."""

    unit: Unit
    policy: SelfContained | Draft | Relogged | None
    cause: Revision
    amended: Amendment | None = None
    """Everything in the draft that changed; unset: anything may have."""


class _Kept(NamedTuple):
    policy: AntreaPolicy
    since: Revision
    draft: Draft | None
    """Set if parts of the policy follow Namespaces."""


class Policies:
    """A fold of events that are news: of two events about the same object, the later one comes last."""

    def __init__(self) -> None:
        self._kept: dict[Unit, _Kept] = {}
        self._dependents = Dependents()
        self._logged = Logged()
        self._tiers: dict[str, int] = {}
        self._namespaces: dict[str, Labels] = {}
        self._groups: dict[Name, GroupSpec] = {}
        self._selectors: dict[Name, Labels] = {}
        """Pod selectors of Services."""

    def evolve(self, event: ObjectEvent) -> Iterable[Affected]:
        """The units to translate again."""
        key, obj, at = event.key, event.object, event.revision
        kind = key.kind
        if kind in SELF_CONTAINED:
            unit = subjects.unit(*key)
            if kind is _K8S:
                self._logged.note(key.namespace, unit, exists=obj is not None)
            return (Affected(unit, obj if isinstance(obj, SelfContained) else None, at),)
        if kind is _NAMESPACE:
            known = obj if isinstance(obj, Namespace) else None
            found = self._on_namespace(key.name, known.metadata.labels if known else None, at)
            on = known is not None and known.logs
            relogged = self._logged.say(key.name, on=on)
            return [*found, *(Affected(unit, Relogged(on), at) for unit in relogged)] if relogged else found
        match kind:
            case Kind.CLUSTER_NETWORK_POLICY | Kind.ANTREA_NETWORK_POLICY:
                return (self._drafted(subjects.unit(*key), obj if isinstance(obj, AntreaPolicy) else None, at),)
            case _:
                return self._again(self._looked_up_by(key.kind, (key.namespace, key.name), obj), at)

    def logs(self, namespace: str) -> bool:
        """Whether the Kubernetes policies of the Namespace log their decisions."""
        return namespace in self._logged

    # ---------------------------------------------------------------------------------------- what translations ask

    def tier(self, name: str) -> int | None:
        """The priority of a tier; None if there is no such tier."""
        return STATIC_TIERS.get(name, self._tiers.get(name))

    @property
    def namespaces(self) -> Mapping[str, Labels]:
        """The labels of each Namespace, by name."""
        return self._namespaces

    def group(self, name: Name) -> GroupSpec | None:
        """The spec of a ClusterGroup or a Group; None if there is none."""
        return self._groups.get(name)

    def service_selector(self, name: Name) -> Labels | None:
        """The Pod labels that a Service selects by; None if there is no such Service, or if it has no selector."""
        return self._selectors.get(name)

    # ------------------------------------------------------------------------------------------------------- changes

    def _looked_up_by(self, kind: Kind, name: Name, obj: AnyObject | None) -> Iterable[Unit]:
        """Store the new value of the object; returns the units that look it up, if the value changed."""
        match kind:
            case Kind.TIER:
                priority = obj.spec.priority if isinstance(obj, Tier) else None
                return self._dependents.on_tier(name[1]) if _put(self._tiers, name[1], priority) else ()
            case Kind.CLUSTER_GROUP | Kind.GROUP:
                spec = obj.spec if isinstance(obj, AnyGroup) else None
                return self._dependents.on_group(name) if _put(self._groups, name, spec) else ()
            case Kind.SERVICE:
                labels = obj.spec.selector or None if isinstance(obj, Service) else None
                return self._dependents.on_service(name) if _put(self._selectors, name, labels) else ()
            case _:
                return ()

    def _on_namespace(self, name: str, after: Labels | None, at: Revision) -> Collection[Affected]:
        before = self._namespaces.get(name)
        _put(self._namespaces, name, after)
        if not self._dependents.watch_namespaces:
            return ()
        found: list[Affected] = []
        for unit in list(self._dependents.on_namespace(before, after)):
            draft = self._kept[unit].draft
            found += [Affected(unit, draft, at, draft.on_namespace(name))] if draft else self._again((unit,), at)
        return found

    def _again(self, units: Iterable[Unit], at: Revision) -> list[Affected]:
        return [self._drafted(unit, self._kept[unit].policy, max(self._kept[unit].since, at)) for unit in units]

    def _drafted(self, unit: Unit, policy: AntreaPolicy | None, at: Revision) -> Affected:
        if policy is None:
            self._dependents.note(unit, None)
            self._kept.pop(unit, None)
            return Affected(unit, None, at)
        draft = Draft(policy, self)
        looked_up = draft.looked_up
        self._dependents.note(unit, looked_up)
        if looked_up:
            self._kept[unit] = _Kept(policy, at, draft if draft.is_relative else None)
        else:
            self._kept.pop(unit, None)
        return Affected(unit, draft, at)


def _put(known: dict[K, V], key: K, value: V | None) -> bool:
    """Store the value, or remove the key if it is None; True if that changed anything."""
    before = known.pop(key, None)
    if value is not None:
        known[key] = value
    return before != value
