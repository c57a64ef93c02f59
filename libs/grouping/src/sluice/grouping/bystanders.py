"""Pods in Namespaces of other shards, not decoded whole until one of this shard's groups may select them.

Such a Pod matters because it may claim the address of a group member, and because the shard may have to list all Pods
of its node. The fields that both need decode in less than two thirds of the time of the whole Pod.
"""

from typing import Annotated, Literal

from msgspec import Meta, MsgspecError, Struct, field

from sluice.contracts import codec
from sluice.contracts.groups import Member
from sluice.contracts.ids import Address, NodeName, Revision, Uid
from sluice.contracts.objects import Container, Kube, ObjectMeta, Pod, PodIP, PodSpec, PodStatus
from sluice.grouping import events
from sluice.grouping.events import ObjectEvent, ObjectKey
from sluice.grouping.members import named_ports


class _Meta(Kube, frozen=True):
    uid: Uid = Uid("")
    annotations: None = None
    """Refused, since they may give the Pod interfaces on secondary networks."""


class _Spec(Kube, frozen=True):
    node_name: Annotated[NodeName, Meta(min_length=1)]
    host_network: None = None
    containers: tuple[Container, ...] = ()


class _Status(Kube, frozen=True):
    phase: Literal["Pending", "Running"]
    pod_ips: Annotated[tuple[PodIP, ...], Meta(min_length=1)] = field(name="podIPs")


class _Plain(Kube, frozen=True):
    """What matters of a Pod. Only one that can be a bystander decodes."""

    metadata: _Meta
    spec: _Spec
    status: _Status


_decode = codec.decoder(_Plain)


class Bystander(Struct, frozen=True, gc=False):
    """A Pod on the Pod network as of a revision, with addresses and without annotations."""

    key: ObjectKey
    revision: Revision
    node: NodeName
    addresses: tuple[Address, ...]
    """As `Pod.addresses`."""

    uid: Uid
    containers: tuple[Container, ...]
    body: bytes

    @property
    def member(self) -> Member:
        """As `member_of(self.pod)`."""
        _, namespace, name = self.key
        ports = named_ports(self.containers) if self.containers else ()
        return Member(pod=f"{namespace}/{name}", uid=self.uid, addresses=self.addresses, ports=ports)

    @property
    def pod(self) -> Pod:
        """The decoded Pod. If it does not decode, a Pod of which only the properties above are known.

        Reporting that it does not decode is left to the shard of its Namespace.
        """
        try:
            return codec.decode(self.body, Pod)
        except codec.Undecodable:
            _, namespace, name = self.key
            return Pod(
                api_version="v1",
                kind="Pod",
                metadata=ObjectMeta(namespace=namespace, name=name, uid=self.uid),
                spec=PodSpec(node_name=self.node, containers=self.containers),
                status=PodStatus(pod_ips=tuple(PodIP(ip=address) for address in self.addresses)),
            )


Aside = Pod | Bystander
"""A Pod that no selected group can select."""


def is_same(one: Aside, other: Aside) -> bool:
    """The Pod has not changed."""
    if isinstance(one, Bystander) and isinstance(other, Bystander):
        return one.body == other.body
    return one == other


def whole(one: Aside) -> Pod:
    return one if isinstance(one, Pod) else one.pod


def read(key: ObjectKey, body: bytes, revision: Revision) -> ObjectEvent | Bystander:
    """A version of a Pod: a bystander if it can be one.

    Args:
        body: as written by `codec.encode`, the only writer of objects: what is not set is not there.

    Raises:
        Undecodable: it is not a Pod.
    """
    try:
        seen = _decode(body)
    except (MsgspecError, RecursionError):
        return events.read(key, body, revision)
    spec, ips = seen.spec, seen.status.pod_ips
    addresses = (ips[0].ip,) if len(ips) == 1 else tuple(dict.fromkeys([each.ip for each in ips]))
    return Bystander(key, revision, spec.node_name, addresses, seen.metadata.uid, spec.containers, body)
