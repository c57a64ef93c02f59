"""Tiers by themselves; `among` checks them against other tiers.

Source: Antrea, docs "Antrea Network Policy CRDs", section Tier, and pkg/controller/networkpolicy/validate.go.
"""

from collections.abc import Iterator

from sluice.admission.refusal import Refusal
from sluice.contracts.antrea import DEFAULT_TIER, STATIC_TIERS
from sluice.contracts.objects import Tier

PRIORITIES = range(256)
RESERVED = frozenset((251, 252, 254, 255))
"""Kubernetes policies have 251; nothing may come between them and the static tiers around them."""

MAX_TIERS = 20
"""Distinct priorities, including the static ones. Source: Antrea, docs, "Notes and constraints"."""

LOWEST_STATIC = STATIC_TIERS[DEFAULT_TIER]
"""Custom tiers must come before it."""

_PATH = "$.spec.priority"
_STATIC = {priority: name for name, priority in STATIC_TIERS.items()}


def taken_priority(priority: int, holder: str) -> Refusal:
    """The refusal of a priority that another tier has."""
    return Refusal(
        _PATH, f"{priority} overlaps with the tier {holder}: two tiers cannot have the same priority; give another"
    )


def too_many_tiers() -> Refusal:
    """The refusal of a tier beyond the maximum number."""
    reason = f"there are already {MAX_TIERS} tiers, including the static ones, which is the maximum; delete one first"
    return Refusal(_PATH, reason)


def refusals(tier: Tier) -> Iterator[Refusal]:
    name, priority = tier.metadata.name, tier.spec.priority
    static = STATIC_TIERS.get(name)
    if static is not None:
        if priority != static:
            yield Refusal(_PATH, f"the tier {name} always has priority {static}; write that, or remove the object")
    elif (holder := _STATIC.get(priority)) is not None:
        yield taken_priority(priority, holder)
    elif priority not in PRIORITIES:
        yield Refusal(_PATH, f"{priority} is not the priority of a tier; give one of 0 to 255")
    elif priority in RESERVED:
        yield Refusal(_PATH, f"{priority} is reserved; give one below {LOWEST_STATIC}")
    elif priority >= LOWEST_STATIC:
        reason = (
            f"{priority} would come after the static tiers, which custom tiers must precede; give one below "
            f"{LOWEST_STATIC}"
        )
        yield Refusal(_PATH, reason)
