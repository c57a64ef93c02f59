"""ClusterGroups and Groups: what a group name selects.

A group that does not exist selects nothing, and neither does a missing child; both may appear later. Groups may have
children, but those may not have any: a group with a grandchild, or with itself as a child, is nested too deep. Such a
group is invalid, and so is one with contradictory contents; what is closed as a result is decided by the rule that
names it (law 7).
"""

from typing import NamedTuple

from sluice.contracts.antrea_groups import GroupSpec
from sluice.contracts.programs import BlockPeer
from sluice.policy.translate.blocks import block
from sluice.policy.translate.cluster import Name, Recorder
from sluice.policy.translate.selecting import Selection, Written, written
from sluice.policy.translate.translation import Refused


class NestedTooDeep(Refused):
    """The group has a child that has children."""


class Meaning(NamedTuple):
    """What a group selects: the union of these."""

    pods: tuple[Selection, ...] = ()
    nodes: tuple[Written, ...] = ()
    blocks: tuple[BlockPeer, ...] = ()


NOBODY = Meaning()


def meaning(name: Name, cluster: Recorder) -> Meaning:
    """What the group selects.

    Raises:
        NestedTooDeep: see there.
        Refused: the group's contents are contradictory or invalid.
    """
    spec = cluster.group(name)
    if spec is None:
        return NOBODY
    if not spec.child_groups:
        return _of_one(spec, name, cluster)
    if spec != GroupSpec(child_groups=spec.child_groups):
        raise Refused(f"{title(name)} has both childGroups and a selector of its own; keep one of the two")
    namespace, found = name[0], NOBODY
    for child in dict.fromkeys(spec.child_groups):
        inner = cluster.group((namespace, child))
        if inner is None:
            continue
        if inner.child_groups:
            raise NestedTooDeep(
                f"{title(name)} has the child {child}, which has childGroups itself, but groups nest only one "
                f"level; name the children of {child} instead"
            )
        other = _of_one(inner, (namespace, child), cluster)
        found = Meaning(found.pods + other.pods, found.nodes + other.nodes, found.blocks + other.blocks)
    return found


def title(name: Name) -> str:
    return f"the Group {name[0]}/{name[1]}" if name[0] else f"the ClusterGroup {name[1]}"


def _of_one(spec: GroupSpec, name: Name, cluster: Recorder) -> Meaning:
    """The meaning of a group without children."""
    by_pods = spec.pod_selector is not None or spec.namespace_selector is not None
    by_blocks = spec.ip_block is not None or bool(spec.ip_blocks)
    ways = (by_pods, by_blocks, spec.node_selector is not None, spec.service_reference is not None)
    if sum(ways) > 1 or (spec.ip_block is not None and spec.ip_blocks):
        raise Refused(
            f"{title(name)} selects in several ways at once; keep one of them, and create other groups for the rest"
        )
    namespace = name[0]
    if by_pods:
        own = "" if spec.namespace_selector is not None else namespace
        return Meaning(pods=(Selection.of(spec.namespace_selector, spec.pod_selector, own),))
    if spec.node_selector is not None:
        if namespace:
            raise Refused(f"{title(name)} selects Nodes, which are in no Namespace; make a ClusterGroup")
        return Meaning(nodes=(written(spec.node_selector),))
    if spec.service_reference is not None:
        service = spec.service_reference
        labels = cluster.service_selector((service.namespace, service.name))
        return Meaning(pods=(Selection.of_labels(labels, service.namespace),)) if labels else NOBODY
    given = spec.ip_blocks or ((spec.ip_block,) if spec.ip_block else ())
    return Meaning(blocks=tuple(block(one.cidr, one.except_) for one in given))
