"""What a live Pod, or a node, is to its groups."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network

from sluice.contracts.groups import Member, NamedPort
from sluice.contracts.ids import Address, Uid
from sluice.contracts.objects import TRANSPORT_ADDRESS, LabelRequirement, Node, Pod

_ACCOUNT = "/service-account"
"""The key under which selectors see a Pod's ServiceAccount. No label can have it: a prefix is never empty."""

DEFAULT_ACCOUNT = "default"
"""Of a Pod that names none. Source: Kubernetes, plugin/pkg/admission/serviceaccount."""

_NODE_ADDRESSES = frozenset(("InternalIP", "ExternalIP"))
"""Source: Kubernetes API, core/v1 NodeAddressType; the others are names."""


def labels_of(pod: Pod) -> Mapping[str, str]:
    """What selectors see of the Pod: its labels, and its ServiceAccount if that is not the default one."""
    labels, account = pod.metadata.labels, pod.spec.service_account_name
    return labels if account in ("", DEFAULT_ACCOUNT) else {**labels, _ACCOUNT: account}


def of_account(name: str) -> LabelRequirement:
    """What holds for the Pods of the ServiceAccount of this name, in their Namespace."""
    if name == DEFAULT_ACCOUNT:
        return LabelRequirement(key=_ACCOUNT, operator="DoesNotExist")
    return LabelRequirement(key=_ACCOUNT, operator="In", values=(name,))


def member_of(pod: Pod) -> Member:
    """The Pod as it stands on a page, with every address that it claims."""
    meta = pod.metadata
    return Member(
        pod=f"{meta.namespace}/{meta.name}",
        uid=Uid(meta.uid),
        addresses=pod.addresses,
        ports=named_ports(pod),
    )


def member_of_node(node: Node) -> Member:
    """The node as it stands on a page."""
    return Member(pod=node.metadata.name, uid=Uid(node.metadata.uid), addresses=node_addresses(node))


def node_addresses(node: Node) -> tuple[Address, ...]:
    """The addresses that mean the node; sorted: its own, that of its gateway, and where its tunnels end.

    The gateway has the first address of each range of its Pods. What is no address is left out.

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


def named_ports(pod: Pod) -> tuple[NamedPort, ...]:
    """The container ports that have a name; sorted. Of two with one name and protocol the first counts.

    Source: Kubernetes, pkg/api/v1/pod/util.go, FindPort.
    """
    found: dict[tuple[str, str], NamedPort] = {}
    for container in pod.spec.containers:
        for port in container.ports:
            if port.name:
                named = NamedPort(name=port.name, protocol=port.protocol, port=port.container_port)
                found.setdefault((port.name, port.protocol), named)
    return tuple(sorted(found.values())) if found else ()
