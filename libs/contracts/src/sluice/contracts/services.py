"""Services and their endpoints, trimmed to what Sluice reads; `objects` explains the form."""

from typing import Literal

from msgspec import field

from sluice.contracts.pieces import Kube, Object, Protocol

SERVICE_LABEL = "kubernetes.io/service-name"
"""Label of an EndpointSlice: the name of its Service. Source: Kubernetes, discovery/v1, LabelServiceName."""

HEADLESS = "None"
"""The clusterIP of a headless Service, which never gets an address."""

TrafficPolicy = Literal["Cluster", "Local"]


class ServicePort(Kube, frozen=True, kw_only=True):
    port: int
    name: str = ""
    """Distinguishes ports; may be empty if there is only one."""

    protocol: Protocol = "TCP"
    target_port: int | str | None = None
    """Number or name of a container port; unset means `port`."""

    node_port: int = 0
    """0 if it has none, or none yet."""


class ClientIP(Kube, frozen=True, kw_only=True):
    timeout_seconds: int = 10_800
    """Source: Kubernetes API, core/v1 ClientIPConfig."""


class AffinityConfig(Kube, frozen=True, kw_only=True):
    client_ip: ClientIP = field(default=ClientIP(), name="clientIP")


class ServiceSpec(Kube, frozen=True, kw_only=True):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    cluster_ip: str = field(default="", name="clusterIP")
    """Empty until it is assigned; `None` for a headless Service."""

    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")
    external_ips: tuple[str, ...] = field(default=(), name="externalIPs")
    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = field(default_factory=dict)
    """Empty selects no Pods: the endpoints are managed by others."""

    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: AffinityConfig = AffinityConfig()
    external_traffic_policy: TrafficPolicy = "Cluster"
    internal_traffic_policy: TrafficPolicy = "Cluster"
    publish_not_ready_addresses: bool = False


class LoadBalancerIngress(Kube, frozen=True, kw_only=True):
    ip: str = ""


class LoadBalancerStatus(Kube, frozen=True, kw_only=True):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(Kube, frozen=True, kw_only=True):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Object, frozen=True, kw_only=True):
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class EndpointConditions(Kube, frozen=True, kw_only=True):
    """Unset means `ready` is true, `serving` is the same as `ready`, and `terminating` is false.

    Source: Kubernetes API, discovery/v1 EndpointConditions.
    """

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetRef(Kube, frozen=True, kw_only=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class Endpoint(Kube, frozen=True, kw_only=True):
    addresses: tuple[str, ...] = ()
    """Addresses of a single endpoint; only the first is used."""

    conditions: EndpointConditions = EndpointConditions()
    node_name: str = ""
    target_ref: TargetRef = TargetRef()


class EndpointPort(Kube, frozen=True, kw_only=True):
    name: str = ""
    protocol: Protocol = "TCP"
    port: int | None = None
    """Unset means all ports."""


class EndpointSlice(Object, frozen=True, kw_only=True):
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    @property
    def service(self) -> str:
        """Name of the Service that it belongs to; empty if none."""
        return self.metadata.labels.get(SERVICE_LABEL, "")
