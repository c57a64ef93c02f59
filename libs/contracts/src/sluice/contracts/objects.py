"""Kubernetes objects as they travel on LEDGER and OBJECTS.

The wire form is the object's own Kubernetes JSON, so subscribers need no second vocabulary. These structs name the
fields that Sluice reads. Unknown fields are skipped, but not within what people write: there they are a decoding error
(`known_part` reads the rest of a policy of Kubernetes). What people write travels whole, except status and
managedFields; Pods, Nodes, Namespaces, Services and EndpointSlices are trimmed to the fields of these structs. An empty
body is a tombstone.
"""

from typing import Literal

from msgspec import Struct, field

from sluice.contracts.antrea import AntreaNetworkPolicy, ClusterNetworkPolicy, Tier
from sluice.contracts.antrea_groups import AntreaGroup, ClusterGroup
from sluice.contracts.ids import Address, NodeName, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.networks import NetworkAttachmentDefinition
from sluice.contracts.pieces import (
    IPBlock,
    Kube,
    LabelRequirement,
    LabelSelector,
    NamespacedName,
    Object,
    ObjectMeta,
    Operator,
    Part,
    Protocol,
)
from sluice.contracts.services import EndpointSlice, Service
from sluice.contracts.traffic_control import TrafficControl

__all__ = [
    "ENABLE_LOGGING",
    "TRANSPORT_ADDRESS",
    "TYPES",
    "AntreaGroup",
    "AntreaNetworkPolicy",
    "AntreaPolicy",
    "AnyGroup",
    "AnyObject",
    "AnyPolicy",
    "ClusterGroup",
    "ClusterNetworkPolicy",
    "Container",
    "ContainerPort",
    "EndpointSlice",
    "IPBlock",
    "K8sNetworkPolicy",
    "K8sNetworkPolicySpec",
    "Kube",
    "LabelRequirement",
    "LabelSelector",
    "Listed",
    "MultiNetworkPolicy",
    "Namespace",
    "NamespacedName",
    "NetworkAttachmentDefinition",
    "NetworkPolicyEgressRule",
    "NetworkPolicyIngressRule",
    "NetworkPolicyPeer",
    "NetworkPolicyPort",
    "Node",
    "NodeAddress",
    "NodeSpec",
    "NodeStatus",
    "Object",
    "ObjectMeta",
    "Operator",
    "PartlyKnownSpec",
    "Pod",
    "PodIP",
    "PodSpec",
    "PodStatus",
    "PolicyType",
    "Protocol",
    "Service",
    "Tier",
    "TrafficControl",
    "UnknownPeer",
    "UnknownPort",
]

PolicyType = Literal["Ingress", "Egress"]

TRANSPORT_ADDRESS = "sluice.dev/transport-address"
"""Annotation of a Node: the address of its tunnel endpoint, if that is not its InternalIP."""


ENABLE_LOGGING = "networkpolicy.antrea.io/enable-logging"
"""Annotation of a Namespace: its Kubernetes NetworkPolicies log their decisions."""

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
"""Spellings of true. Source: Go, strconv.ParseBool."""


class Namespace(Object, frozen=True, kw_only=True):
    @property
    def logs(self) -> bool:
        """Whether its Kubernetes NetworkPolicies log. An annotation that is not a boolean is ignored."""
        return self.metadata.annotations.get(ENABLE_LOGGING, "") in _TRUE


class NodeAddress(Kube, frozen=True, kw_only=True):
    type: str
    address: str


class NodeSpec(Kube, frozen=True, kw_only=True):
    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = field(default=(), name="podCIDRs")


class NodeStatus(Kube, frozen=True, kw_only=True):
    addresses: tuple[NodeAddress, ...] = ()


class Node(Object, frozen=True, kw_only=True):
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ContainerPort(Kube, frozen=True, kw_only=True):
    container_port: int
    name: str = ""
    protocol: Protocol = "TCP"


class Container(Kube, frozen=True, kw_only=True):
    name: str = ""
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(Kube, frozen=True, kw_only=True):
    node_name: NodeName = NodeName("")
    """Empty until the Pod is scheduled."""

    host_network: bool = False
    service_account_name: str = ""
    """Empty means `default`."""

    containers: tuple[Container, ...] = ()


class PodIP(Kube, frozen=True, kw_only=True):
    ip: Address


class PodStatus(Kube, frozen=True, kw_only=True):
    phase: str = ""
    pod_ip: Address = field(default=Address(""), name="podIP")
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")


class Pod(Object, frozen=True, kw_only=True):
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def uid(self) -> Uid:
        return Uid(self.metadata.uid)

    @property
    def node(self) -> NodeName:
        return self.spec.node_name

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The podIPs without duplicates, or podIP if only that is set; `sluice.kube` has made them canonical."""
        entries = self.status.pod_ips
        if len(entries) == 1:
            return (entries[0].ip,)
        listed = tuple(dict.fromkeys([entry.ip for entry in entries]))
        return listed or ((self.status.pod_ip,) if self.status.pod_ip else ())

    @property
    def on_pod_network(self) -> bool:
        """Whether policies can select it: it is scheduled, has not ended, and does not use the host network."""
        spec = self.spec
        return bool(spec.node_name) and not spec.host_network and self.status.phase not in ("Succeeded", "Failed")


class NetworkPolicyPeer(Part, frozen=True, kw_only=True):
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IPBlock | None = None


class NetworkPolicyPort(Part, frozen=True, kw_only=True):
    protocol: Protocol = "TCP"
    port: int | str | None = None
    """Number or name; unset means all ports of the protocol."""

    end_port: int | None = None


class NetworkPolicyIngressRule(Part, frozen=True, kw_only=True):
    ports: tuple[NetworkPolicyPort, ...] = ()
    from_: tuple[NetworkPolicyPeer, ...] = field(default=(), name="from")
    """Empty means all peers."""


class NetworkPolicyEgressRule(Part, frozen=True, kw_only=True):
    ports: tuple[NetworkPolicyPort, ...] = ()
    to: tuple[NetworkPolicyPeer, ...] = ()
    """Empty means all peers."""


class K8sNetworkPolicySpec(Part, frozen=True, kw_only=True):
    pod_selector: LabelSelector = LabelSelector()
    policy_types: tuple[PolicyType, ...] | None = None
    """Unset means Ingress, and Egress too if there is an egress rule."""

    ingress: tuple[NetworkPolicyIngressRule, ...] = ()
    egress: tuple[NetworkPolicyEgressRule, ...] = ()


class UnknownPeer(NetworkPolicyPeer, frozen=True, kw_only=True):
    """A peer that this version does not wholly know; it matches nobody. Never on the wire, see `known_part`."""


class UnknownPort(NetworkPolicyPort, frozen=True, kw_only=True):
    """A port that this version does not wholly know; it matches no packet. Never on the wire, see `known_part`."""


class PartlyKnownSpec(K8sNetworkPolicySpec, frozen=True, kw_only=True):
    """What is left of a spec that this version does not wholly know. Never on the wire, see `known_part`."""

    unknown: tuple[str, ...]
    """What is not known of it: path and reason each."""


class K8sNetworkPolicy(Object, frozen=True, kw_only=True):
    """networking.k8s.io/v1 NetworkPolicy."""

    spec: K8sNetworkPolicySpec = K8sNetworkPolicySpec()


class MultiNetworkPolicy(Object, frozen=True, kw_only=True):
    """k8s.cni.cncf.io/v1beta1 MultiNetworkPolicy: a NetworkPolicy for the networks that its annotation names."""

    spec: K8sNetworkPolicySpec = K8sNetworkPolicySpec()


AntreaPolicy = ClusterNetworkPolicy | AntreaNetworkPolicy
AnyPolicy = K8sNetworkPolicy | AntreaPolicy | MultiNetworkPolicy
AnyGroup = ClusterGroup | AntreaGroup
AnyObject = (
    Namespace
    | Node
    | Pod
    | Tier
    | TrafficControl
    | NetworkAttachmentDefinition
    | AnyPolicy
    | AnyGroup
    | Service
    | EndpointSlice
)

TYPES: dict[Kind, type[AnyObject]] = {
    Kind.NAMESPACE: Namespace,
    Kind.NODE: Node,
    Kind.POD: Pod,
    Kind.TIER: Tier,
    Kind.K8S_NETWORK_POLICY: K8sNetworkPolicy,
    Kind.CLUSTER_NETWORK_POLICY: ClusterNetworkPolicy,
    Kind.ANTREA_NETWORK_POLICY: AntreaNetworkPolicy,
    Kind.MULTI_NETWORK_POLICY: MultiNetworkPolicy,
    Kind.NETWORK_ATTACHMENT: NetworkAttachmentDefinition,
    Kind.TRAFFIC_CONTROL: TrafficControl,
    Kind.CLUSTER_GROUP: ClusterGroup,
    Kind.GROUP: AntreaGroup,
    Kind.SERVICE: Service,
    Kind.ENDPOINT_SLICE: EndpointSlice,
}


class Listed(Struct, frozen=True, kw_only=True):
    """The first listing of a kind is complete: objects not published by now do not exist (`objects._listed.<kind>`)."""

    kind: Kind
    source: str
    """The only source of this deployment: `kubernetes`, or `folder:` and a path."""
