"""Pods in Namespaces of other shards, kept undecoded until one of this shard's groups may select them.

Only two things about such a Pod matter: its addresses, because it may claim the address of a group member, and its
node, because the shard may have to list all Pods of that node. One regular expression finds both for a whole batch of
bodies, and no objects are created: on P1's objects, one of two shards is a fifth smaller, spends 5.5 us on such a Pod
instead of 6.5, and 4 % less in all.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

from sluice.contracts import codec
from sluice.contracts.groups import Member
from sluice.contracts.ids import Address, NodeName, Uid
from sluice.contracts.objects import Container, Kube, ObjectMeta, Pod, PodIP, PodSpec, PodStatus
from sluice.grouping.events import ObjectKey
from sluice.grouping.members import member_of, named_ports

Sighting = tuple[NodeName, Address, Address]
"""The node, first and second address of a Pod on the Pod network. The second is empty if there is only one."""


class _Meta(Kube, frozen=True):
    uid: str = ""


class _Spec(Kube, frozen=True):
    containers: tuple[Container, ...] = ()


class _Self(Kube, frozen=True):
    """The fields of a Pod that a member has, but for the addresses. It decodes in less than half the time."""

    metadata: _Meta = _Meta()
    spec: _Spec = _Spec()


class Bystander(Struct, frozen=True, gc=False):
    """An undecoded Pod on the Pod network, without interfaces on secondary networks."""

    id: ObjectKey
    seen: Sighting
    body: bytes

    @property
    def key(self) -> tuple[str, str]:
        """As `Pod.key`."""
        return self.id.namespace, self.id.name

    @property
    def node(self) -> NodeName:
        return self.seen[0]

    @property
    def addresses(self) -> tuple[Address, ...]:
        """As `Pod.addresses`."""
        _, first, second = self.seen
        return (first,) if second in ("", first) else (first, second)

    @property
    def member(self) -> Member:
        """As `member_of(self.pod)`."""
        try:
            found = codec.decode(self.body, _Self)
        except codec.Undecodable:
            return member_of(self.pod)
        return Member(
            pod=f"{self.id.namespace}/{self.id.name}",
            uid=Uid(found.metadata.uid),
            addresses=self.addresses,
            ports=named_ports(found.spec.containers),
        )

    @property
    def pod(self) -> Pod:
        """The decoded Pod. If it does not decode, a Pod of which only the properties above are known.

        Reporting that it does not decode is left to the shard of its Namespace.
        """
        try:
            return codec.decode(self.body, Pod)
        except codec.Undecodable:
            return Pod(
                api_version="v1",
                kind="Pod",
                metadata=ObjectMeta(namespace=self.id.namespace, name=self.id.name),
                spec=PodSpec(node_name=self.node),
                status=PodStatus(pod_ips=tuple(PodIP(ip=address) for address in self.addresses)),
            )


Aside = Pod | Bystander
"""A Pod that no selected group can select."""


def whole(one: Aside) -> Pod:
    return one if isinstance(one, Pod) else one.pod


_ANNOTATED = '"annotations":{'
"""Interfaces on secondary networks come from annotations."""

_PLAIN = re.compile(
    r'"spec":\{"nodeName":"([^"\\\n]++)"(?:,"serviceAccountName":"[^"\\\n]++")?+(?:,"containers":\[[^\n]*?\])?\},'
    r'"status":\{"phase":"(?:Running|Pending)","podIP":"[^"\\\n]++",'
    r'"podIPs":\[\{"ip":"([^"\\\n]++)"\}(?:,\{"ip":"([^"\\\n]++)"\})?+\]\}\}$',
    re.MULTILINE,
)
"""The end of a Pod as `codec.encode` writes it, with one or two addresses and not on the host network.

Nothing else in a body can match: quotes inside a string are escaped, and the values of labels are strings, not objects.
"""


def sightings(bodies: Sequence[bytes]) -> list[Sighting | None]:
    """What is found in each Pod; None for a Pod that has to be decoded.

    Args:
        bodies: as written by `codec.encode`, the only writer of objects.
    """
    try:
        text = b"\n".join(bodies).decode()
    except UnicodeDecodeError:
        text = ""
    if _ANNOTATED not in text:
        found: list[Sighting | None] = _PLAIN.findall(text)
        if len(found) == len(bodies) == text.count("\n") + 1:  # so each line has exactly one match
            return found
    return [sighting(body) for body in bodies]


def sighting(body: bytes) -> Sighting | None:
    """What is found in one Pod; None if it has to be decoded."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    found = None if _ANNOTATED in text or "\n" in text else _PLAIN.search(text)
    return found.groups(default="") if found else None  # type: ignore[return-value]  # as many as the pattern has
