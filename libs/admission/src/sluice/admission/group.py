"""ClusterGroup and Group of crd.antrea.io/v1beta1, each by itself; `among` checks them against other groups.

Source: Antrea, docs "Antrea Network Policy CRDs", sections ClusterGroup and Group.
"""

from collections.abc import Iterator

from sluice.admission import label_selector, names
from sluice.admission.antrea_ends import of_name
from sluice.admission.antrea_rule import is_multicast
from sluice.admission.network_policy import of_block
from sluice.admission.refusal import Caution, Refusal
from sluice.contracts import jsonpath
from sluice.contracts.objects import AnyGroup, ClusterGroup

_WAYS = "podSelector with or without namespaceSelector, ipBlocks, serviceReference or childGroups"


def refusals(group: AnyGroup) -> Iterator[Refusal]:
    spec = group.spec
    for name, selector in (
        ("podSelector", spec.pod_selector),
        ("namespaceSelector", spec.namespace_selector),
        ("nodeSelector", spec.node_selector),
    ):
        if selector is not None:
            yield from label_selector.refusals(selector, f"$.spec.{name}")
    if spec.node_selector is not None and not isinstance(group, ClusterGroup):
        yield Refusal("$.spec.nodeSelector", "Nodes belong to no Namespace; remove it, or create a ClusterGroup")
    if spec.ip_block is not None:
        yield from of_block(spec.ip_block, "$.spec.ipBlock")
    for index, block in enumerate(spec.ip_blocks):
        yield from of_block(block, jsonpath.item("$.spec.ipBlocks", index))
    many = [is_multicast(block) for block in spec.ip_blocks]
    if any(many) and not all(many):
        path = f"{jsonpath.item('$.spec.ipBlocks', many.index(True))}.cidr"
        yield Refusal(
            path, "multicast blocks and other blocks in one group, but rules treat them differently; create two groups"
        )
    if spec.service_reference is not None:
        yield from of_name(spec.service_reference.name, "$.spec.serviceReference.name")
        yield from of_name(spec.service_reference.namespace, "$.spec.serviceReference.namespace")
    for index, child in enumerate(spec.child_groups):
        here = jsonpath.item("$.spec.childGroups", index)
        if bad := names.dns_subdomain(child):
            yield Refusal(here, bad)
        if child == group.metadata.name:
            yield Refusal(here, f'"{child}" is the group itself; name another, or remove it')
    ways = ways_of(group)
    if len(ways) > 1:
        reason = f"{' and '.join(ways)} in one group, but a group has only one of {_WAYS}; create a group for each"
        yield Refusal("$.spec", reason)


def cautions(group: AnyGroup) -> Iterator[Caution]:
    if not ways_of(group):
        yield Caution("$.spec", f"selects nothing; give it {_WAYS}")


def ways_of(group: AnyGroup) -> list[str]:
    """The ways in which the group selects; podSelector and namespaceSelector together count as one."""
    spec = group.spec
    given = (
        ("podSelector", spec.pod_selector is not None or spec.namespace_selector is not None),
        ("nodeSelector", spec.node_selector is not None),
        ("ipBlock", spec.ip_block is not None),
        ("ipBlocks", bool(spec.ip_blocks)),
        ("serviceReference", spec.service_reference is not None),
        ("childGroups", bool(spec.child_groups)),
    )
    return [name for name, is_given in given if is_given]
