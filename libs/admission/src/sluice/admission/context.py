"""The other objects that exist: the interface that the checks use, and a fold that implements it.

It is kept small: of ten thousand policies it only stores the tier of each.
"""

from collections import Counter, defaultdict
from typing import Protocol

from sluice.contracts.antrea import STATIC_TIERS, tier_name
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import (
    TYPES,
    AntreaGroup,
    AntreaNetworkPolicy,
    AnyGroup,
    AnyObject,
    ClusterGroup,
    ClusterNetworkPolicy,
    NetworkAttachmentDefinition,
    Service,
    Tier,
)
from sluice.contracts.subjects import ObjectSubject

KINDS = frozenset(
    (
        Kind.TIER,
        Kind.CLUSTER_NETWORK_POLICY,
        Kind.ANTREA_NETWORK_POLICY,
        Kind.CLUSTER_GROUP,
        Kind.GROUP,
        Kind.SERVICE,
        Kind.NETWORK_ATTACHMENT,
    )
)
"""The kinds that the checks look up."""

_KIND = {struct: kind for kind, struct in TYPES.items()}


def key_of(made: AnyObject) -> ObjectSubject:
    return ObjectSubject(_KIND[type(made)], *made.key)


class Others(Protocol):
    """The other objects that exist. A ClusterGroup's namespace is empty."""

    def priority_of(self, tier: str) -> int | None:
        """The priority of a tier object."""

    def tier_at(self, priority: int) -> str | None:
        """The name of the tier object with this priority."""

    def priorities(self) -> frozenset[int]:
        """The priorities of all tiers, including the static ones."""

    def users_of(self, tier: str) -> int:
        """How many policies name the tier."""

    def group(self, namespace: str, name: str) -> AnyGroup | None:
        """The ClusterGroup, or the Group of the namespace."""

    def parents_of(self, namespace: str, group: str) -> tuple[str, ...]:
        """The groups that have it as a child, whether it exists or not; sorted."""

    def service(self, namespace: str, name: str) -> Service | None: ...

    def has_network(self, namespace: str, name: str) -> bool:
        """Whether there is a NetworkAttachmentDefinition with this name."""


class Known:
    """A fold of the other objects. The last call for an object wins: callers must put events into order."""

    def __init__(self) -> None:
        self._tiers: dict[str, int] = {}
        self._tier_of: dict[ObjectSubject, str] = {}
        self._users: Counter[str] = Counter()
        self._groups: dict[tuple[str, str], AnyGroup] = {}
        self._parents: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._services: dict[tuple[str, str], Service] = {}
        self._networks: set[tuple[str, str]] = set()

    def put(self, made: AnyObject) -> None:
        """The object exists with this value."""
        key = key_of(made)
        self.remove(key)
        match made:
            case Tier():
                self._tiers[key.name] = made.spec.priority
            case ClusterNetworkPolicy() | AntreaNetworkPolicy():
                self._tier_of[key] = tier_name(made.spec.tier)
                self._users[self._tier_of[key]] += 1
            case ClusterGroup() | AntreaGroup():
                self._groups[made.key] = made
                for child in made.spec.child_groups:
                    self._parents[key.namespace, child].add(key.name)
            case Service():
                self._services[made.key] = made
            case NetworkAttachmentDefinition():
                self._networks.add(made.key)
            case _:
                pass

    def remove(self, key: ObjectSubject) -> None:
        """The object does not exist."""
        place = key.namespace, key.name
        match key.kind:
            case Kind.TIER:
                self._tiers.pop(key.name, None)
            case Kind.CLUSTER_NETWORK_POLICY | Kind.ANTREA_NETWORK_POLICY:
                if (tier := self._tier_of.pop(key, None)) is not None:
                    self._users[tier] -= 1
            case Kind.CLUSTER_GROUP | Kind.GROUP:
                gone = self._groups.pop(place, None)
                for child in gone.spec.child_groups if gone is not None else ():
                    parents = self._parents[key.namespace, child]
                    parents.discard(key.name)
                    if not parents:
                        del self._parents[key.namespace, child]
            case Kind.SERVICE:
                self._services.pop(place, None)
            case Kind.NETWORK_ATTACHMENT:
                self._networks.discard(place)
            case _:
                pass

    def priority_of(self, tier: str) -> int | None:
        return self._tiers.get(tier)

    def tier_at(self, priority: int) -> str | None:
        return next((name for name, taken in sorted(self._tiers.items()) if taken == priority), None)

    def priorities(self) -> frozenset[int]:
        return frozenset((*STATIC_TIERS.values(), *self._tiers.values()))

    def users_of(self, tier: str) -> int:
        return self._users[tier]

    def group(self, namespace: str, name: str) -> AnyGroup | None:
        return self._groups.get((namespace, name))

    def parents_of(self, namespace: str, group: str) -> tuple[str, ...]:
        return tuple(sorted(self._parents.get((namespace, group), ())))

    def service(self, namespace: str, name: str) -> Service | None:
        return self._services.get((namespace, name))

    def has_network(self, namespace: str, name: str) -> bool:
        return (namespace, name) in self._networks
