"""Objects for tests, with defaults for everything that a test does not care about."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sluice.contracts import networks
from sluice.contracts.antrea import AntreaPolicySpec, TierSpec
from sluice.contracts.antrea_groups import GroupSpec
from sluice.contracts.ids import Address, NodeName
from sluice.contracts.kinds import ANTREA
from sluice.contracts.networks import NetworkAttachmentDefinition, NetworkAttachmentSpec
from sluice.contracts.objects import (
    ENABLE_LOGGING,
    TRANSPORT_ADDRESS,
    AntreaGroup,
    AntreaNetworkPolicy,
    ClusterGroup,
    ClusterNetworkPolicy,
    Container,
    ContainerPort,
    K8sNetworkPolicy,
    K8sNetworkPolicySpec,
    LabelRequirement,
    LabelSelector,
    MultiNetworkPolicy,
    Namespace,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Operator,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
    Protocol,
    Service,
    Tier,
)
from sluice.contracts.services import ServiceSpec
from sluice.contracts.traffic_control import TrafficControl, TrafficControlSpec

Port = int | tuple[str, int] | tuple[str, int, Protocol]
"""A container port: number, or name and number, or name, number and protocol."""


def namespace(name: str = "x", /, *, logging: str = "", **labels: str) -> Namespace:
    """A Namespace; `_` in a label's key stands for `-`. `logging` is the value of its logging annotation."""
    notes = {ENABLE_LOGGING: logging} if logging else {}
    meta = ObjectMeta(name=name, labels=_labels(labels), annotations=notes)
    return Namespace(api_version="v1", kind="Namespace", metadata=meta)


def node(
    name: str = "node-1",
    /,
    *,
    ip: Sequence[str] = (),
    pod_cidrs: Sequence[str] = (),
    transport: str = "",
    labels: Mapping[str, str] | None = None,
    **more_labels: str,
) -> Node:
    """A Node with these InternalIPs; `_` in the key of `more_labels` stands for `-`."""
    annotations = {TRANSPORT_ADDRESS: transport} if transport else {}
    return Node(
        api_version="v1",
        kind="Node",
        metadata=ObjectMeta(name=name, labels={**(labels or {}), **_labels(more_labels)}, annotations=annotations),
        spec=NodeSpec(pod_cidrs=tuple(pod_cidrs)),
        status=NodeStatus(addresses=tuple(NodeAddress(type="InternalIP", address=each) for each in ip)),
    )


def pod(
    key: str = "x/a",
    /,
    *,
    ip: str | Sequence[str] = (),
    node: str = "node-1",
    uid: str | None = None,
    created: str = "",
    phase: str = "Running",
    host_network: bool = False,
    ports: Iterable[Port] = (),
    account: str = "",
    labels: Mapping[str, str] | None = None,
    nets: Sequence[str] = (),
    annotations: Mapping[str, str] | None = None,
    **more_labels: str,
) -> Pod:
    """A Pod `namespace/name` on a node; `_` in the key of a label given by name stands for `-`.

    Args:
        ip: its addresses; none by default.
        uid: `uid-namespace-name` by default, the same for the same name.
        nets: its interfaces on secondary networks, in the form of `attached`.
        account: its ServiceAccount; `default` by default.
    """
    of, name = key.split("/")
    addresses = tuple(map(Address, (ip,) if isinstance(ip, str) else ip))
    return Pod(
        api_version="v1",
        kind="Pod",
        metadata=ObjectMeta(
            name=name,
            namespace=of,
            uid=f"uid-{of}-{name}" if uid is None else uid,
            labels={**(labels or {}), **_labels(more_labels)},
            annotations={**(annotations or {}), **({networks.STATUS: attached(*nets)} if nets else {})},
            creation_timestamp=created,
        ),
        spec=PodSpec(
            node_name=NodeName(node),
            host_network=host_network,
            service_account_name=account,
            containers=(Container(name="c", ports=tuple(_port(one) for one in ports)),),
        ),
        status=PodStatus(
            phase=phase,
            pod_ip=addresses[0] if addresses else Address(""),
            pod_ips=tuple(PodIP(ip=address) for address in addresses),
        ),
    )


def attached(*nets: str) -> str:
    """A network-status: each interface as `network@interface=address,address/via/representor`, most of it optional.

    Interfaces without a name are called net1, net2, by position.
    """
    entries = []
    for place, net in enumerate(nets, start=1):
        said, _, representor = net.partition("/via/")
        where, _, addresses = said.partition("=")
        network, _, interface = where.partition("@")
        entry: dict[str, Any] = {"name": network, "interface": interface or f"net{place}"}
        entry["ips"] = addresses.split(",") if addresses else []
        if representor:
            device = {"pci-address": f"0000:03:00.{place}", "representor-device": representor}
            entry["device-info"] = {"type": "pci", "version": "1.1.0", "pci": device}
        entries.append(entry)
    return msgspec.json.encode(entries).decode()


def network(key: str = "x/net", /, type: str = "accelerated-bridge", **conf: Any) -> NetworkAttachmentDefinition:
    """A NetworkAttachmentDefinition `namespace/name` of this plugin."""
    of, name = key.split("/")
    return NetworkAttachmentDefinition(
        api_version="k8s.cni.cncf.io/v1",
        kind="NetworkAttachmentDefinition",
        metadata=ObjectMeta(name=name, namespace=of, uid=f"uid-{of}-{name}"),
        spec=NetworkAttachmentSpec(config=msgspec.json.encode({"type": type, **conf}).decode()),
    )


def multi(
    key: str = "x/mnp", /, spec: Mapping[str, Any] | None = None, *, about: str = "net", uid: str | None = None
) -> MultiNetworkPolicy:
    """A MultiNetworkPolicy `namespace/name` for these networks; an empty spec isolates all interfaces on them."""
    of, name = key.split("/")
    return MultiNetworkPolicy(
        api_version="k8s.cni.cncf.io/v1beta1",
        kind="MultiNetworkPolicy",
        metadata=ObjectMeta(
            name=name,
            namespace=of,
            uid=f"uid-{of}-{name}" if uid is None else uid,
            annotations={networks.POLICY_FOR: about},
        ),
        spec=msgspec.convert({"podSelector": {}, **(spec or {})}, K8sNetworkPolicySpec),
    )


def netpol(key: str = "x/np", /, spec: Mapping[str, Any] | None = None, *, uid: str | None = None) -> K8sNetworkPolicy:
    """A NetworkPolicy `namespace/name` with the spec as written in YAML; an empty one isolates the Namespace."""
    of, name = key.split("/")
    return K8sNetworkPolicy(
        api_version="networking.k8s.io/v1",
        kind="NetworkPolicy",
        metadata=ObjectMeta(name=name, namespace=of, uid=f"uid-{of}-{name}" if uid is None else uid),
        spec=msgspec.convert({"podSelector": {}, **(spec or {})}, K8sNetworkPolicySpec),
    )


def tier(name: str = "mine", /, priority: int = 10) -> Tier:
    return Tier(api_version=ANTREA, kind="Tier", metadata=ObjectMeta(name=name), spec=TierSpec(priority=priority))


def acnp(
    name: str = "acnp", /, spec: Mapping[str, Any] | None = None, *, uid: str | None = None
) -> ClusterNetworkPolicy:
    """A ClusterNetworkPolicy with the spec as written in YAML; the default priority is 5."""
    return ClusterNetworkPolicy(
        api_version=ANTREA,
        kind="ClusterNetworkPolicy",
        metadata=ObjectMeta(name=name, uid=f"uid-{name}" if uid is None else uid),
        spec=msgspec.convert({"priority": 5, **(spec or {})}, AntreaPolicySpec),
    )


def annp(
    key: str = "x/annp", /, spec: Mapping[str, Any] | None = None, *, uid: str | None = None
) -> AntreaNetworkPolicy:
    """A NetworkPolicy `namespace/name` of crd.antrea.io, like `acnp`."""
    of, name = key.split("/")
    return AntreaNetworkPolicy(
        api_version=ANTREA,
        kind="NetworkPolicy",
        metadata=ObjectMeta(name=name, namespace=of, uid=f"uid-{of}-{name}" if uid is None else uid),
        spec=msgspec.convert({"priority": 5, **(spec or {})}, AntreaPolicySpec),
    )


def cluster_group(name: str = "cg", /, spec: Mapping[str, Any] | None = None) -> ClusterGroup:
    """A ClusterGroup with the spec as written in YAML; an empty one selects nothing."""
    metadata = ObjectMeta(name=name, uid=f"uid-{name}")
    return ClusterGroup(
        api_version=ANTREA, kind="ClusterGroup", metadata=metadata, spec=msgspec.convert(spec or {}, GroupSpec)
    )


def group(key: str = "x/grp", /, spec: Mapping[str, Any] | None = None) -> AntreaGroup:
    """A Group `namespace/name`, like `cluster_group`."""
    of, name = key.split("/")
    metadata = ObjectMeta(name=name, namespace=of, uid=f"uid-{of}-{name}")
    return AntreaGroup(api_version=ANTREA, kind="Group", metadata=metadata, spec=msgspec.convert(spec or {}, GroupSpec))


def control(name: str = "tc", /, spec: Mapping[str, Any] | None = None, *, created: str = "") -> TrafficControl:
    """A TrafficControl with the spec as written in YAML; by default it mirrors every Pod to tap0."""
    plain = {
        "appliedTo": {"podSelector": {}},
        "direction": "Both",
        "action": "Mirror",
        "targetPort": {"ovsInternal": {"name": "tap0"}},
    }
    return TrafficControl(
        api_version="crd.antrea.io/v1alpha2",
        kind="TrafficControl",
        metadata=ObjectMeta(name=name, uid=f"uid-{name}", creation_timestamp=created),
        spec=msgspec.convert({**plain, **(spec or {})}, TrafficControlSpec),
    )


def service(key: str = "x/svc", /, spec: Mapping[str, Any] | None = None, **labels: str) -> Service:
    """A Service `namespace/name` of the Pods with these labels; the rest of the spec as written in YAML."""
    of, name = key.split("/")
    return Service(
        api_version="v1",
        kind="Service",
        metadata=ObjectMeta(name=name, namespace=of, uid=f"uid-{of}-{name}"),
        spec=msgspec.convert({"selector": _labels(labels), **(spec or {})}, ServiceSpec),
    )


def selector(*requirements: tuple[str, Operator, Sequence[str]] | tuple[str, Operator], **labels: str) -> LabelSelector:
    """A selector of expressions `(key, operator, values)` and labels; `_` in a label's key stands for `-`."""
    expressions = []
    for key, operator, *values in requirements:
        expressions.append(LabelRequirement(key=key, operator=operator, values=tuple(values[0]) if values else ()))
    return LabelSelector(match_labels=_labels(labels), match_expressions=tuple(expressions))


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    return {key.replace("_", "-"): value for key, value in labels.items()}


def _port(port: Port) -> ContainerPort:
    match port:
        case int():
            return ContainerPort(container_port=port)
        case (name, number):
            return ContainerPort(name=name, container_port=number)
        case (name, number, protocol):
            return ContainerPort(name=name, container_port=number, protocol=protocol)
