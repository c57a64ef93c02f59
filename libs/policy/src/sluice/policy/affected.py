"""Which policies depend on other objects, according to what their translations looked up."""

from collections.abc import Hashable, Iterable, Iterator
from typing import TypeVar

from sluice.contracts.ids import Unit
from sluice.policy.translate.cluster import Labels, LookedUp, Name, Watch

K = TypeVar("K", bound=Hashable)


class Dependents:
    """Policies to translate again when something else changes. May return too many, never too few."""

    def __init__(self) -> None:
        self._of_tier: dict[str, set[Unit]] = {}
        self._of_group: dict[Name, set[Unit]] = {}
        self._of_service: dict[Name, set[Unit]] = {}
        self._watching: dict[Unit, Watch] = {}
        self._known: dict[Unit, LookedUp] = {}

    def note(self, unit: Unit, looked_up: LookedUp | None) -> None:
        """Note what the unit's translation looked up; None: the unit does not exist."""
        before = self._known.pop(unit, None)
        if before is not None:
            _take_out(self._of_tier, before.tiers, unit)
            _take_out(self._of_group, before.groups, unit)
            _take_out(self._of_service, before.services, unit)
            self._watching.pop(unit, None)
        if looked_up:
            self._known[unit] = looked_up
            _put_in(self._of_tier, looked_up.tiers, unit)
            _put_in(self._of_group, looked_up.groups, unit)
            _put_in(self._of_service, looked_up.services, unit)
            if looked_up.namespaces is not None:
                self._watching[unit] = looked_up.namespaces

    @property
    def watch_namespaces(self) -> bool:
        """Whether any policy depends on Namespaces."""
        return bool(self._watching)

    def on_tier(self, name: str) -> list[Unit]:
        """Policies that name the tier."""
        return sorted(self._of_tier.get(name, ()))

    def on_group(self, name: Name) -> list[Unit]:
        """Policies that name the group, or a parent of it."""
        return sorted(self._of_group.get(name, ()))

    def on_service(self, name: Name) -> list[Unit]:
        """Policies that name a group of the Service's Pods."""
        return sorted(self._of_service.get(name, ()))

    def on_namespace(self, before: Labels | None, after: Labels | None) -> Iterator[Unit]:
        """Policies whose meaning changes when a Namespace's labels change from `before` to `after`."""
        for unit, watch in self._watching.items():
            if watch.sees(before) != watch.sees(after):
                yield unit


def _put_in(index: dict[K, set[Unit]], keys: Iterable[K], unit: Unit) -> None:
    for key in keys:
        index.setdefault(key, set()).add(unit)


def _take_out(index: dict[K, set[Unit]], keys: Iterable[K], unit: Unit) -> None:
    for key in keys:
        index[key].discard(unit)
        if not index[key]:
            del index[key]
