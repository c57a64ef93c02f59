"""Which Pods a change of objects may concern: those for which something else is decided, at most.

A decision depends on the programs that apply to the two ends, and on what these programs see of the ends. What they see
is in the objects, not in the groups that policies happen to name: a group has its id from its selector, so the same
program asks the same of the same Pod.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sluice.contracts.groups import NamedPort
from sluice.contracts.ids import Address, GroupId, NodeName
from sluice.contracts.objects import Pod
from sluice.grouping.members import labels_of, named_ports, node_addresses
from sluice.policy.state import ClusterState


def touched(before: ClusterState, after: ClusterState, changed: frozenset[GroupId]) -> Iterator[tuple[str, str]]:
    """The keys of the Pods, those that come or go included.

    Args:
        changed: the groups that programs are addressed to that differ.
    """
    old_nodes, new_nodes = _nodes(before), _nodes(after)
    old_spaces, new_spaces = _spaces(before), _spaces(after)
    for key in before.pods.keys() | after.pods.keys():
        was, now = before.pods.get(key), after.pods.get(key)
        if (
            was is None
            or now is None
            or old_spaces.get(key[0]) != new_spaces.get(key[0])
            or _seen(before, was) != _seen(after, now)
            or (now.spec.host_network and old_nodes != new_nodes)
            or not changed.isdisjoint(_applied(before, was))
            or not changed.isdisjoint(_applied(after, now))
        ):
            yield key


class _Seen(NamedTuple):
    """All that programs see of a Pod, except for its Namespace."""

    on_pod_network: bool
    host_network: bool
    node: NodeName
    labels: Mapping[str, str]
    ports: tuple[NamedPort, ...]
    addresses: tuple[Address, ...]
    """Those that it holds."""


def _seen(state: ClusterState, pod: Pod) -> _Seen:
    held = pod.addresses
    if pod.on_pod_network:
        held = tuple(one for one in held if state.holder(one) is pod)
    return _Seen(
        pod.on_pod_network,
        pod.spec.host_network,
        pod.node,
        labels_of(pod),
        tuple(named_ports(pod.spec.containers)),
        held,
    )


def _applied(state: ClusterState, pod: Pod) -> frozenset[GroupId]:
    """The groups through which policies apply to the Pod; with hostNetwork it counts as its node."""
    if pod.on_pod_network or not pod.spec.host_network:
        return state.groups_of(pod)
    nodes = [node for address in pod.addresses if (node := state.node_at(address)) is not None]
    return frozenset().union(*map(state.groups_of_node, nodes))


def _spaces(state: ClusterState) -> Mapping[str, Mapping[str, str]]:
    return {name: namespace.metadata.labels for name, namespace in state.namespaces.items()}


def _nodes(state: ClusterState) -> Mapping[NodeName, tuple[Mapping[str, str], tuple[Address, ...]]]:
    return {name: (node.metadata.labels, node_addresses(node)) for name, node in state.nodes.items()}
