"""Which policies depend on more than themselves: on their tier, or on Namespaces that peers are relative to."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sluice.contracts.antrea import STATIC_TIERS, tier_name
from sluice.contracts.ids import Unit
from sluice.contracts.objects import AntreaPolicy
from sluice.grouping.selectors import EVERYTHING, Selector, matches, normalise
from sluice.policy.translate.antrea import spread_keys

Labels = Mapping[str, str]


class _Relative(NamedTuple):
    """What a policy with peers relative to Namespaces asks of a Namespace."""

    applied_to: tuple[Selector, ...]
    keys: tuple[str, ...]

    def sees(self, labels: Labels | None) -> object:
        """What the programs of the policy can depend on; equal for Namespaces that are the same to it."""
        if labels is None:
            return None
        selected = tuple(matches(selector, labels) for selector in self.applied_to)
        return (selected, tuple(labels.get(key) for key in self.keys)) if any(selected) else None


class Dependents:
    """Policies that are to be translated again when something else changes. May name too many, never too few."""

    def __init__(self) -> None:
        self._of_tier: dict[str, set[Unit]] = {}
        self._tier_of: dict[Unit, str] = {}
        self._relative: dict[Unit, _Relative] = {}

    def note(self, unit: Unit, policy: AntreaPolicy | None) -> bool:
        """The policy is this now, or gone; True if it depends on anything but static tiers."""
        self._relative.pop(unit, None)
        if (before := self._tier_of.pop(unit, None)) is not None:
            self._of_tier[before].discard(unit)
            if not self._of_tier[before]:
                del self._of_tier[before]
        if policy is None:
            return False
        if keys := spread_keys(policy):
            self._relative[unit] = _Relative(_selectors(policy), tuple(sorted(frozenset().union(*keys))))
        tier = tier_name(policy.spec.tier)
        if tier not in STATIC_TIERS:
            self._of_tier.setdefault(tier, set()).add(unit)
            self._tier_of[unit] = tier
        return bool(keys) or tier not in STATIC_TIERS

    def on_tier(self, name: str) -> list[Unit]:
        """Policies that name the tier."""
        return sorted(self._of_tier.get(name, ()))

    def on_namespace(self, before: Labels | None, after: Labels | None) -> Iterator[Unit]:
        """Policies that mean something else when a Namespace of these labels becomes one of those."""
        for unit, one in self._relative.items():
            if one.sees(before) != one.sees(after):
                yield unit


def _selectors(policy: AntreaPolicy) -> tuple[Selector, ...]:
    """What Namespaces the policy applies to, by any of its lists."""
    spec = policy.spec
    lists = (spec.applied_to, *(rule.applied_to for rule in (*spec.ingress, *spec.egress)))
    written = (entry.namespace_selector for entries in lists for entry in entries)
    return tuple(dict.fromkeys(normalise(one) if one else EVERYTHING for one in written))
