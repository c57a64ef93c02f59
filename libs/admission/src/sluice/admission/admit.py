"""Whether an object makes sense. The answer is the same for the webhook, the command line and the manifest folder."""

from collections.abc import Iterator
from typing import assert_never

from sluice.admission import antrea_policy, group, names, network_policy, networks, tier, traffic_control, workload
from sluice.admission.refusal import Caution, Refusal
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import (
    AntreaGroup,
    AntreaNetworkPolicy,
    AnyObject,
    ClusterGroup,
    ClusterNetworkPolicy,
    EndpointSlice,
    K8sNetworkPolicy,
    MultiNetworkPolicy,
    Namespace,
    NetworkAttachmentDefinition,
    Node,
    ObjectMeta,
    Pod,
    Service,
    Tier,
    TrafficControl,
)


def admit(made: AnyObject) -> tuple[Refusal, ...]:
    """Everything wrong with the object by itself; empty if it is admitted. `among` checks it against other objects."""
    return tuple(_refusals(made))


def cautions(made: AnyObject) -> tuple[Caution, ...]:
    """What the author of an admitted object should know."""
    match made:
        case ClusterNetworkPolicy() | AntreaNetworkPolicy():
            return tuple(antrea_policy.cautions(made))
        case ClusterGroup() | AntreaGroup():
            return tuple(group.cautions(made))
        case TrafficControl():
            return tuple(traffic_control.cautions(made))
        case MultiNetworkPolicy():
            return tuple(networks.cautions(made))
        case Pod():
            return tuple(networks.of_pod(made))
        case _:
            return ()


def _refusals(made: AnyObject) -> Iterator[Refusal]:
    match made:
        case Namespace():
            yield from _of_metadata(made.metadata, Kind.NAMESPACE, names.dns_label(made.metadata.name))
        case Node():
            yield from _of_metadata(made.metadata, Kind.NODE, names.dns_subdomain(made.metadata.name))
            yield from workload.of_node(made)
        case Pod():
            yield from _of_metadata(made.metadata, Kind.POD, names.dns_subdomain(made.metadata.name))
            yield from workload.of_pod(made)
        case K8sNetworkPolicy():
            yield from _of_metadata(made.metadata, Kind.K8S_NETWORK_POLICY, names.dns_subdomain(made.metadata.name))
            yield from network_policy.refusals(made)
        case Tier():
            yield from _of_metadata(made.metadata, Kind.TIER, names.dns_subdomain(made.metadata.name))
            yield from tier.refusals(made)
        case ClusterNetworkPolicy():
            name = made.metadata.name
            yield from _of_metadata(made.metadata, Kind.CLUSTER_NETWORK_POLICY, names.dns_subdomain(name))
            yield from antrea_policy.refusals(made)
        case AntreaNetworkPolicy():
            name = made.metadata.name
            yield from _of_metadata(made.metadata, Kind.ANTREA_NETWORK_POLICY, names.dns_subdomain(name))
            yield from antrea_policy.refusals(made)
        case MultiNetworkPolicy():
            yield from _of_metadata(made.metadata, Kind.MULTI_NETWORK_POLICY, names.dns_subdomain(made.metadata.name))
            yield from networks.of_policy(made)
        case NetworkAttachmentDefinition():
            yield from _of_metadata(made.metadata, Kind.NETWORK_ATTACHMENT, names.dns_subdomain(made.metadata.name))
            yield from networks.of_definition(made)
        case TrafficControl():
            yield from _of_metadata(made.metadata, Kind.TRAFFIC_CONTROL, names.dns_subdomain(made.metadata.name))
            yield from traffic_control.refusals(made)
        case ClusterGroup():
            yield from _of_metadata(made.metadata, Kind.CLUSTER_GROUP, names.dns_subdomain(made.metadata.name))
            yield from group.refusals(made)
        case AntreaGroup():
            yield from _of_metadata(made.metadata, Kind.GROUP, names.dns_subdomain(made.metadata.name))
            yield from group.refusals(made)
        case Service():
            yield from _of_metadata(made.metadata, Kind.SERVICE, names.dns_label(made.metadata.name))
        case EndpointSlice():
            yield from _of_metadata(made.metadata, Kind.ENDPOINT_SLICE, names.dns_subdomain(made.metadata.name))
        case _:
            assert_never(made)


def _of_metadata(metadata: ObjectMeta, kind: Kind, bad_name: str | None) -> Iterator[Refusal]:
    if bad_name:
        yield Refusal("$.metadata.name", bad_name)
    if RESOURCES[kind].namespaced:
        if reason := names.dns_label(metadata.namespace):
            yield Refusal("$.metadata.namespace", reason)
    elif metadata.namespace:
        yield Refusal("$.metadata.namespace", f"a {RESOURCES[kind].kind} belongs to no namespace; remove it")
    if reason := names.uid(metadata.uid):
        yield Refusal("$.metadata.uid", reason)
    yield from names.labels(metadata.labels, "$.metadata.labels")
