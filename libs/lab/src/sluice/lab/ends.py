"""Where probes and connections begin and end, by the names used in scenarios.

    x/a                a Pod                              node:node-1        a node
    external:outside   a host outside the cluster         svc:y/web          a Service, by its ClusterIP
    nodeport:y/web     a Service, by a port of the first node (nodeport:y/web@node-2: of another)
    fqdn:www.a.com     the addresses that the lab's DNS has for a name
    x/a@x/net          a Pod's interface on a secondary network; `x/a@net` if it is in the Pod's namespace

A probe's source may be the bare name of a host outside the cluster. To add a kind of end: add its prefix to `BEGINS` or
`ENDS`, its addresses to `ends_of`, and its packets to `reasons`.
"""

from collections.abc import Iterator, Mapping

from sluice.contracts.ids import Address, NodeName, Uid
from sluice.contracts.objects import Pod
from sluice.contracts.services import Service
from sluice.grouping.attachments import interfaces_of
from sluice.lab.addresses import runs
from sluice.lab.services import is_headless
from sluice.lab.world import Placed, World, ports_of

Ends = Mapping[str, Placed]
"""By namespace/name, or by name with prefix."""

NODE_END = "node:"
EXTERNAL_END = "external:"
SERVICE_END = "svc:"
NODE_PORT_END = "nodeport:"
NAME_END = "fqdn:"
"""Prefixes of ends that are not Pods."""

AT = "@"
"""Separates a Pod from the network of its interface."""

POD = ""
"""Pods have no prefix."""

BEGINS = frozenset({POD, NODE_END, EXTERNAL_END})
"""Kinds of ends that can send packets."""

ENDS = frozenset({POD, NODE_END, EXTERNAL_END, SERVICE_END, NODE_PORT_END, NAME_END})
"""Kinds of ends that packets can be sent to."""


def prefix(name: str) -> str:
    """The kind of end: the name's prefix with the colon; a bare name is a host outside the cluster."""
    before, colon, _ = name.partition(":")
    if colon:
        return before + colon
    return POD if "/" in name else EXTERNAL_END


def end_of(ends: Ends, name: str) -> Placed | None:
    """The end of this name, or None."""
    pod, at, network = name.partition(AT)
    if at and "/" not in network and prefix(name) == POD:
        return ends.get(f"{pod}{AT}{pod.partition('/')[0]}/{network}")
    return ends.get(name) or ends.get(prefix(name) + name)


def ends_of(world: World) -> dict[str, Placed]:
    """All ends: Pods, nodes, hosts outside the cluster, DNS names and Services.

    For nodes, the addresses that they send to Pods from come before those that others send to.

    Also interfaces on secondary networks, as `x/a@x/net`: the first one that the Pod has there.
    """
    nodes = {f"{NODE_END}{name}": (name, (*world.gateways(name), *world.node_addresses(name))) for name in world.nodes}
    others = {f"{EXTERNAL_END}{name}": (NodeName(""), (address,)) for name, address in world.externals.items()}
    named = {f"{NAME_END}{name}": (NodeName(""), addresses) for name, addresses in world.names.items()}
    return (
        world.pods()
        | _interfaces(world)
        | {
            end: Placed(end, Uid(""), node, addresses, (), host_network=True)
            for end, (node, addresses) in (nodes | others | named).items()
        }
        | dict(_services(world))
    )


def _services(world: World) -> Iterator[tuple[str, Placed]]:
    """By their ClusterIPs, and by NodePorts of the first node or, with `@` and a node's name, of any."""
    for document in world.objects.values():
        service = document.object
        if not isinstance(service, Service) or is_headless(service):
            continue
        name = "/".join(service.key)
        end = f"{SERVICE_END}{name}"
        addresses = tuple(map(Address, service.spec.cluster_ips))
        ports = tuple(port.port for port in service.spec.ports)
        yield end, Placed(end, Uid(""), NodeName(""), addresses, ports, host_network=True)
        by_node = tuple(port.node_port for port in service.spec.ports if port.node_port)
        for at, node in ((f"@{node}", node) for node in world.nodes) if by_node else ():
            for suffix in (at, "") if node == world.nodes[0] else (at,):
                end = f"{NODE_PORT_END}{name}{suffix}"
                yield end, Placed(end, Uid(""), node, world.node_addresses(node), by_node, host_network=True)


def _interfaces(world: World) -> dict[str, Placed]:
    found: dict[str, Placed] = {}
    for document in world.objects.values():
        pod = document.object
        if not isinstance(pod, Pod) or not runs(pod):
            continue
        for one in interfaces_of(pod):
            end = f"{one.pod}{AT}{one.attachment.network}"
            if one.addresses and end not in found:
                found[end] = Placed(end, pod.uid, pod.node, one.addresses, ports_of(pod), host_network=False)
    return found
