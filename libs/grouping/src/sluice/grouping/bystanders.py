"""Pods of another shard's Namespaces: kept as the bytes they came as, until a group can have them.

Of such a Pod two things count: its addresses, for it may claim that of somebody who is in a group, and its node, of
which the shard may have to list all Pods. Both are found in the bodies of a whole batch at once. A third of the time
goes into that which decoding each would take, and the objects are not made.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

from sluice.contracts import codec
from sluice.contracts.ids import Address, NodeName
from sluice.contracts.objects import ObjectMeta, Pod, PodIP, PodSpec, PodStatus


class Bystander(Struct, frozen=True, gc=False):
    """A Pod on the Pod network, without interfaces on secondary networks, that nobody has decoded."""

    namespace: str
    name: str
    node: NodeName
    addresses: tuple[Address, ...]
    """As `Pod.addresses`."""

    body: bytes

    @property
    def pod(self) -> Pod:
        """The Pod. Of one that cannot be read, which the shard of its Namespace reports, it is what was seen of it."""
        try:
            return codec.decode(self.body, Pod)
        except codec.Undecodable:
            return Pod(
                api_version="v1",
                kind="Pod",
                metadata=ObjectMeta(namespace=self.namespace, name=self.name),
                spec=PodSpec(node_name=self.node),
                status=PodStatus(pod_ips=tuple(PodIP(ip=address) for address in self.addresses)),
            )


Aside = Pod | Bystander
"""A Pod that no group can have."""


def whole(one: Aside) -> Pod:
    return one if isinstance(one, Pod) else one.pod


def key_of_aside(one: Aside) -> tuple[str, str]:
    """Its Namespace and name."""
    return one.key if isinstance(one, Pod) else (one.namespace, one.name)


Sighting = tuple[NodeName, Address, Address]
"""What was found of a Pod on the Pod network: its node and its addresses. The second is empty where there is none."""


_ANNOTATED = '"annotations":{'
"""Interfaces are made of them."""

_PLAIN = re.compile(
    r'"spec":\{"nodeName":"([^"\\\n]+)"(?:,"serviceAccountName":"[^"\\\n]+")?(?:,"containers":\[[^\n]*?\])?\},'
    r'"status":\{"phase":"(?:Running|Pending)","podIP":"[^"\\\n]+",'
    r'"podIPs":\[\{"ip":"([^"\\\n]+)"\}(?:,\{"ip":"([^"\\\n]+)"\})?\]\}\}$',
    re.MULTILINE,
)
"""How a Pod with one or two addresses ends, as `codec.encode` writes it, when it is not in the host's network.

Nothing else in a body looks like that: inside of a string each quote has a backslash before it, and what labels and
annotations have after a key is a string, not an object.
"""


def sightings(bodies: Sequence[bytes]) -> list[Sighting | None]:
    """What is found in each of these Pods; None of one that has to be decoded.

    Args:
        bodies: as `codec.encode` writes them, and nobody else writes objects.
    """
    try:
        text = b"\n".join(bodies).decode()
    except UnicodeDecodeError:
        text = ""
    if _ANNOTATED not in text:
        found: list[Sighting | None] = _PLAIN.findall(text)
        if len(found) == len(bodies) == text.count("\n") + 1:  # so there is one on each line
            return found
    return [sighting(body) for body in bodies]


def sighting(body: bytes) -> Sighting | None:
    """What is found in this one."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    found = None if _ANNOTATED in text or "\n" in text else _PLAIN.search(text)
    return found.groups(default="") if found else None  # type: ignore[return-value]  # as many as the pattern has
