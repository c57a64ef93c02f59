"""A live Pod, or a node, as a member of groups."""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network

from sluice.contracts.groups import Member, NamedPort
from sluice.contracts.ids import Address, Uid
from sluice.contracts.objects import TRANSPORT_ADDRESS, Container, LabelRequirement, Node, Pod

_ACCOUNT = "/service-account"
"""The label key under which selectors see a Pod's ServiceAccount. No real label has it: prefixes are never empty."""

DEFAULT_ACCOUNT = "default"
"""The ServiceAccount of a Pod that names none. Source: Kubernetes, plugin/pkg/admission/serviceaccount."""

_NODE_ADDRESSES = frozenset(("InternalIP", "ExternalIP"))
"""Source: Kubernetes API, core/v1 NodeAddressType; the others are names."""


def labels_of(pod: Pod) -> Mapping[str, str]:
    """The labels that selectors see: the Pod's own, and its ServiceAccount unless that is the default one."""
    labels, account = pod.metadata.labels, pod.spec.service_account_name
    return labels if account in ("", DEFAULT_ACCOUNT) else {**labels, _ACCOUNT: account}


def of_account(name: str) -> LabelRequirement:
    """The requirement that selects the Pods of the ServiceAccount, within a Namespace."""
    if name == DEFAULT_ACCOUNT:
        return LabelRequirement(key=_ACCOUNT, operator="DoesNotExist")
    return LabelRequirement(key=_ACCOUNT, operator="In", values=(name,))


def member_of(pod: Pod) -> Member:
    """The Pod as a member, with every address that it claims."""
    meta = pod.metadata
    return Member(
        pod=f"{meta.namespace}/{meta.name}",
        uid=Uid(meta.uid),
        addresses=pod.addresses,
        ports=named_ports(pod.spec.containers),
    )


def member_of_node(node: Node) -> Member:
    """The node as a member."""
    return Member(pod=node.metadata.name, uid=Uid(node.metadata.uid), addresses=node_addresses(node))


def node_addresses(node: Node) -> tuple[Address, ...]:
    """The addresses of the node, sorted: its own, its gateway's, and its tunnel endpoint's.

    The gateway has the first address of each Pod CIDR. What is not an address is left out.

    Source: docs "Antrea Network Policy CRDs", "Node Selector".
    """
    return tuple(sorted(set(_node_addresses(node))))


def _node_addresses(node: Node) -> Iterator[Address]:
    written = [each.address for each in node.status.addresses if each.type in _NODE_ADDRESSES]
    written += [node.metadata.annotations[TRANSPORT_ADDRESS]] if TRANSPORT_ADDRESS in node.metadata.annotations else []
    for text in written:
        try:
            yield Address(str(ip_address(text)))
        except ValueError:
            continue
    for text in node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ()):
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            continue
        if network.num_addresses > 1:
            yield Address(str(network[1]))


def named_ports(containers: Iterable[Container]) -> tuple[NamedPort, ...]:
    """The named container ports, sorted. Of two with the same name and protocol the first counts.

    Source: Kubernetes, pkg/api/v1/pod/util.go, FindPort.
    """
    found: dict[tuple[str, str], NamedPort] = {}
    for container in containers:
        for port in container.ports:
            if port.name:
                named = NamedPort(name=port.name, protocol=port.protocol, port=port.container_port)
                found.setdefault((port.name, port.protocol), named)
    return tuple(sorted(found.values())) if found else ()
