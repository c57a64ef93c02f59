"""Whether a packet matches a rule's fields, one field after the other; see `plainly`."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from sluice.contracts.antrea import AntreaPort, AntreaRule, L7Protocol
from sluice.contracts.ids import Address
from sluice.contracts.objects import IPBlock, LabelSelector, NamespacedName, Node, Pod
from sluice.policy.l7 import HttpRequest, TlsHello
from sluice.policy.packet import Packet


class End(NamedTuple):
    """One end of a packet, as whatever holds the address there."""

    address: Address
    pod: Pod | None = None
    node: Node | None = None


def is_about(rule: AntreaRule, packet: Packet, to: End) -> bool:
    """Ports and protocols form one list of alternatives; without either the rule matches everything."""
    if not rule.ports and not rule.protocols:
        return True
    if any(is_port(one, packet, to) for one in rule.ports):
        return True
    return packet.protocol == "ICMP" and any(
        one.icmp is not None
        and one.icmp.icmp_type in (None, packet.icmp_type)
        and one.icmp.icmp_code in (None, packet.icmp_code)
        for one in rule.protocols
    )


def is_port(one: AntreaPort, packet: Packet, to: End) -> bool:
    """A named port is looked up at the packet's receiver."""
    if packet.protocol != one.protocol:
        return False
    if one.source_port is not None:
        last = one.source_end_port or one.source_port
        if packet.source_port is None or not one.source_port <= packet.source_port <= last:
            return False
    if one.port is None:
        return True
    if packet.port is None:
        return False
    if isinstance(one.port, int):
        return one.port <= packet.port <= (one.end_port or one.port)
    held = [port for each in to.pod.spec.containers for port in each.ports] if to.pod else []
    return any(
        (port.name, port.protocol, port.container_port) == (one.port, one.protocol, packet.port) for port in held
    )


def asks(one: L7Protocol, packet: Packet) -> bool:
    """Whether the packet belongs to a connection with such a request."""
    match packet.asks:
        case HttpRequest(method=method, host=host, path=path) if one.http is not None:
            return (
                one.http.method in ("", method)
                and (not one.http.host or fnmatchcase(host.lower(), one.http.host.lower()))
                and (not one.http.path or fnmatchcase(path, one.http.path))
            )
        case TlsHello(sni=sni) if one.tls is not None:
            return not one.tls.sni or fnmatchcase(sni.lower(), one.tls.sni.lower())
        case _:
            return False


def fits(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether the labels satisfy all requirements of the selector."""
    for one in selector.match_expressions:
        value = labels.get(one.key)
        holds = {
            "In": value in one.values,
            "NotIn": value not in one.values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds[one.operator]:
            return False
    return all(labels.get(key) == value for key, value in selector.match_labels.items())


def in_block(address: Address, block: IPBlock) -> bool:
    """Whether the address is in the block and in none of its exceptions; never true for the other family."""
    where = ip_address(address)
    return where in ip_network(block.cidr) and not any(where in ip_network(hole) for hole in block.except_)


def runs_as(pod: Pod | None, account: NamespacedName) -> bool:
    if pod is None or not is_member(pod) or pod.metadata.namespace != account.namespace:
        return False
    return (pod.spec.service_account_name or "default") == account.name


def is_member(pod: Pod | None) -> bool:
    """Whether policies can select it: it has a node, has not ended, and is not on the host network."""
    return (
        pod is not None
        and bool(pod.spec.node_name)
        and not pod.spec.host_network
        and pod.status.phase not in ("Succeeded", "Failed")
    )
