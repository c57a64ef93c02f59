"""The route to each node: its addresses, its Pod CIDRs, and its Pods outside of them. No I/O."""

import contextlib
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from sluice.contracts.groups import Member, NodeRoute
from sluice.contracts.ids import Address, NodeName, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Node
from sluice.grouping.events import Newest, ObjectEvent

Network = IPv4Network | IPv6Network

INTERNAL = "InternalIP"
"""The type of address by which other nodes reach a node. Source: Kubernetes API, core/v1 NodeAddress."""


class Routes:
    """A fold of Nodes. A node without a Node object has no route, even if Pods name it."""

    def __init__(self) -> None:
        self._newest = Newest()
        self._nodes: dict[NodeName, Node] = {}
        self._changed: set[NodeName] = set()

    def evolve(self, event: ObjectEvent) -> None:
        """Take the event in. Never raises: late and repeated events are absorbed, and so are those of other kinds."""
        if event.key.kind is not Kind.NODE or not self._newest.is_news(event.key, event.revision):
            return
        name = NodeName(event.key.name)
        before = self._nodes.pop(name, None)
        if isinstance(event.object, Node):
            self._nodes[name] = event.object
        if before != event.object:
            self._changed.add(name)

    def settle(self, upto: Revision) -> None:
        """Everything up to this revision was seen; see `events.Newest.settle`."""
        self._newest.settle(upto)

    def drain(self) -> set[NodeName]:
        """Nodes that changed since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    def has(self, node: NodeName) -> bool:
        return node in self._nodes

    def route(self, name: NodeName, pods: Iterable[Member], cause: Revision) -> NodeRoute | None:
        """The route to the node, which runs these Pods; None if there is no such node.

        Unreadable addresses and CIDRs are left out: nothing could be reached by them.
        """
        node = self._nodes.get(name)
        if node is None:
            return None
        internal = {
            found for each in node.status.addresses if each.type == INTERNAL for found in _address(each.address)
        }
        written = node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())
        networks = {found for each in written for found in _network(each)}
        strays = {each for pod in pods for each in pod.addresses if not _inside(each, networks)}
        return NodeRoute(
            node=name,
            cause=cause,
            addresses=tuple(sorted(internal)),
            pod_cidrs=tuple(sorted(map(str, networks))),
            strays=tuple(sorted(strays)),
        )


def _inside(text: Address, networks: Iterable[Network]) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return True  # not routable anyway; node-ovs reports it
    return any(address in network for network in networks)


def _address(text: str) -> Iterable[Address]:
    with contextlib.suppress(ValueError):
        yield Address(str(ip_address(text)))


def _network(text: str) -> Iterable[Network]:
    with contextlib.suppress(ValueError):
        yield ip_network(text, strict=False)
