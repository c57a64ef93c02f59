"""What a translation looks up besides the policy: tiers, Namespaces, groups, Services. Lookups are recorded."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from msgspec import Struct

from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.antrea_groups import GroupSpec
from sluice.grouping.selectors import Selector, matches

Labels = Mapping[str, str]

Name = tuple[str, str]
"""Namespace and name; for a ClusterGroup the namespace is empty."""


class Cluster(Protocol):
    def tier(self, name: str) -> int | None:
        """The priority of a tier; None if there is no such tier."""

    @property
    def namespaces(self) -> Mapping[str, Labels]:
        """The labels of each Namespace, by name."""

    def group(self, name: Name) -> GroupSpec | None:
        """The spec of a ClusterGroup or a Group; None if there is none."""

    def service_selector(self, name: Name) -> Labels | None:
        """The Pod labels that a Service selects by; None if there is no such Service, or if it has no selector."""


class Bare:
    """Static tiers, and nothing else."""

    namespaces: Mapping[str, Labels] = {}

    def tier(self, name: str) -> int | None:
        return STATIC_TIERS.get(name)

    def group(self, name: Name) -> GroupSpec | None:
        return None

    def service_selector(self, name: Name) -> Labels | None:
        return None


BARE = Bare()


class Watch(NamedTuple):
    """How a translation depends on Namespaces: on which of these selectors match, and on the values of these labels."""

    selectors: tuple[Selector, ...]
    keys: tuple[str, ...]

    def sees(self, labels: Labels | None) -> object:
        """All that the translation sees of a Namespace with these labels. Equal values mean the same to it."""
        if labels is None:
            return None
        selected = tuple(matches(selector, labels) for selector in self.selectors)
        return (selected, tuple(labels.get(key) for key in self.keys)) if any(selected) else None


class LookedUp(Struct, frozen=True):
    """All that a translation depends on besides the policy itself, including lookups that found nothing."""

    tiers: frozenset[str] = frozenset()
    """Without the static ones, which never change."""

    groups: frozenset[Name] = frozenset()
    services: frozenset[Name] = frozenset()
    namespaces: Watch | None = None

    def __bool__(self) -> bool:
        return bool(self.tiers or self.groups or self.services or self.namespaces)


class Recorder:
    """A cluster that records what is looked up in it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tiers: set[str] = set()
        self._groups: set[Name] = set()
        self._services: set[Name] = set()
        self._selectors: dict[Selector, None] = {}
        self._keys: set[str] = set()

    @property
    def looked_up(self) -> LookedUp:
        watch = Watch(tuple(self._selectors), tuple(sorted(self._keys))) if self._selectors else None
        return LookedUp(frozenset(self._tiers), frozenset(self._groups), frozenset(self._services), watch)

    def tier(self, name: str) -> int | None:
        if name not in STATIC_TIERS:
            self._tiers.add(name)
        return self._cluster.tier(name)

    def group(self, name: Name) -> GroupSpec | None:
        self._groups.add(name)
        return self._cluster.group(name)

    def service_selector(self, name: Name) -> Labels | None:
        self._services.add(name)
        return self._cluster.service_selector(name)

    def watch(self, selectors: Iterable[Selector], keys: Iterable[str] = ()) -> Mapping[str, Labels]:
        """The Namespaces; notes a dependency on those that match one of the selectors, and on these labels of them."""
        self._selectors.update(dict.fromkeys(selectors))
        self._keys.update(keys)
        return self._cluster.namespaces

    def labels(self, namespace: str) -> Labels | None:
        """The labels of a watched Namespace; None if there is none."""
        return self._cluster.namespaces.get(namespace)
