"""Every kind of policy into the one flat model; the only place where groups and their ids are made."""

from collections.abc import Mapping

from sluice.contracts.ids import GroupId, Revision
from sluice.contracts.objects import K8sNetworkPolicy
from sluice.grouping.selectors import GroupSelector
from sluice.policy.translate import k8s
from sluice.policy.translate.translation import Translation, Untranslatable

__all__ = ["Translation", "Untranslatable", "groups_of", "translate"]


def translate(obj: K8sNetworkPolicy, cause: Revision) -> Translation:
    """The programs of a policy, and the groups that they name.

    Raises:
        Untranslatable: nobody can say whom the policy applies to.
    """
    return k8s.translate(obj, cause)


def groups_of(obj: K8sNetworkPolicy) -> Mapping[GroupId, GroupSelector]:
    """The groups that the policy's programs name, without the programs; none if it is untranslatable."""
    return k8s.groups_of(obj)
