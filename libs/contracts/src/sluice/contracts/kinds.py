"""The mirrored kinds: their subject tokens, and the Kubernetes APIs they come from."""

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """A kind of object. The value is its name in subjects, because two API groups have a `NetworkPolicy`."""

    NAMESPACE = "namespaces"
    NODE = "nodes"
    POD = "pods"
    TIER = "tiers"
    K8S_NETWORK_POLICY = "k8snetworkpolicies"
    CLUSTER_NETWORK_POLICY = "acnps"
    ANTREA_NETWORK_POLICY = "annps"
    MULTI_NETWORK_POLICY = "multinetworkpolicies"
    NETWORK_ATTACHMENT = "netattachdefs"
    TRAFFIC_CONTROL = "trafficcontrols"
    CLUSTER_GROUP = "clustergroups"
    GROUP = "groups"
    SERVICE = "services"
    ENDPOINT_SLICE = "endpointslices"


class Resource(NamedTuple):
    """How Kubernetes names a kind."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    written: bool
    """Written by people: kept whole, except status and managedFields. Objects of other kinds are trimmed."""

    status: bool = False
    """Its status subresource reports whether it is realised."""


ANTREA = "crd.antrea.io/v1beta1"

RESOURCES: dict[Kind, Resource] = {
    Kind.NAMESPACE: Resource("v1", "Namespace", "namespaces", namespaced=False, written=False),
    Kind.NODE: Resource("v1", "Node", "nodes", namespaced=False, written=False),
    Kind.POD: Resource("v1", "Pod", "pods", namespaced=True, written=False),
    Kind.K8S_NETWORK_POLICY: Resource(
        "networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", namespaced=True, written=True
    ),
    Kind.TIER: Resource(ANTREA, "Tier", "tiers", namespaced=False, written=True),
    Kind.CLUSTER_NETWORK_POLICY: Resource(
        ANTREA, "ClusterNetworkPolicy", "clusternetworkpolicies", namespaced=False, written=True, status=True
    ),
    Kind.ANTREA_NETWORK_POLICY: Resource(
        ANTREA, "NetworkPolicy", "networkpolicies", namespaced=True, written=True, status=True
    ),
    Kind.MULTI_NETWORK_POLICY: Resource(
        "k8s.cni.cncf.io/v1beta1", "MultiNetworkPolicy", "multi-networkpolicies", namespaced=True, written=True
    ),
    Kind.NETWORK_ATTACHMENT: Resource(
        "k8s.cni.cncf.io/v1",
        "NetworkAttachmentDefinition",
        "network-attachment-definitions",
        namespaced=True,
        written=True,
    ),
    Kind.TRAFFIC_CONTROL: Resource(
        "crd.antrea.io/v1alpha2", "TrafficControl", "trafficcontrols", namespaced=False, written=True, status=True
    ),
    Kind.CLUSTER_GROUP: Resource(ANTREA, "ClusterGroup", "clustergroups", namespaced=False, written=True, status=True),
    Kind.GROUP: Resource(ANTREA, "Group", "groups", namespaced=True, written=True, status=True),
    Kind.SERVICE: Resource("v1", "Service", "services", namespaced=True, written=False),
    Kind.ENDPOINT_SLICE: Resource(
        "discovery.k8s.io/v1", "EndpointSlice", "endpointslices", namespaced=True, written=False
    ),
}

BY_API: dict[tuple[str, str], Kind] = {(r.api_version, r.kind): kind for kind, r in RESOURCES.items()}
"""Kinds by (apiVersion, kind)."""

POLICIES = frozenset(
    (
        Kind.K8S_NETWORK_POLICY,
        Kind.CLUSTER_NETWORK_POLICY,
        Kind.ANTREA_NETWORK_POLICY,
        Kind.MULTI_NETWORK_POLICY,
    )
)
"""The kinds of policies: each object is a unit, with programs of its own."""

PROGRAMMED = POLICIES | {Kind.TRAFFIC_CONTROL}
"""The kinds of which each object is translated into programs, and reported as realised or not."""

SELF_CONTAINED = frozenset((Kind.K8S_NETWORK_POLICY, Kind.MULTI_NETWORK_POLICY))
"""Kinds of policies whose translation looks up no other object."""

SERVED = frozenset((Kind.SERVICE, Kind.ENDPOINT_SLICE))
"""The kinds of which each object becomes one program for every node."""

INPUTS = POLICIES | {Kind.NAMESPACE, Kind.TIER, Kind.CLUSTER_GROUP, Kind.GROUP, Kind.SERVICE}
"""The inputs of policy translation: policies, and the kinds that it looks up."""
