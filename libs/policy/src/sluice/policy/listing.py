"""Policies in the order of enforcement, as `sluice get netpol` shows them. The SOURCE column tells the kinds apart.

Source: docs "Antrea Network Policy CRDs", "Rule enforcement based on priorities".
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct

from sluice.contracts.antrea import STATIC_TIERS, tier_name
from sluice.contracts.ids import GroupId
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AntreaPolicy, AnyPolicy, Tier
from sluice.contracts.programs import K8S_TIER
from sluice.contracts.subjects import unit
from sluice.grouping.events import key_of
from sluice.policy.state import ClusterState
from sluice.policy.translate.k8s import directions

SOURCES: Mapping[Kind, str] = {
    Kind.K8S_NETWORK_POLICY: "K8sNetworkPolicy",
    Kind.CLUSTER_NETWORK_POLICY: "AntreaClusterNetworkPolicy",
    Kind.ANTREA_NETWORK_POLICY: "AntreaNetworkPolicy",
    Kind.MULTI_NETWORK_POLICY: "MultiNetworkPolicy",
}


class Row(Struct, frozen=True, kw_only=True):
    name: str
    """The uid; the object's name if it has no uid."""

    applied_to: tuple[GroupId, ...]
    """Sorted; empty if the policy applies to nothing."""

    rules: int
    """Includes one for each direction that a Kubernetes policy isolates without having rules."""

    source: str
    """Kind and name, as in logs."""

    tier_priority: int | None
    """Unset for policies without a tier, and if the tier does not exist."""

    priority: float | None


class Place(NamedTuple):
    """The place of a policy in the order: the lesser is enforced first.

    Kubernetes policies come between the tiers and the baseline; policies whose tier does not exist come last.
    """

    tier: int
    priority: float
    source: str


def rows(state: ClusterState, policies: Iterable[AnyPolicy], tiers: Iterable[Tier]) -> list[Row]:
    """One row per policy, in the order in which they are enforced."""
    priorities = tier_priorities(tiers)
    found = [_row(policy, priorities, state.compiler.addressed(unit(*key_of(policy)))) for policy in policies]
    return sorted(found, key=_place)


def tier_priorities(tiers: Iterable[Tier]) -> Mapping[str, int]:
    """The priority of each tier, by name."""
    return {tier.metadata.name: tier.spec.priority for tier in tiers} | STATIC_TIERS


def source(kind: Kind, namespace: str, name: str) -> str:
    """Kind and name, as in logs."""
    return f"{SOURCES[kind]}:{namespace}/{name}" if namespace else f"{SOURCES[kind]}:{name}"


def place(of: str, tier_priority: int | None, priority: float | None) -> Place:
    """The place of a policy. Without `priority` it is a Kubernetes one; without `tier_priority` its tier is missing."""
    if priority is None:
        return Place(K8S_TIER, 0.0, of)
    return Place(256 if tier_priority is None else tier_priority, priority, of)


def _row(policy: AnyPolicy, tiers: Mapping[str, int], applied: tuple[GroupId, ...]) -> Row:
    spec = policy.spec
    rules = len(spec.ingress) + len(spec.egress)
    tier = priority = None
    if isinstance(policy, AntreaPolicy):
        tier, priority = tiers.get(tier_name(policy.spec.tier)), policy.spec.priority
    else:
        rules = sum(len(getattr(policy.spec, direction)) or 1 for direction in directions(policy))
    return Row(
        name=policy.metadata.uid or policy.metadata.name,
        applied_to=applied,
        rules=rules,
        source=source(*key_of(policy)),
        tier_priority=tier,
        priority=priority,
    )


def _place(row: Row) -> Place:
    return place(row.source, row.tier_priority, row.priority)
