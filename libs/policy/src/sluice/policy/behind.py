"""Where a packet to a Service may end up: one packet per endpoint, as the source's switch would forward it."""

from ipaddress import ip_address

from msgspec.structs import replace

from sluice.contracts.ids import NodeName
from sluice.contracts.objects import Pod
from sluice.contracts.programs import ServiceRef
from sluice.policy.ends import NoSuchEnd
from sluice.policy.packet import SERVICE_PREFIX, AddressEnd, Family, Packet, PodEnd, ServiceEnd
from sluice.policy.secondary import is_secondary
from sluice.policy.services import Asked
from sluice.policy.state import ClusterState


def meant(state: ClusterState, packet: Packet) -> Packet:
    """The packet, redirected to the Service by name if its destination is a ClusterIP: its endpoints receive it.

    There are no ClusterIPs on secondary networks.
    """
    to = packet.destination
    if not isinstance(to, AddressEnd) or packet.port is None or packet.service is not None or is_secondary(packet):
        return packet
    family: Family = 4 if ip_address(to.address).version == 4 else 6
    ref = state.services.at(to.address) if packet.family in (None, family) else None
    return replace(packet, destination=ServiceEnd(ref.namespace, ref.name), family=family) if ref else packet


def behind(state: ClusterState, packet: Packet, service: ServiceEnd) -> tuple[Packet, ...] | None:
    """The packet for each endpoint that may receive it; None if the Service has no such port.

    Raises:
        NoSuchEnd: there is no such Service, or it and the source have no addresses of the same family.
    """
    ref = ServiceRef(namespace=service.namespace, name=service.name)
    client = _client(state, packet)
    family = _family(state, packet, client, ref)
    if packet.protocol == "ICMP" or packet.protocol == "IGMP" or packet.port is None:  # noqa: PLR1714  # mypy narrows
        return None
    node = client.node if client else NodeName("")
    found = state.services.endpoints(Asked(ref, packet.protocol, packet.port, family, client_node=node))
    if found is None:
        return None
    return tuple(
        replace(packet, destination=AddressEnd(address), port=port, service=ref, family=family)
        for address, port in found
    )


def _client(state: ClusterState, packet: Packet) -> Pod | None:
    match packet.source:
        case PodEnd(namespace=namespace, name=name):
            return state.pods.get((namespace, name))
        case AddressEnd(address=address):
            return state.holder(address)
        case ServiceEnd():
            return None


def _family(state: ClusterState, packet: Packet, client: Pod | None, ref: ServiceRef) -> Family:
    addresses = state.services.addresses(ref)
    if addresses is None:
        raise NoSuchEnd(
            f"{SERVICE_PREFIX}{ref.namespace}/{ref.name}: no such Service with a ClusterIP; check its name and "
            "Namespace, or name a Pod"
        )
    sends = client.addresses if client else (packet.source.address,) if isinstance(packet.source, AddressEnd) else ()
    families: list[Family] = [4 if ip_address(one).version == 4 else 6 for one in addresses]
    for family in families:
        if family == (packet.family or family) and family in [ip_address(one).version for one in sends]:
            return family
    raise NoSuchEnd(
        f"{SERVICE_PREFIX}{ref.namespace}/{ref.name} ({', '.join(addresses)}): it has no address of the same "
        f"family{f' (IPv{packet.family})' if packet.family else ''} as the source ({', '.join(sends)}), so "
        "no packet can go to it; give both such an address, or ask about another packet"
    )
