"""What a translation looks up besides the policy: tiers, Namespaces, groups, Services. It records them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from msgspec import Struct

from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.antrea_groups import GroupSpec
from sluice.grouping.selectors import Selector, matches

Labels = Mapping[str, str]

Name = tuple[str, str]
"""Namespace and name; the namespace of a ClusterGroup is empty."""


class Cluster(Protocol):
    def tier(self, name: str) -> int | None:
        """The priority of a tier; None if there is no such tier."""

    @property
    def namespaces(self) -> Mapping[str, Labels]:
        """The labels of each Namespace, by name."""

    def group(self, name: Name) -> GroupSpec | None:
        """What a ClusterGroup, or a Group of a Namespace, is; None if there is none."""

    def service_selector(self, name: Name) -> Labels | None:
        """The labels of the Pods of a Service; none if there is no such Service, or if it selects nobody."""


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
    """What a translation depends on of Namespaces: which of these selectors match one, and these labels of it."""

    selectors: tuple[Selector, ...]
    keys: tuple[str, ...]

    def sees(self, labels: Labels | None) -> object:
        """All that it depends on of a Namespace of these labels; equal for those that are the same to it."""
        if labels is None:
            return None
        selected = tuple(matches(selector, labels) for selector in self.selectors)
        return (selected, tuple(labels.get(key) for key in self.keys)) if any(selected) else None


class LookedUp(Struct, frozen=True):
    """All that a translation depends on, but for the policy itself. What is not there is looked up all the same."""

    tiers: frozenset[str] = frozenset()
    """Static ones, which never change, aside."""

    groups: frozenset[Name] = frozenset()
    services: frozenset[Name] = frozenset()
    namespaces: Watch | None = None

    def __bool__(self) -> bool:
        return bool(self.tiers or self.groups or self.services or self.namespaces)


class Recorder:
    """The cluster, and what was asked of it."""

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
        """The Namespaces, of which those count that one of the selectors matches, and these labels of them."""
        self._selectors.update(dict.fromkeys(selectors))
        self._keys.update(keys)
        return self._cluster.namespaces

    def labels(self, namespace: str) -> Labels | None:
        """Of a Namespace that is watched; None if there is none."""
        return self._cluster.namespaces.get(namespace)
