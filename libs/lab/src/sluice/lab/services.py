"""What a cluster does for Services: addresses, NodePorts, EndpointSlices of the selected Pods."""

from collections.abc import Iterable, Iterator
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from msgspec.structs import replace

from sluice.contracts.ids import Address
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import ObjectMeta, Pod
from sluice.contracts.services import (
    HEADLESS,
    SERVICE_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Service,
    TargetRef,
)

SERVICE_RANGES: dict[int, IPv4Network | IPv6Network] = {4: IPv4Network("10.96.0.0/16"), 6: IPv6Network("fd00:96::/112")}
"""ClusterIPs for Services that do not state their own."""

FIRST_NODE_PORT, LAST_NODE_PORT = 30_000, 32_767
"""Source: Kubernetes, kube-apiserver --service-node-port-range."""

DERIVED = "lab.sluice.dev"
"""The value of endpointslice.kubernetes.io/managed-by on the lab's own EndpointSlices."""

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


def is_headless(service: Service) -> bool:
    return HEADLESS in (service.spec.cluster_ip, *service.spec.cluster_ips) or service.spec.type == "ExternalName"


def addressed(service: Service, taken: Iterable[Service], versions: Iterable[int]) -> Service:
    """The Service with ClusterIPs of these IP versions and with NodePorts; its own ones stay."""
    others = list(taken)
    spec = service.spec
    used = {address for other in others for address in other.spec.cluster_ips}
    if not is_headless(service):
        known = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
        addresses = known or tuple(_free(version, used) for version in sorted(versions))
        spec = replace(spec, cluster_ip=addresses[0], cluster_ips=addresses)
    if spec.type in ("NodePort", "LoadBalancer"):
        ports = iter(range(FIRST_NODE_PORT, LAST_NODE_PORT + 1))
        given = {port.node_port for other in (*others, service) for port in other.spec.ports}
        free = (port for port in ports if port not in given)
        spec = replace(
            spec, ports=tuple(port if port.node_port else replace(port, node_port=next(free)) for port in spec.ports)
        )
    return replace(service, spec=spec)


def _free(version: int, used: set[str]) -> Address:
    network = SERVICE_RANGES[version]
    numbers = range(10, network.num_addresses - 1)  # lower numbers are usually the API server and DNS
    return Address(next(text for number in numbers if (text := _numbered(version, number)) not in used))


@cache
def _numbered(version: int, number: int) -> str:
    """The address in the range. Cached, since each Service searches from the start and a lookup beats formatting."""
    return str(SERVICE_RANGES[version][number])


def slices(service: Service, pods: Iterable[Pod]) -> Iterator[EndpointSlice]:
    """EndpointSlices for the Service's Pods: one per IP version and set of target port numbers."""
    if not service.spec.selector:
        return
    found: dict[tuple[int, tuple[EndpointPort, ...]], list[Endpoint]] = {}
    for pod in pods:
        labels = pod.metadata.labels
        mine = pod.metadata.namespace == service.metadata.namespace
        if mine and all(labels.get(key) == value for key, value in service.spec.selector.items()):
            ports = tuple(_ports(service, pod))
            for address in pod.addresses:
                version = ip_address(address).version
                found.setdefault((version, ports), []).append(_endpoint(pod, address))
    resource = RESOURCES[Kind.ENDPOINT_SLICE]
    for number, ((family, ports), endpoints) in enumerate(sorted(found.items(), key=lambda entry: entry[0][0])):
        yield EndpointSlice(
            api_version=resource.api_version,
            kind=resource.kind,
            metadata=ObjectMeta(
                name=f"{service.metadata.name}-{number}",
                namespace=service.metadata.namespace,
                labels={SERVICE_LABEL: service.metadata.name, MANAGED_BY: DERIVED},
            ),
            address_type="IPv4" if family == 4 else "IPv6",
            endpoints=tuple(endpoints),
            ports=ports,
        )


def _endpoint(pod: Pod, address: Address) -> Endpoint:
    return Endpoint(
        addresses=(address,),
        conditions=EndpointConditions(ready=True),
        node_name=pod.node,
        target_ref=TargetRef(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
    )


def _ports(service: Service, pod: Pod) -> Iterator[EndpointPort]:
    """The target ports of the Service at the Pod; port names that the Pod does not have are left out."""
    named = {(port.name, port.protocol): port.container_port for each in pod.spec.containers for port in each.ports}
    for port in service.spec.ports:
        target = port.port if port.target_port is None else port.target_port
        number = named.get((target, port.protocol)) if isinstance(target, str) else target
        if number is not None:
            yield EndpointPort(name=port.name, protocol=port.protocol, port=number)
