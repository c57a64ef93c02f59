"""Every kind of policy into the one flat model; the only place where groups and their ids are made."""

from sluice.contracts.ids import Revision
from sluice.contracts.objects import K8sNetworkPolicy
from sluice.policy.translate import k8s
from sluice.policy.translate.translation import Translation, Untranslatable

__all__ = ["Translation", "Untranslatable", "translate"]


def translate(obj: K8sNetworkPolicy, cause: Revision) -> Translation:
    """The programs of a policy, and the groups that they name.

    Raises:
        Untranslatable: nobody can say whom the policy applies to.
    """
    return k8s.translate(obj, cause)
