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
"""`Deny` is an older spelling of Drop."""

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
"""Priorities of the tiers that always exist; the lower goes first. Policies may capitalise the names."""


def tier_name(written: str) -> str:
    """The name of the tier that a policy refers to: the default tier if empty, static tiers in lower case."""
    lowered = written.lower()
    return lowered if lowered in STATIC_TIERS else written or DEFAULT_TIER


class TierSpec(Kube, frozen=True, kw_only=True):
    priority: int
    description: str = ""


class Tier(Object, frozen=True, kw_only=True):
    spec: TierSpec


class PeerNamespaces(Part, frozen=True, kw_only=True):
    """Namespaces relative to that of the Pod that a rule applies to: the same one, or those with equal label values."""

    match: Literal["Self"] | None = None
    same_labels: tuple[str, ...] = ()


class AppliedTo(Part, frozen=True, kw_only=True):
    """Pods, by selectors; or exactly one of the other fields."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    group: str = ""
    """Name of a ClusterGroup; in a NetworkPolicy, of a Group in its Namespace."""

    service_account: NamespacedName | None = None
    service: NamespacedName | None = None
    """A NodePort Service: traffic to it from outside the cluster."""

    node_selector: LabelSelector | None = None
    """The Nodes themselves, not their Pods."""


class AntreaPeer(Part, frozen=True, kw_only=True):
    """Pods, by selectors; or exactly one of the other fields."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    namespaces: PeerNamespaces | None = None
    ip_block: IPBlock | None = None
    group: str = ""
    """As in `AppliedTo`."""

    service_account: NamespacedName | None = None
    node_selector: LabelSelector | None = None
    """Addresses of Nodes."""

    fqdn: str = ""
    """A domain name, in which `*` matches any number of characters; egress only."""


class PeerService(Part, frozen=True, kw_only=True):
    """A Service as clients address it, by its ClusterIP and ports."""

    name: str
    namespace: str = ""
    """Unset means the Namespace of the policy."""


class AntreaPort(Part, frozen=True, kw_only=True):
    protocol: Protocol = "TCP"
    port: int | str | None = None
    """Number or name; unset means all ports of the protocol."""

    end_port: int | None = None
    source_port: int | None = None
    source_end_port: int | None = None


class IcmpProtocol(Part, frozen=True, kw_only=True):
    """An unset field matches every type, or every code of the type."""

    icmp_type: int | None = None
    icmp_code: int | None = None


class IgmpProtocol(Part, frozen=True, kw_only=True):
    """An unset field matches every type, or every group."""

    igmp_type: int | None = None
    group_address: str = ""


class AntreaProtocol(Part, frozen=True, kw_only=True):
    """Exactly one field is set."""

    icmp: IcmpProtocol | None = None
    igmp: IgmpProtocol | None = None


class HttpProtocol(Part, frozen=True, kw_only=True):
    """HTTP requests that match all set fields; an unset field matches any."""

    host: str = ""
    method: str = ""
    path: str = ""


class TlsProtocol(Part, frozen=True, kw_only=True):
    """TLS handshakes for this server name; unset matches any."""

    sni: str = ""


class L7Protocol(Part, frozen=True, kw_only=True):
    """Exactly one field is set."""

    http: HttpProtocol | None = None
    tls: TlsProtocol | None = None


class AntreaRule(Part, frozen=True, kw_only=True):
    """A rule of either direction: `from` is for ingress, `to` for egress."""

    action: AntreaAction
    name: str = ""
    applied_to: tuple[AppliedTo, ...] = ()
    from_: tuple[AntreaPeer, ...] = field(default=(), name="from")
    """Empty means all peers."""

    to: tuple[AntreaPeer, ...] = ()
    """Empty means all peers."""

    ports: tuple[AntreaPort, ...] = ()
    protocols: tuple[AntreaProtocol, ...] = ()
    """Ports and protocols form a single union; both empty means all traffic."""

    to_services: tuple[PeerService, ...] = ()
    """Egress only, instead of `to`, ports and protocols."""

    l7_protocols: tuple[L7Protocol, ...] = field(default=(), name="l7Protocols")
    """Allow only: which of the matching traffic it allows; a union. Empty means all; everything else is denied."""

    enable_logging: bool = False
    log_label: str = ""


class AntreaPolicySpec(Part, frozen=True, kw_only=True):
    priority: float
    tier: str = ""
    """Unset means `application`."""

    applied_to: tuple[AppliedTo, ...] = ()
    """Either set here, or in every rule."""

    ingress: tuple[AntreaRule, ...] = ()
    egress: tuple[AntreaRule, ...] = ()


class ClusterNetworkPolicy(Object, frozen=True, kw_only=True):
    spec: AntreaPolicySpec


class AntreaNetworkPolicy(Object, frozen=True, kw_only=True):
    """crd.antrea.io NetworkPolicy. Selectors without a namespaceSelector refer to its own Namespace."""

    spec: AntreaPolicySpec


def rule_name(direction: Literal["ingress", "egress"], rule: AntreaRule) -> str:
    """The name of the rule, or one derived from its content such as `ingress-drop-2f0ed6e`: equal rules, equal names.

    Source: seven digits of SHA-1 as in Antrea, docs "Antrea Network Policy CRDs", `ingress`.
    """
    if rule.name:
        return rule.name
    action = "drop" if rule.action == "Deny" else rule.action.lower()
    return f"{direction}-{action}-{sha1(codec.encode(rule), usedforsecurity=False).hexdigest()[:7]}"
