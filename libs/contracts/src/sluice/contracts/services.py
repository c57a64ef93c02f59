"""Services and their endpoints, trimmed to what Sluice reads; `objects` explains the form."""

from typing import Literal

from msgspec import field

from sluice.contracts.pieces import Kube, Object, Protocol

SERVICE_LABEL = "kubernetes.io/service-name"
"""The label of an EndpointSlice that names its Service. Source: Kubernetes, discovery/v1, LabelServiceName."""

HEADLESS = "None"
"""The clusterIP of a Service that has none, and never will."""

TrafficPolicy = Literal["Cluster", "Local"]


class ServicePort(Kube, frozen=True, kw_only=True):
    port: int
    name: str = ""
    """Told apart by it; a single port may have none."""

    protocol: Protocol = "TCP"
    target_port: int | str | None = None
    """Number or name of a container port; unset means `port`."""

    node_port: int = 0
    """0 while it has none."""


class ClientIP(Kube, frozen=True, kw_only=True):
    timeout_seconds: int = 10_800
    """Source: Kubernetes API, core/v1 ClientIPConfig."""


class AffinityConfig(Kube, frozen=True, kw_only=True):
    client_ip: ClientIP = field(default=ClientIP(), name="clientIP")


class ServiceSpec(Kube, frozen=True, kw_only=True):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    cluster_ip: str = field(default="", name="clusterIP")
    """Empty while it has none yet; `None` if it is headless."""

    cluster_ips: tuple[str, ...] = field(default=(), name="clusterIPs")
    external_ips: tuple[str, ...] = field(default=(), name="externalIPs")
    ports: tuple[ServicePort, ...] = ()
    selector: dict[str, str] = field(default_factory=dict)
    """Empty means nobody: others make its endpoints."""

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
    """Unset means yes, but for `terminating`. Source: Kubernetes API, discovery/v1 EndpointConditions."""

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
    """Those of one endpoint; only the first is to be used."""

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
        """The name of its Service; empty if it belongs to none."""
        return self.metadata.labels.get(SERVICE_LABEL, "")
