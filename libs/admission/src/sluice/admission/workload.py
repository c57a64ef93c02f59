"""Pods and Nodes, as far as we read them. In a cluster the API server has checked this already; in a folder, we do."""

from collections.abc import Iterator
from ipaddress import ip_address

from sluice.admission import addresses, names
from sluice.admission.network_policy import PORTS
from sluice.admission.refusal import Refusal
from sluice.contracts import jsonpath
from sluice.contracts.objects import Container, Node, Pod, PodStatus


def of_pod(pod: Pod) -> Iterator[Refusal]:
    if pod.spec.node_name and (reason := names.dns_subdomain(pod.spec.node_name)):
        yield Refusal("$.spec.nodeName", reason)
    for index, container in enumerate(pod.spec.containers):
        yield from _of_container(container, jsonpath.item("$.spec.containers", index))
    yield from _of_addresses(pod.status)


def of_node(node: Node) -> Iterator[Refusal]:
    given = [("$.spec.podCIDR", node.spec.pod_cidr)] if node.spec.pod_cidr else []
    given += [(jsonpath.item("$.spec.podCIDRs", index), text) for index, text in enumerate(node.spec.pod_cidrs)]
    for path, text in given:
        if isinstance(reason := addresses.cidr(text), str):
            yield Refusal(path, reason)
    for index, entry in enumerate(node.status.addresses):
        if entry.type in ("InternalIP", "ExternalIP") and (wrong := addresses.address(entry.address)):
            yield Refusal(jsonpath.item("$.status.addresses", index) + ".address", wrong)


def _of_container(container: Container, path: str) -> Iterator[Refusal]:
    named: set[str] = set()
    for index, port in enumerate(container.ports):
        here = jsonpath.item(f"{path}.ports", index)
        if port.container_port not in PORTS:
            yield Refusal(f"{here}.containerPort", f"{port.container_port} is not a port; give one of 1 to 65535")
        if not port.name:
            continue
        if reason := names.port_name(port.name):
            yield Refusal(f"{here}.name", reason)
        if port.name in named:
            yield Refusal(
                f"{here}.name", f'"{port.name}" is also the name of an earlier port; give each port its own name'
            )
        named.add(port.name)


def _of_addresses(status: PodStatus) -> Iterator[Refusal]:
    """Source: Kubernetes, pkg/apis/core/validation (podIPs: at most one a family, the first is podIP)."""
    listed = [(jsonpath.item("$.status.podIPs", index) + ".ip", entry.ip) for index, entry in enumerate(status.pod_ips)]
    given = [("$.status.podIP", status.pod_ip)] if status.pod_ip else []
    wrong = [Refusal(path, reason) for path, text in given + listed if (reason := addresses.address(text))]
    yield from wrong
    if wrong:
        return
    if given and listed and status.pod_ip != listed[0][1]:
        yield Refusal("$.status.podIP", f"{status.pod_ip} is not the first of podIPs, {listed[0][1]}; they must agree")
    families: set[int] = set()
    for path, text in listed:
        version = ip_address(text).version
        if version in families:
            yield Refusal(path, f"{text} is the second IPv{version} address; a Pod has at most one of each family")
        families.add(version)
