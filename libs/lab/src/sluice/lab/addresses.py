"""Addresses of nodes and Pods, where their objects name none."""

from collections import Counter
from ipaddress import IPv4Network, ip_network

from msgspec.structs import replace

from sluice.contracts.ids import Address
from sluice.contracts.objects import Node, NodeAddress, NodeSpec, NodeStatus, Pod

POD_RANGE = IPv4Network("10.64.0.0/10")
"""Pod addresses, unless the Node says otherwise. Those of the 1,025th node and later ones are beyond it."""

NODE_BITS = 12
"""A node's range is a /20: room for 4,093 Pods."""

NODE_RANGE = IPv4Network("192.168.77.0/24")
"""Node addresses, unless the Node says otherwise. Those of the 247th node and later ones are beyond it."""

RESERVED = 2
"""Addresses not given out: the network's own, and the one usually taken for a gateway."""


def addressed(node: Node, place: int) -> Node:
    """The Node with addresses and ranges: its own, or those of this place among the nodes."""
    addresses = node.status.addresses or (
        NodeAddress(type="InternalIP", address=str(NODE_RANGE[10] + place)),
        NodeAddress(type="Hostname", address=node.metadata.name),
    )
    cidrs = node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())
    cidrs = cidrs or (f"{POD_RANGE[0] + (place << NODE_BITS)}/{32 - NODE_BITS}",)
    return replace(node, spec=NodeSpec(pod_cidr=cidrs[0], pod_cidrs=cidrs), status=NodeStatus(addresses=addresses))


def runs(pod: Pod) -> bool:
    """Whether the Pod has not ended."""
    return pod.status.phase not in ("Succeeded", "Failed")


class NoneLeft(ValueError):
    """All addresses of a range are taken. The message says which range, and what to do."""


class Taken:
    """The addresses of Pods that run."""

    def __init__(self) -> None:
        self._holders: Counter[Address] = Counter()
        self._next: dict[str, int] = {}

    def add(self, obj: object) -> None:
        """Does nothing unless it is a Pod that runs."""
        self._holders.update(_had_by(obj))

    def remove(self, obj: object) -> None:
        """The opposite of `add`."""
        self._holders.subtract(_had_by(obj))

    def free(self, cidr: str) -> Address:
        """The next address of the range; addresses are not reused soon.

        Raises:
            NoneLeft
        """
        network = ip_network(cidr, strict=False)
        for _ in range(network.num_addresses - RESERVED):
            offset = self._next.get(cidr, RESERVED)
            self._next[cidr] = offset + 1 if offset + 2 < network.num_addresses else RESERVED
            if self._holders[address := Address(str(network[offset]))] <= 0:
                return address
        raise NoneLeft(f"no address is left in {cidr}: give the Node a larger spec.podCIDR")


def _had_by(obj: object) -> tuple[Address, ...]:
    return obj.addresses if isinstance(obj, Pod) and runs(obj) else ()
