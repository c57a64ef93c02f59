"""The two ends of a packet, resolved against the state of the cluster."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple, assert_never

from sluice.contracts.ids import Address, GroupId
from sluice.contracts.objects import Node, Pod
from sluice.policy.packet import SERVICE_PREFIX, AddressEnd, End, Family, Packet, PodEnd, ServiceEnd
from sluice.policy.state import ClusterState


class NoSuchEnd(ValueError):
    """The packet cannot exist; the message says which end, why, and what to do."""


class Side(NamedTuple):
    pod: Pod | None
    """Unset if the end is no Pod, or a Pod that is not on the Pod network."""

    groups: frozenset[GroupId]
    """Groups of the Pod, or else of the nodes that have the address."""

    address: Address | None
    node: Node | None = None
    """The node that has the address, if no Pod has it."""


def sides(state: ClusterState, packet: Packet) -> tuple[Side, Side]:
    """Both ends, with addresses of the same family where they have addresses."""
    ends = packet.source, packet.destination
    (source, from_), (destination, to) = (_addresses(state, end) for end in ends)
    families: list[Family] = [packet.family] if packet.family else _families(from_) or _families(to)
    for family in families:
        if (not from_ or family in _families(from_)) and (not to or family in _families(to)):
            return _side(state, source, _of_family(from_, family)), _side(state, destination, _of_family(to, family))
    if not families:
        return _side(state, source, None), _side(state, destination, None)
    raise NoSuchEnd(
        f"{_text(ends[0])} ({', '.join(from_)}) to {_text(ends[1])} ({', '.join(to)}): no addresses of the same "
        f"family{f' (IPv{packet.family})' if packet.family else ''}, so no packet can go between them; give "
        "both such an address, or ask about another packet"
    )


def _addresses(state: ClusterState, end: End) -> tuple[Pod | None, tuple[Address, ...]]:
    """The Pod on the Pod network at this end, if any, and the addresses that the end can have in the packet."""
    match end:
        case AddressEnd():
            return state.holder(end.address), (end.address,)
        case PodEnd():
            pod = state.pods.get((end.namespace, end.name))
            if pod is None:
                raise NoSuchEnd(f"{_text(end)}: no such Pod among the objects; check its name and Namespace")
            if pod.on_pod_network:
                return pod, tuple(one for one in pod.addresses if state.holder(one) is pod)
            if pod.spec.host_network and pod.addresses:
                return None, pod.addresses
            raise NoSuchEnd(
                f"{_text(end)}: the Pod sends and receives nothing: it has ended, or has no node or no address; "
                "check spec.nodeName and status"
            )
        case ServiceEnd():
            raise NoSuchEnd(f"{_text(end)}: a Service sends no packets itself; name one of its Pods")
        case _:
            assert_never(end)


def _side(state: ClusterState, pod: Pod | None, address: Address | None) -> Side:
    if pod is not None:
        return Side(pod, state.groups_of(pod), address)
    if address is None:
        return Side(None, frozenset(), address)
    return Side(None, state.groups_at(address), address, state.node_at(address))


def _families(addresses: Iterable[Address]) -> list[Family]:
    return list(dict.fromkeys(_family(address) for address in addresses))


def _family(address: Address) -> Family:
    return 4 if ip_address(address).version == 4 else 6


def _of_family(addresses: Iterable[Address], family: Family) -> Address | None:
    return next((address for address in addresses if _family(address) == family), None)


def _text(end: End) -> str:
    match end:
        case AddressEnd():
            return end.address
        case PodEnd():
            return f"{end.namespace}/{end.name}"
        case ServiceEnd():
            return f"{SERVICE_PREFIX}{end.namespace}/{end.name}"
        case _:
            assert_never(end)
