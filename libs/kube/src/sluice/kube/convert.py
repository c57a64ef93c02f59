"""Nodes to objects, and objects to what travels."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import msgspec
from msgspec.structs import replace

from sluice.contracts import codec
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.networks import POD_ANNOTATIONS
from sluice.contracts.objects import (
    ENABLE_LOGGING,
    TRANSPORT_ADDRESS,
    TYPES,
    AnyObject,
    Namespace,
    ObjectMeta,
    Pod,
    PodStatus,
)
from sluice.kube.nodes import Node, plain

DEFAULT_NAMESPACE = "default"
"""Of a namespaced object that names none, as kubectl has it."""

NAME_LABEL = "kubernetes.io/metadata.name"
"""The label with its own name that the API server gives each Namespace (since Kubernetes 1.21)."""

ANTREA_NAME_LABEL = "antrea.io/metadata.name"
"""The one that Antrea's `/mutate/namespace` webhook writes. Selectors see both on every Namespace."""

ANNOTATIONS: Mapping[Kind, frozenset[str]] = {
    Kind.NAMESPACE: frozenset((ENABLE_LOGGING,)),
    Kind.NODE: frozenset((TRANSPORT_ADDRESS,)),
    Kind.POD: POD_ANNOTATIONS,
}
"""Those that are kept of kinds that are trimmed."""


_BOOKKEEPING = ("managedFields", "resourceVersion", "selfLink")
"""Metadata that changes with every write of a status, and says nothing about the object."""


def to_object(kind: Kind, node: Node) -> AnyObject:
    """The object, with the defaults of the API server and addresses in canonical text.

    Raises:
        msgspec.ValidationError: the node has not the shape of the kind; `schema.findings` says more.
    """
    made: AnyObject = msgspec.convert(plain(node), TYPES[kind])
    return normalised(kind, made)


def normalised(kind: Kind, made: AnyObject) -> AnyObject:
    """The object with the defaults of the API server and addresses in canonical text, as far as it is read."""
    if RESOURCES[kind].namespaced and not made.metadata.namespace:
        made = replace(made, metadata=replace(made.metadata, namespace=DEFAULT_NAMESPACE))
    if made.metadata.annotations and not RESOURCES[kind].written:
        read = ANNOTATIONS.get(kind, frozenset())
        kept = {name: value for name, value in made.metadata.annotations.items() if name in read}
        made = replace(made, metadata=replace(made.metadata, annotations=kept))
    match made:
        case Namespace(metadata=metadata):
            named = {NAME_LABEL: metadata.name, ANTREA_NAME_LABEL: metadata.name}
            return replace(made, metadata=replace(metadata, labels={**metadata.labels, **named}))
        case Pod(status=status):
            return replace(made, status=_canonical(status))
        case _:
            return made


def with_uid(made: AnyObject, uid: str) -> AnyObject:
    """The object, known as this uid."""
    return replace(made, metadata=replace(made.metadata, uid=uid))


def trimmed(made: AnyObject) -> AnyObject:
    """The object without what changes and nobody reads."""
    return replace(made, metadata=replace(made.metadata, generation=0)) if made.metadata.generation else made


def body_of(kind: Kind, made: AnyObject, node: Node) -> bytes:
    """What travels: written kinds whole (but for status and bookkeeping), others as far as we read them."""
    if not RESOURCES[kind].written:
        return codec.encode(trimmed(made))
    whole: Any = plain(node)  # Any: JSON
    whole.pop("status", None)
    for bookkeeping in _BOOKKEEPING:
        whole["metadata"].pop(bookkeeping, None)
    whole["metadata"].update(_defaulted(made.metadata))
    return codec.encode(whole)


def _defaulted(metadata: ObjectMeta) -> dict[str, str]:
    return {name: value for name, value in (("namespace", metadata.namespace), ("uid", metadata.uid)) if value}


def _canonical(status: PodStatus) -> PodStatus:
    listed = tuple(replace(entry, ip=_address(entry.ip)) for entry in status.pod_ips)
    return replace(status, pod_ip=_address(status.pod_ip), pod_ips=listed)


@lru_cache(maxsize=256)  # a Pod says each of its addresses twice
def _address(written: str) -> str:
    """Canonical text; what is no address stays as it is, for admission to refuse."""
    try:
        return str(ip_address(written))
    except ValueError:
        return written
