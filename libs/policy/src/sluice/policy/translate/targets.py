"""What rules apply to: Pods, Nodes, or traffic to NodePorts of Services."""

from collections.abc import Iterable
from typing import NamedTuple

from sluice.contracts.antrea import AppliedTo
from sluice.contracts.programs import ServiceRef
from sluice.policy.translate.cluster import Recorder
from sluice.policy.translate.named import Meaning, meaning, title
from sluice.policy.translate.selecting import Selection, Written, written
from sluice.policy.translate.translation import Refused, Untranslatable

UNSUPPORTED_GROUP = "NetworkPolicyAppliedToUnsupportedGroup"
"""The reason of the condition Realizable=False. Source: docs "Antrea Network Policy CRDs", "Group"."""


class Target(NamedTuple):
    """The union of these. Empty if the groups contain nothing that a rule can apply to."""

    pods: tuple[Selection, ...] = ()
    nodes: tuple[Written, ...] = ()
    services: tuple[ServiceRef, ...] = ()


def target(entries: Iterable[AppliedTo], path: str, where: str, namespace: str, cluster: Recorder) -> Target:
    """Resolve an appliedTo list of a policy in this Namespace; an empty Namespace means a ClusterNetworkPolicy.

    Raises:
        Untranslatable: an entry is empty, names several things, or names something that a policy cannot apply to.
    """
    pods: list[Selection] = []
    nodes: list[Written] = []
    services: list[ServiceRef] = []
    for index, entry in enumerate(entries):
        try:
            one = _of_entry(entry, namespace, cluster)
        except Untranslatable as unsupported:
            raise Untranslatable(f"{where} {path}[{index}]: {unsupported}", unsupported.code) from unsupported
        except Refused as refused:
            raise Untranslatable(f"{where} {path}[{index}]: {refused}") from refused
        pods += one.pods
        nodes += one.nodes
        services += one.services
    return Target(tuple(dict.fromkeys(pods)), tuple(dict.fromkeys(nodes)), tuple(sorted(set(services))))


def _of_entry(entry: AppliedTo, namespace: str, cluster: Recorder) -> Target:
    by_pods = entry.pod_selector is not None or entry.namespace_selector is not None
    account, service = entry.service_account, entry.service
    ways = (by_pods, bool(entry.group), account is not None, service is not None, entry.node_selector is not None)
    if sum(ways) != 1:
        raise Refused(
            "selects in several ways at once; write an entry for each"
            if any(ways)
            else "selects nothing; give it a selector, or remove it"
        )
    if entry.group:
        return _of_group((namespace, entry.group), cluster)
    if by_pods:
        return Target(
            pods=(Selection.of(None if namespace else entry.namespace_selector, entry.pod_selector, namespace),)
        )
    if namespace:
        raise Refused("a NetworkPolicy applies to Pods of its own Namespace, by podSelector or group; use one of them")
    if account is not None:
        return Target(pods=(Selection.of_account(account.name, account.namespace),))
    if service is not None:
        return Target(services=(ServiceRef(namespace=service.namespace, name=service.name),))
    assert entry.node_selector is not None
    return Target(nodes=(written(entry.node_selector),))


def _of_group(name: tuple[str, str], cluster: Recorder) -> Target:
    """The Pods and Nodes of the group. Its IP blocks are left out: a policy cannot apply to them."""
    means = meaning(name, cluster)
    if not name[0]:
        return Target(pods=means.pods, nodes=means.nodes)
    return Target(pods=tuple(_at_home(means, name, cluster)))


def _at_home(means: Meaning, name: tuple[str, str], cluster: Recorder) -> Iterable[Selection]:
    """The Pods of a Group, if all of them are in its own Namespace."""
    own = name[0]
    for one in means.pods:
        if one.namespace == own:
            yield one
            continue
        namespaces = cluster.watch((one.namespace_selector(),))
        elsewhere = [each for each in sorted(namespaces) if each != own and one.takes(each, namespaces[each])]
        if one.namespace or elsewhere:
            raise Untranslatable(
                f"{title(name)} selects Pods of Namespace {one.namespace or elsewhere[0]} too, but a "
                "NetworkPolicy applies only to Pods of its own Namespace, so the policy has no effect; "
                "correct the Group, or use a ClusterNetworkPolicy",
                UNSUPPORTED_GROUP,
            )
        yield one._replace(namespace=own)
