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
"""On Pods: the networks to attach."""

STATUS = "k8s.v1.cni.cncf.io/network-status"
"""On Pods: what is attached."""

STATUS_BEFORE = "k8s.v1.cni.cncf.io/networks-status"
"""As multus wrote it before version 3.8."""

POLICY_FOR = "k8s.v1.cni.cncf.io/policy-for"
"""On MultiNetworkPolicies: the networks that they are about."""

POD_ANNOTATIONS = frozenset((NETWORKS, STATUS, STATUS_BEFORE))
"""What we read of a Pod's annotations; the others do not travel."""


class NetworkAttachmentSpec(Kube, frozen=True, kw_only=True):
    config: str = ""
    """JSON of a CNI configuration, or of a list of them. Empty: in a file on each node, which we do not see."""


class NetworkAttachmentDefinition(Object, frozen=True, kw_only=True):
    """k8s.cni.cncf.io/v1 NetworkAttachmentDefinition."""

    spec: NetworkAttachmentSpec = NetworkAttachmentSpec()


class BadAnnotation(ValueError):
    """The text is not what the annotation holds: what, why and what to do."""


class Request(NamedTuple):
    """One attachment that a Pod asks for."""

    network: str
    interface: str
    """As it is to be called in the Pod; empty where that is left to the plugin."""


class Report(NamedTuple):
    """One attachment that a Pod has."""

    network: str
    """Of the cluster's own network whatever the plugin calls it."""

    interface: str
    default: bool
    """It is the cluster's own network."""

    addresses: tuple[Address, ...]
    pci: str
    """PCI address of the device, if it is one: "0000:03:00.2"."""

    representor: str
    """The device's name on the host, where the plugin tells."""


class Plugin(NamedTuple):
    """What a network's configuration says to us."""

    type: str
    """Of the first plugin; empty where that is not known."""

    tagged: bool
    """Interfaces are trunks: frames have VLAN tags."""


UNKNOWN_PLUGIN = Plugin("", False)


class PolicyFor(NamedTuple):
    networks: tuple[str, ...]
    """Each once, in the order of the annotation."""

    wrong: tuple[str, ...]
    """What is wrong with items that are left out: what, why and what to do."""


def policy_for(text: str, namespace: str) -> PolicyFor:
    """The networks that a policy of the namespace is about. Never raises; blank items mean nothing."""
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
    """What a Pod of the namespace asks for: `net`, `ns/net`, `net@interface`, a comma between, or a list in JSON.

    Raises:
        BadAnnotation: it is neither.
    """
    if not text.strip():
        return ()
    if any(char in text for char in '[{"'):  # as multus tells the two apart
        return tuple(_requested(each, namespace) for each in _list(text, list[_Selection]))
    found = []
    for item in (part.strip() for part in text.split(",")):
        network, at, interface = item.partition("@")
        if not network or network.count("/") > 1 or not all(network.split("/")) or (at and not interface):
            raise BadAnnotation(f'"{item}" is not a network; write NAME or NAMESPACE/NAME, perhaps with @INTERFACE')
        found.append(Request(_full(network, namespace), interface))
    return tuple(found)


def reports(text: str, namespace: str) -> tuple[Report, ...]:
    """What is attached to a Pod of the namespace. Addresses may have a prefix length, which says nothing here.

    Raises:
        BadAnnotation: it is not a list of attachments in JSON.
    """
    if not text.strip():
        return ()
    return tuple(_reported(each, namespace) for each in _list(text, list[_Status]))


def plugin(config: str) -> Plugin:
    """What a network's configuration says.

    Raises:
        BadAnnotation: it is neither a CNI configuration nor a list of them, in JSON.
    """
    if not config.strip():
        return UNKNOWN_PLUGIN
    conf = _conf(config)
    if "plugins" in conf:
        listed = conf["plugins"]
        if not isinstance(listed, list) or not listed or not isinstance(listed[0], dict):
            raise BadAnnotation("plugins is no list of configurations; give it at least one")
        conf = listed[0]
    named = conf.get("type")
    if not isinstance(named, str) or not named:
        raise BadAnnotation("no type, so nobody knows the plugin; name it")
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
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise BadAnnotation(f"not a list of attachments in JSON: {error}; correct it") from error
    return made


def _conf(config: str) -> dict[str, Any]:
    try:
        conf = msgspec.json.decode(config)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise BadAnnotation(f"not JSON: {error}; write a CNI configuration") from error
    if not isinstance(conf, dict):
        raise BadAnnotation("not a map; write a CNI configuration, or a list of them under plugins")
    return conf
