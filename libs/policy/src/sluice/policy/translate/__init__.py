"""Translates every kind of policy into one flat model. Groups and their ids are created nowhere else."""

from collections.abc import Mapping
from typing import assert_never

from sluice.contracts.ids import NEVER, GroupId, Revision
from sluice.contracts.objects import (
    AntreaNetworkPolicy,
    AnyPolicy,
    ClusterNetworkPolicy,
    K8sNetworkPolicy,
    MultiNetworkPolicy,
)
from sluice.grouping.selectors import GroupSelector
from sluice.policy.translate import antrea, k8s, multi
from sluice.policy.translate.cluster import BARE, Cluster
from sluice.policy.translate.k8s import stays_at_home
from sluice.policy.translate.translation import Translation, Untranslatable

__all__ = [
    "BARE",
    "Cluster",
    "SelfContained",
    "Translation",
    "Untranslatable",
    "groups_of",
    "stays_at_home",
    "translate",
]

SelfContained = K8sNetworkPolicy | MultiNetworkPolicy
"""Policies whose translation looks nothing up. The others have a `Draft`."""


def translate(obj: AnyPolicy, cause: Revision, cluster: Cluster = BARE) -> Translation:
    """The programs of a policy, and the groups that they name.

    Raises:
        Untranslatable: it cannot be determined what the policy applies to, or its place in the order.
    """
    match obj:
        case K8sNetworkPolicy():
            return k8s.translate(obj, cause)
        case MultiNetworkPolicy():
            return multi.translate(obj, cause)
        case ClusterNetworkPolicy() | AntreaNetworkPolicy():
            return antrea.translate(obj, cause, cluster)
        case _:
            assert_never(obj)


def groups_of(obj: SelfContained) -> Mapping[GroupId, GroupSelector]:
    """The groups that the policy's programs name, without the programs; empty if it is untranslatable."""
    match obj:
        case K8sNetworkPolicy():
            return k8s.groups_of(obj)
        case MultiNetworkPolicy():
            try:
                return multi.translate(obj, NEVER).groups
            except Untranslatable:
                return {}
        case _:
            assert_never(obj)
