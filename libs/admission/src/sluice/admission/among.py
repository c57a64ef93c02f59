"""What is wrong with an object given the others: tiers that are missing, taken or needed.

Pure: the answer for the webhook (what exists, and what comes), for the command line and for a set of manifests alike.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from sluice.admission.admit import admit
from sluice.admission.refusal import Refusal
from sluice.admission.tier import taken_priority
from sluice.contracts.antrea import STATIC_TIERS, tier_name
from sluice.contracts.objects import AntreaNetworkPolicy, AnyObject, ClusterNetworkPolicy, Tier


class Others(Protocol):
    """What exists beside the object in question."""

    def priority_of(self, tier: str) -> int | None:
        """Of a tier object by name."""

    def tier_at(self, priority: int) -> str | None:
        """The name of the tier object that has the priority."""

    def users_of(self, tier: str) -> int:
        """How many policies name the tier."""


def needs(made: AnyObject) -> str | None:
    """The tier that must exist for the object to mean anything; None for static ones, which always do."""
    if not isinstance(made, ClusterNetworkPolicy | AntreaNetworkPolicy):
        return None
    name = tier_name(made.spec.tier)
    return None if name in STATIC_TIERS else name


def missing_tier(name: str) -> Refusal:
    """The tier that a policy names does not exist."""
    return Refusal("$.spec.tier", f"there is no tier {name}, so nobody knows what goes first; make it, or name another")


def admit_among(made: AnyObject, others: Others) -> tuple[Refusal, ...]:
    """What is wrong with the object as one that comes, or replaces the one of its name; `admit` says the rest."""
    return tuple(_refusals(made, others))


def admit_removal(made: AnyObject, others: Others) -> str | None:
    """Why the object must stay, or None."""
    if not isinstance(made, Tier):
        return None
    name = made.metadata.name
    if name in STATIC_TIERS:
        return f"the tier {name} is reserved and always exists; leave it"
    if users := others.users_of(name):
        return f"the tier {name} is named by {users} {'policy' if users == 1 else 'policies'}; remove them first"
    return None


def admit_all(objects: Iterable[AnyObject]) -> list[tuple[Refusal, ...]]:
    """All that is wrong with each of a set of objects, by itself and among the others.

    Of two tiers with one priority the first has it. A tier that is refused does not exist.
    """
    given = list(objects)
    wrong = [admit(made) for made in given]
    others = Known({})
    for index, made in enumerate(given):
        if isinstance(made, Tier) and not wrong[index]:
            wrong[index] += admit_among(made, others)
            if not wrong[index]:
                others.take(made)
    return [
        refused if isinstance(made, Tier) else refused + admit_among(made, others)
        for made, refused in zip(given, wrong, strict=True)
    ]


class Known:
    """The others as they are told; of tiers alone, and how many policies name each."""

    def __init__(self, users: Mapping[str, int]) -> None:
        self._users = users
        self._tiers: dict[str, int] = {}

    def take(self, tier: Tier) -> None:
        self._tiers[tier.metadata.name] = tier.spec.priority

    def priority_of(self, tier: str) -> int | None:
        return self._tiers.get(tier)

    def tier_at(self, priority: int) -> str | None:
        return next((name for name, taken in sorted(self._tiers.items()) if taken == priority), None)

    def users_of(self, tier: str) -> int:
        return self._users.get(tier, 0)


def _refusals(made: AnyObject, others: Others) -> Iterator[Refusal]:
    if isinstance(made, Tier):
        name, priority = made.metadata.name, made.spec.priority
        if name in STATIC_TIERS:
            return
        before = others.priority_of(name)
        if before is not None and before != priority:
            reason = f"the tier has priority {before}, and that does not change; make another tier"
            yield Refusal("$.spec.priority", reason)
        holder = others.tier_at(priority)
        if holder is not None and holder != name:
            yield taken_priority(priority, holder)
    elif (tier := needs(made)) is not None and others.priority_of(tier) is None:
        yield missing_tier(tier)
