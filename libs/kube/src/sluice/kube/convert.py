"""Converts nodes to objects, and objects to message bodies."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import msgspec
from msgspec.structs import replace

from sluice.contracts import codec, known_part
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
from sluice.kube.nodes import Map, Node, is_null, literal, plain

DEFAULT_NAMESPACE = "default"
"""Namespace of a namespaced object that names none, as in kubectl."""

NAME_LABEL = "kubernetes.io/metadata.name"
"""Label with its own name, which the API server sets on each Namespace (since Kubernetes 1.21)."""

ANTREA_NAME_LABEL = "antrea.io/metadata.name"
"""The label that Antrea's `/mutate/namespace` webhook writes. Selectors see both on every Namespace."""

ANNOTATIONS: Mapping[Kind, frozenset[str]] = {
    Kind.NAMESPACE: frozenset((ENABLE_LOGGING,)),
    Kind.NODE: frozenset((TRANSPORT_ADDRESS,)),
    Kind.POD: POD_ANNOTATIONS,
}
"""The annotations that are kept for kinds that are trimmed."""


_BOOKKEEPING = ("managedFields", "resourceVersion", "selfLink")
"""Metadata that changes whenever a status is written, and says nothing about the object."""


def to_object(kind: Kind, node: Node) -> AnyObject:
    """The object, with the defaults of the API server and addresses in canonical text.

    Raises:
        msgspec.ValidationError: the node does not have the shape of the kind; `schema.findings` says more.
    """
    made: AnyObject = msgspec.convert(plain(node), TYPES[kind])
    return normalised(kind, made)


def normalised(kind: Kind, made: AnyObject) -> AnyObject:
    """The object with the defaults of the API server and canonical addresses, in the fields that we read."""
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
    """The object with this uid."""
    return replace(made, metadata=replace(made.metadata, uid=uid))


def trimmed(made: AnyObject) -> AnyObject:
    """The object without the generation, which changes and is not needed."""
    return replace(made, metadata=replace(made.metadata, generation=0)) if made.metadata.generation else made


def body_of(kind: Kind, made: AnyObject, node: Node) -> bytes:
    """The message body: written kinds whole (except status and bookkeeping), others with the fields that we read."""
    if not RESOURCES[kind].written:
        return codec.encode(trimmed(made))
    return _whole(made, plain(node))


def known_part_of(kind: Kind, node: Map) -> tuple[AnyObject, bytes]:
    """What is known of a policy as an API server serves it, and the message body, which is whole.

    The body keeps every null of the spec: in a selector, leaving one out would select more.

    Raises:
        msgspec.ValidationError: not even a part of the policy is known.
    """
    whole: Any = plain(node)  # Any: JSON
    spec = node.entries.get("spec")
    if spec is not None and not is_null(spec.node):
        whole["spec"] = literal(spec.node)
    made = normalised(kind, known_part.convert(kind, whole))
    return made, _whole(made, whole)


def _whole(made: AnyObject, whole: Any) -> bytes:  # Any: JSON
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


@lru_cache(maxsize=256)  # a Pod lists each of its addresses twice
def _address(written: str) -> str:
    """Canonical text; what is not an address is left as it is, for admission to refuse."""
    try:
        return str(ip_address(written))
    except ValueError:
        return written
