"""Secondary networks: what people request in annotations, and what network plugins report there.

Sluice names a network by `namespace/name` of its NetworkAttachmentDefinition. An annotation may omit the namespace, and
then means the namespace of its object.

Sources: Kubernetes Network Custom Resource Definition De-facto Standard 1.3, sections 3 to 5; Device Information
Specification 1.1.0; multi-networkpolicy README (policy-for).
"""

from ipaddress import ip_interface
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from sluice.contracts.ids import Address
from sluice.contracts.pieces import Kube, Object

NETWORKS = "k8s.v1.cni.cncf.io/networks"
"""Annotation of Pods: the networks to attach."""

STATUS = "k8s.v1.cni.cncf.io/network-status"
"""Annotation of Pods: what is attached."""

STATUS_BEFORE = "k8s.v1.cni.cncf.io/networks-status"
"""The spelling of STATUS that Multus used before version 3.8."""

POLICY_FOR = "k8s.v1.cni.cncf.io/policy-for"
"""Annotation of MultiNetworkPolicies: the networks that they apply to."""

POD_ANNOTATIONS = frozenset((NETWORKS, STATUS, STATUS_BEFORE))
"""The annotations of a Pod that Sluice reads; the others are trimmed."""


class NetworkAttachmentSpec(Kube, frozen=True, kw_only=True):
    config: str = ""
    """A CNI configuration or a list of them, as JSON. Empty if in a file on each node, which Sluice does not see."""


class NetworkAttachmentDefinition(Object, frozen=True, kw_only=True):
    """k8s.cni.cncf.io/v1 NetworkAttachmentDefinition."""

    spec: NetworkAttachmentSpec = NetworkAttachmentSpec()


class BadAnnotation(ValueError):
    """The annotation is malformed; the message says what is wrong, why, and what to do."""


class Request(NamedTuple):
    """One attachment that a Pod requests."""

    network: str
    interface: str
    """Requested name in the Pod; empty if the plugin chooses it."""


class Report(NamedTuple):
    """One attachment that a plugin has reported."""

    network: str
    """For the cluster's own network, whatever name the plugin reports."""

    interface: str
    default: bool
    """The attachment is to the cluster's own network."""

    addresses: tuple[Address, ...]
    pci: str
    """PCI address of the device, if it has one: "0000:03:00.2"."""

    representor: str
    """Name of the device on the host, if the plugin reports it."""


class Plugin(NamedTuple):
    """What Sluice reads from a network's configuration."""

    type: str
    """Type of the first plugin; empty if unknown."""

    tagged: bool
    """The interfaces are trunks: frames have VLAN tags."""


UNKNOWN_PLUGIN = Plugin("", False)


class PolicyFor(NamedTuple):
    networks: tuple[str, ...]
    """Without duplicates, in the order of the annotation."""

    wrong: tuple[str, ...]
    """Why items were skipped: what is wrong, why, and what to do."""


def policy_for(text: str, namespace: str) -> PolicyFor:
    """The networks that a policy in the namespace applies to. Never raises; blank items are ignored."""
    networks: list[str] = []
    wrong: list[str] = []
    for item in ("".join(part.split()) for part in text.split(",")):
        if not item:
            continue
        if item.count("/") > 1 or not all(item.split("/")):
            wrong.append(f'"{item}" is not a network; write NAME or NAMESPACE/NAME')
        else:
            networks.append(_full(item, namespace))
    return PolicyFor(tuple(dict.fromkeys(networks)), tuple(wrong))


def requests(text: str, namespace: str) -> tuple[Request, ...]:
    """The requests of a Pod in the namespace: a JSON list, or `net`, `ns/net`, `net@interface` separated by commas.

    Raises:
        BadAnnotation: it is neither.
    """
    if not text.strip():
        return ()
    if any(char in text for char in '[{"'):  # how Multus distinguishes the two forms
        return tuple(_requested(each, namespace) for each in _list(text, list[_Selection]))
    found = []
    for item in (part.strip() for part in text.split(",")):
        network, at, interface = item.partition("@")
        if not network or network.count("/") > 1 or not all(network.split("/")) or (at and not interface):
            raise BadAnnotation(f'"{item}" is not a network; write NAME or NAMESPACE/NAME, optionally with @INTERFACE')
        found.append(Request(_full(network, namespace), interface))
    return tuple(found)


def reports(text: str, namespace: str) -> tuple[Report, ...]:
    """What is attached to a Pod in the namespace. Prefix lengths of addresses are ignored.

    Raises:
        BadAnnotation: it is not a JSON list of attachments.
    """
    if not text.strip():
        return ()
    return tuple(_reported(each, namespace) for each in _list(text, list[_Status]))


def plugin(config: str) -> Plugin:
    """Read the configuration of a network.

    Raises:
        BadAnnotation: it is neither a CNI configuration nor a list of them, as JSON.
    """
    if not config.strip():
        return UNKNOWN_PLUGIN
    conf = _conf(config)
    if "plugins" in conf:
        listed = conf["plugins"]
        if not isinstance(listed, list) or not listed or not isinstance(listed[0], dict):
            raise BadAnnotation("plugins is not a list of configurations, or is empty; give it at least one")
        conf = listed[0]
    named = conf.get("type")
    if not isinstance(named, str) or not named:
        raise BadAnnotation("no type, so the plugin is unknown; give its type")
    return Plugin(named, any(conf.get(field) for field in ("trunk", "vlanTrunk")))


class _Selection(Struct, frozen=True):
    name: str
    namespace: str | None = None
    interface: str | None = None


class _Pci(Struct, frozen=True, rename="kebab"):
    pci_address: str | None = None
    representor_device: str | None = None


class _Device(Struct, frozen=True):
    pci: _Pci | None = None
    vdpa: _Pci | None = None


class _Status(Struct, frozen=True, rename="kebab"):
    name: str
    interface: str | None = None
    ips: list[str] | None = None
    default: bool | None = None
    device_info: _Device | None = None


def _requested(each: _Selection, namespace: str) -> Request:
    if not each.name:
        raise BadAnnotation("an attachment without a name; name its network")
    network = each.name if each.namespace is None else f"{each.namespace}/{each.name}"
    return Request(_full(network, namespace), each.interface or "")


def _reported(each: _Status, namespace: str) -> Report:
    device = each.device_info or _Device()
    pci = device.pci or device.vdpa or _Pci()
    return Report(
        network=_full(each.name, namespace),
        interface=each.interface or "",
        default=bool(each.default),
        addresses=tuple(dict.fromkeys(_address(text) for text in each.ips or ())),
        pci=pci.pci_address or "",
        representor=pci.representor_device or "",
    )


def _full(network: str, namespace: str) -> str:
    return network if "/" in network else f"{namespace}/{network}"


def _address(text: str) -> Address:
    try:
        return Address(str(ip_interface(text.strip()).ip))
    except ValueError as error:
        raise BadAnnotation(f'"{text}" is not an address; write it as 10.0.0.7 or 10.0.0.7/24') from error


def _list(text: str, type_: type[list[Any]]) -> list[Any]:
    try:
        made: list[Any] = msgspec.json.decode(text, type=type_)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise BadAnnotation(f"not a list of attachments in JSON: {error}; correct it") from error
    return made


def _conf(config: str) -> dict[str, Any]:
    try:
        conf = msgspec.json.decode(config)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise BadAnnotation(f"not JSON: {error}; write a CNI configuration") from error
    if not isinstance(conf, dict):
        raise BadAnnotation("not a map; write a CNI configuration, or a list of them under plugins")
    return conf
