"""Policies in the order of enforcement, as `sluice get netpol` shows them. The SOURCE column tells the kinds apart.

Source: docs "Antrea Network Policy CRDs", "Rule enforcement based on priorities".
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from sluice.contracts.antrea import STATIC_TIERS, tier_name
from sluice.contracts.ids import GroupId, Unit
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
    """The uid, or the object's own name where nobody gave it one."""

    applied_to: tuple[GroupId, ...]
    """Sorted; none if the policy is about nobody."""

    rules: int
    """With one for each direction that a Kubernetes policy closes without a rule."""

    source: str
    """Kind and name, as logs have them."""

    tier_priority: int | None
    """Unset for policies that have no tier, and where the tier does not exist."""

    priority: float | None


def rows(state: ClusterState, policies: Iterable[AnyPolicy], tiers: Iterable[Tier]) -> list[Row]:
    """A row for each policy, in the order in which they are enforced."""
    priorities = {tier.metadata.name: tier.spec.priority for tier in tiers} | STATIC_TIERS
    applied: dict[Unit, list[GroupId]] = {}
    for group, one in state.compiler.programs:
        applied.setdefault(one, []).append(group)
    found = [_row(policy, priorities, sorted(applied.get(unit(*key_of(policy)), ()))) for policy in policies]
    return sorted(found, key=_place)


def _row(policy: AnyPolicy, tiers: Mapping[str, int], applied: list[GroupId]) -> Row:
    kind, namespace, name = key_of(policy)
    spec = policy.spec
    rules = len(spec.ingress) + len(spec.egress)
    tier = priority = None
    if isinstance(policy, AntreaPolicy):
        tier, priority = tiers.get(tier_name(policy.spec.tier)), policy.spec.priority
    else:
        rules = sum(len(getattr(policy.spec, direction)) or 1 for direction in directions(policy))
    return Row(
        name=policy.metadata.uid or name,
        applied_to=tuple(applied),
        rules=rules,
        source=f"{SOURCES[kind]}:{namespace}/{name}" if namespace else f"{SOURCES[kind]}:{name}",
        tier_priority=tier,
        priority=priority,
    )


def _place(row: Row) -> tuple[int, float, str]:
    """Kubernetes policies stand between the tiers and the baseline; what has no place in the order stands last."""
    if row.priority is None:
        return K8S_TIER, 0, row.source
    return 256 if row.tier_priority is None else row.tier_priority, row.priority, row.source
