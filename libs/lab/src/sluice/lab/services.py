"""What a cluster does for Services: addresses, NodePorts, EndpointSlices of the selected Pods."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
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

FIRST_NUMBER = 10
"""The first number in a range of ClusterIPs that is given out: lower ones are usually the API server and DNS."""

DERIVED = "lab.sluice.dev"
"""The value of endpointslice.kubernetes.io/managed-by on the lab's own EndpointSlices."""

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


def is_headless(service: Service) -> bool:
    return HEADLESS in (service.spec.cluster_ip, *service.spec.cluster_ips) or service.spec.type == "ExternalName"


class NoneLeft(ValueError):
    """There is no address, or no NodePort, left for the Service: which, and what to do."""


class Taken:
    """The ClusterIPs and NodePorts of Services. What is free is found without a look at what is not."""

    def __init__(self) -> None:
        self._addresses: Counter[str] = Counter()
        self._ports: Counter[int] = Counter()
        self._next_address: dict[int, int] = {}
        """By IP version, the number below which no address of the range is free."""

        self._next_port = FIRST_NODE_PORT
        """The NodePort below which none is free."""

    def add(self, service: Service) -> None:
        self._addresses.update(service.spec.cluster_ips)
        self._ports.update(port.node_port for port in service.spec.ports)

    def remove(self, service: Service) -> None:
        """Remove a Service as it was added."""
        self._addresses.subtract(service.spec.cluster_ips)
        self._ports.subtract(port.node_port for port in service.spec.ports)
        self._next_address.clear()
        self._next_port = FIRST_NODE_PORT

    def free_address(self, version: int) -> Address:
        """The first free ClusterIP of this IP version.

        Raises:
            NoneLeft: there is none.
        """
        network = SERVICE_RANGES[version]
        begin = self._next_address.get(version, FIRST_NUMBER)
        for number in range(begin, network.num_addresses - 1):
            if self._addresses[address := str(network[number])] <= 0:
                self._next_address[version] = number
                return Address(address)
        raise NoneLeft(f"no address is left in {network}: give it a spec.clusterIP")

    def free_ports(self, given: Collection[int]) -> Iterator[int]:
        """The free NodePorts in order, without these.

        Raises:
            NoneLeft: there is no other.
        """
        while self._next_port <= LAST_NODE_PORT and self._ports[self._next_port] > 0:
            self._next_port += 1
        for port in range(self._next_port, LAST_NODE_PORT + 1):
            if self._ports[port] <= 0 and port not in given:
                yield port
        raise NoneLeft(f"no NodePort is left from {FIRST_NODE_PORT} to {LAST_NODE_PORT}: give its ports a nodePort")


def addressed(service: Service, taken: Taken, versions: Iterable[int]) -> Service:
    """The Service with ClusterIPs of these IP versions and with NodePorts; its own ones stay.

    Args:
        taken: by other Services.

    Raises:
        NoneLeft: there are too many Services.
    """
    spec = service.spec
    if not is_headless(service):
        known = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
        addresses = known or tuple(taken.free_address(version) for version in sorted(versions))
        spec = replace(spec, cluster_ip=addresses[0], cluster_ips=addresses)
    if spec.type in ("NodePort", "LoadBalancer"):
        free = taken.free_ports({port.node_port for port in spec.ports})
        ports = [port if port.node_port else replace(port, node_port=next(free)) for port in spec.ports]
        spec = replace(spec, ports=tuple(ports))
    return replace(service, spec=spec)


class Candidates:
    """Pods by the labels that Services ask for, so that a Service looks at few others than its own Pods."""

    def __init__(self, services: Iterable[Service], pods: Iterable[Pod]) -> None:
        self._at: dict[tuple[str, str, str], list[Pod]] = {
            (service.metadata.namespace, *label): []
            for service in services
            for label in (service.spec.selector or {}).items()
        }
        """By Namespace, label and value; in order of arrival."""

        for pod in pods if self._at else ():
            for label in pod.metadata.labels.items():
                if (found := self._at.get((pod.metadata.namespace, *label))) is not None:
                    found.append(pod)

    def of(self, service: Service) -> list[Pod]:
        """All Pods that a Service with a selector selects, and maybe others."""
        namespace = service.metadata.namespace
        return min((self._at[namespace, *label] for label in service.spec.selector.items()), key=len)


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
