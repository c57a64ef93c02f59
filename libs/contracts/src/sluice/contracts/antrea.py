"""The Antrea-native kinds of crd.antrea.io/v1beta1 as they travel; `objects` explains the form.

The structs name only the fields that Sluice reads. Within a spec, an unknown field is a decoding error: an Allow rule
without the half that was ignored would allow too much. The body on the wire is the manifest as its author wrote it.
"""

from hashlib import sha1
from typing import Literal

from msgspec import field

from sluice.contracts import codec
from sluice.contracts.pieces import IPBlock, Kube, LabelSelector, NamespacedName, Object, Part, Protocol

AntreaAction = Literal["Allow", "Drop", "Reject", "Pass", "Deny"]
"""`Deny` is how older manifests write Drop."""

DEFAULT_TIER = "application"
BASELINE_TIER = "baseline"

STATIC_TIERS: dict[str, int] = {
    "emergency": 50,
    "securityops": 100,
    "networkops": 150,
    "platform": 200,
    DEFAULT_TIER: 250,
    BASELINE_TIER: 253,
}
"""Tiers that always exist, by name; a lower priority comes first. Policies may write them capitalised."""


def tier_name(written: str) -> str:
    """The name of the tier that a policy means: the default for none, and static tiers in lower case."""
    lowered = written.lower()
    return lowered if lowered in STATIC_TIERS else written or DEFAULT_TIER


class TierSpec(Kube, frozen=True, kw_only=True):
    priority: int
    description: str = ""


class Tier(Object, frozen=True, kw_only=True):
    spec: TierSpec


class PeerNamespaces(Part, frozen=True, kw_only=True):
    """Namespaces in relation to that of the Pod a rule is applied to: itself, or those with equal label values."""

    match: Literal["Self"] | None = None
    same_labels: tuple[str, ...] = ()


class AppliedTo(Part, frozen=True, kw_only=True):
    """Pods by selectors, or one of the other ways alone."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    group: str = ""
    """A ClusterGroup; in a NetworkPolicy a Group of its own Namespace."""

    service_account: NamespacedName | None = None
    service: NamespacedName | None = None
    """A NodePort Service: what comes to it from beyond the cluster."""

    node_selector: LabelSelector | None = None
    """Nodes themselves, not their Pods."""


class AntreaPeer(Part, frozen=True, kw_only=True):
    """Pods by selectors, or one of the other ways alone."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    namespaces: PeerNamespaces | None = None
    ip_block: IPBlock | None = None
    group: str = ""
    """As in appliedTo."""

    service_account: NamespacedName | None = None
    node_selector: LabelSelector | None = None
    """Addresses of Nodes."""

    fqdn: str = ""
    """A name, in which `*` stands for any number of characters; egress only."""


class PeerService(Part, frozen=True, kw_only=True):
    """A Service, as clients address it: by its ClusterIP and ports."""

    name: str
    namespace: str = ""
    """Unset means the policy's own."""


class AntreaPort(Part, frozen=True, kw_only=True):
    protocol: Protocol = "TCP"
    port: int | str | None = None
    """Number or name; unset means all ports of the protocol."""

    end_port: int | None = None
    source_port: int | None = None
    source_end_port: int | None = None


class IcmpProtocol(Part, frozen=True, kw_only=True):
    """Unset means every type, or every code of the type."""

    icmp_type: int | None = None
    icmp_code: int | None = None


class IgmpProtocol(Part, frozen=True, kw_only=True):
    """Unset means every type, or every group."""

    igmp_type: int | None = None
    group_address: str = ""


class AntreaProtocol(Part, frozen=True, kw_only=True):
    """One of the two."""

    icmp: IcmpProtocol | None = None
    igmp: IgmpProtocol | None = None


class HttpProtocol(Part, frozen=True, kw_only=True):
    """HTTP requests that are all of this; unset means any."""

    host: str = ""
    method: str = ""
    path: str = ""


class TlsProtocol(Part, frozen=True, kw_only=True):
    """TLS handshakes for this name; unset means any."""

    sni: str = ""


class L7Protocol(Part, frozen=True, kw_only=True):
    """One of the two."""

    http: HttpProtocol | None = None
    tls: TlsProtocol | None = None


class AntreaRule(Part, frozen=True, kw_only=True):
    """One rule of either direction: `from` belongs to ingress, `to` to egress."""

    action: AntreaAction
    name: str = ""
    applied_to: tuple[AppliedTo, ...] = ()
    from_: tuple[AntreaPeer, ...] = field(default=(), name="from")
    """Empty means everybody."""

    to: tuple[AntreaPeer, ...] = ()
    """Empty means everybody."""

    ports: tuple[AntreaPort, ...] = ()
    protocols: tuple[AntreaProtocol, ...] = ()
    """Ports and protocols are one union; both empty means all traffic."""

    to_services: tuple[PeerService, ...] = ()
    """Egress only, in place of `to`, ports and protocols."""

    l7_protocols: tuple[L7Protocol, ...] = field(default=(), name="l7Protocols")
    """What an Allow allows of the traffic that it is about; a union. Empty means all of it; the rest is refused."""

    enable_logging: bool = False
    log_label: str = ""


class AntreaPolicySpec(Part, frozen=True, kw_only=True):
    priority: float
    tier: str = ""
    """Unset means `application`."""

    applied_to: tuple[AppliedTo, ...] = ()
    """Here, or in every rule."""

    ingress: tuple[AntreaRule, ...] = ()
    egress: tuple[AntreaRule, ...] = ()


class ClusterNetworkPolicy(Object, frozen=True, kw_only=True):
    spec: AntreaPolicySpec


class AntreaNetworkPolicy(Object, frozen=True, kw_only=True):
    """crd.antrea.io NetworkPolicy; its selectors without a namespaceSelector mean its own namespace."""

    spec: AntreaPolicySpec


def rule_name(direction: Literal["ingress", "egress"], rule: AntreaRule) -> str:
    """Its name, or one made of its content, as `ingress-drop-2f0ed6e`: equal rules have equal names.

    Source: the seven digits of SHA-1 are Antrea's, docs "Antrea Network Policy CRDs", `ingress`.
    """
    if rule.name:
        return rule.name
    action = "drop" if rule.action == "Deny" else rule.action.lower()
    return f"{direction}-{action}-{sha1(codec.encode(rule), usedforsecurity=False).hexdigest()[:7]}"
