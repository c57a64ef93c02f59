"""One rule of an Antrea-native policy: what it matches, and which of its parts exclude each other.

Sources as in `antrea_policy`; IGMP types: RFC 2236, section 2, and RFC 3376, section 4.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, ip_address, ip_network

from sluice.admission import addresses, antrea_ends, l7, names
from sluice.admission.antrea_ends import Way
from sluice.admission.network_policy import PORTS
from sluice.admission.refusal import Caution, Refusal
from sluice.contracts import jsonpath
from sluice.contracts.antrea import AntreaPort, AntreaProtocol, AntreaRule, IgmpProtocol
from sluice.contracts.objects import IPBlock

ICMP_NUMBERS = range(256)
"""Types and codes. Source: RFC 792 and RFC 4443, one octet each."""

IGMP_TYPES: Mapping[Way, tuple[int, ...]] = {"ingress": (0x11,), "egress": (0x12, 0x16, 0x22)}
"""Queries come in; reports of versions 1, 2 and 3 go out."""

ALL_HOSTS = "224.0.0.1"
"""The group of general queries; Open vSwitch does not read the group of other queries."""

_NOT_OF_MANY = "is not possible for multicast, which has no replies; use Allow or Drop"


def refusals(way: Way, rule: AntreaRule, path: str, *, namespaced: bool) -> Iterator[Refusal]:
    if bad := names.label_value(rule.log_label):
        yield Refusal(f"{path}.logLabel", bad)
    yield from antrea_ends.of_applied_to(rule.applied_to, f"{path}.appliedTo", namespaced=namespaced, of_rule=True)
    peers, field, others, other = (
        (rule.from_, "from", rule.to, "to") if way == "ingress" else (rule.to, "to", rule.from_, "from")
    )
    if others:
        yield Refusal(
            f"{path}.{other}",
            f"an {way} rule has no {other}; write {field}, or move the rule to the other direction",
        )
    for index, peer in enumerate(peers):
        yield from antrea_ends.of_peer(way, peer, jsonpath.item(f"{path}.{field}", index), namespaced=namespaced)
    yield from _of_many(way, rule, path)
    for index, port in enumerate(rule.ports):
        yield from _of_port(port, jsonpath.item(f"{path}.ports", index))
    for index, protocol in enumerate(rule.protocols):
        yield from _of_protocol(way, protocol, jsonpath.item(f"{path}.protocols", index))
    yield from _of_igmp(rule, path)
    yield from _of_services(way, rule, path, namespaced=namespaced)
    yield from l7.refusals(rule, path)


def cautions(rule: AntreaRule, path: str) -> Iterator[Caution]:
    for index, peer in enumerate(rule.to):
        if peer.fqdn.startswith("*") and not peer.fqdn.startswith("*."):
            like = peer.fqdn.lstrip("*")
            reason = (
                f'"{peer.fqdn}" matches every name that ends like this, also evil{like}; to match only '
                f"subdomains, write *.{like.lstrip('.')}"
            )
            yield Caution(f"{jsonpath.item(f'{path}.to', index)}.fqdn", reason)
    for index, service in enumerate(rule.to_services):
        here = jsonpath.item(f"{path}.toServices", index)
        yield from antrea_ends.of_doubtful_name(service.name, f"{here}.name")
        yield from antrea_ends.of_doubtful_name(service.namespace, f"{here}.namespace")
    yield from l7.cautions(rule, path)


def is_multicast(block: IPBlock) -> bool:
    """Whether the block consists of multicast addresses; False if it does not parse."""
    try:
        return ip_network(block.cidr, strict=False).is_multicast
    except ValueError:
        return False


def _of_many(way: Way, rule: AntreaRule, path: str) -> Iterator[Refusal]:
    """Blocks of multicast addresses: only as destinations, and in rules of their own."""
    peers, field = (rule.from_, "from") if way == "ingress" else (rule.to, "to")
    blocks = [(index, peer.ip_block) for index, peer in enumerate(peers) if peer.ip_block is not None]
    many = [(index, block) for index, block in blocks if is_multicast(block)]
    if not many:
        return
    index, block = many[0]
    here = f"{jsonpath.item(f'{path}.{field}', index)}.ipBlock.cidr"
    if way == "ingress":
        yield Refusal(
            here, f'"{block.cidr}" is a multicast address, which is never a source; write the rule for egress'
        )
    elif rule.action in ("Pass", "Reject"):
        yield Refusal(f"{path}.action", f"{rule.action} {_NOT_OF_MANY}")
    if len(many) < len(blocks):
        yield Refusal(here, f'"{block.cidr}" is multicast, but other blocks of the rule are not; write two rules')


def _of_port(port: AntreaPort, path: str) -> Iterator[Refusal]:
    if isinstance(port.port, str):
        if bad := names.port_name(port.port):
            yield Refusal(f"{path}.port", bad)
        if port.end_port is not None:
            reason = "a range cannot begin with a name; give port a number, or remove endPort"
            yield Refusal(f"{path}.endPort", reason)
    else:
        yield from _of_range("port", port.port, "endPort", port.end_port, path)
    yield from _of_range("sourcePort", port.source_port, "sourceEndPort", port.source_end_port, path)


def _of_range(first_name: str, first: int | None, last_name: str, last: int | None, path: str) -> Iterator[Refusal]:
    for name, number in ((first_name, first), (last_name, last)):
        if number is not None and number not in PORTS:
            yield Refusal(f"{path}.{name}", f"{number} is not a port; give one of 1 to 65535")
    if first is None and last is not None:
        reason = f"missing, but {last_name} is given; give the first port, or remove {last_name}"
        yield Refusal(f"{path}.{first_name}", reason)
    elif first is not None and last is not None and last in PORTS and last < first:
        reason = f"{last} is less than {first_name} {first}; write the lower one as {first_name}"
        yield Refusal(f"{path}.{last_name}", reason)


def _of_protocol(way: Way, protocol: AntreaProtocol, path: str) -> Iterator[Refusal]:
    icmp, igmp = protocol.icmp, protocol.igmp
    if icmp is None and igmp is None:
        yield Refusal(path, "has no protocol; write icmp: {} for all of ICMP, or remove the entry")
    if icmp is not None and igmp is not None:
        yield Refusal(path, "icmp and igmp in one entry, but no packet is both; write two rules")
    if icmp is not None:
        for name, number in (("icmpType", icmp.icmp_type), ("icmpCode", icmp.icmp_code)):
            if number is not None and number not in ICMP_NUMBERS:
                yield Refusal(f"{path}.icmp.{name}", f"{number} is out of range; give one of 0 to 255")
    if igmp is not None:
        yield from _of_message(way, igmp, f"{path}.igmp")


def _of_message(way: Way, igmp: IgmpProtocol, path: str) -> Iterator[Refusal]:
    types = IGMP_TYPES[way]
    if igmp.igmp_type is not None and igmp.igmp_type not in types:
        wanted = " or ".join(f"{number} ({number:#x})" for number in types)
        yield Refusal(
            f"{path}.igmpType",
            f"{igmp.igmp_type} is not a type for {way} rules; give {wanted}, or leave igmpType out for all",
        )
    if not igmp.group_address:
        return
    here = f"{path}.groupAddress"
    if bad := addresses.address(igmp.group_address):
        yield Refusal(here, bad)
        return
    group = ip_address(igmp.group_address)
    if not isinstance(group, IPv4Address) or not group.is_multicast:
        yield Refusal(
            here,
            f'"{igmp.group_address}" is not an IPv4 multicast group; give one in 224.0.0.0/4, or leave groupAddress '
            "out for all",
        )
    elif way == "ingress" and igmp.group_address != ALL_HOSTS:
        reason = (
            f'"{igmp.group_address}" cannot be matched in queries, because Open vSwitch does not read their group; '
            f"give {ALL_HOSTS}, or leave groupAddress out"
        )
        yield Refusal(here, reason)


def _of_igmp(rule: AntreaRule, path: str) -> Iterator[Refusal]:
    """What a rule with IGMP cannot contain as well."""
    if not any(protocol.igmp is not None for protocol in rule.protocols):
        return
    if rule.action in ("Pass", "Reject"):
        yield Refusal(f"{path}.action", f"{rule.action} {_NOT_OF_MANY}")
    beside: tuple[tuple[str, Sequence[object]], ...] = (
        ("from", rule.from_),
        ("to", rule.to),
        ("ports", rule.ports),
        ("toServices", rule.to_services),
    )
    for name, given in beside:
        if given:
            yield Refusal(
                f"{path}.{name}",
                "a rule with IGMP has no peers and no ports: the group is in igmp.groupAddress; write another "
                "rule for these",
            )
    if any(protocol.icmp is not None for protocol in rule.protocols):
        yield Refusal(
            f"{path}.protocols",
            "IGMP and ICMP in one rule, but Sluice enforces them in different places; write two rules",
        )


def _of_services(way: Way, rule: AntreaRule, path: str, *, namespaced: bool) -> Iterator[Refusal]:
    """A Service already defines addresses and ports."""
    if not rule.to_services:
        return
    here = f"{path}.toServices"
    if way == "ingress":
        yield Refusal(
            here, "an ingress rule has no toServices; write it for egress, or apply the policy to the Service"
        )
    beside: tuple[tuple[str, Sequence[object]], ...] = (
        ("to", rule.to),
        ("ports", rule.ports),
        ("protocols", rule.protocols),
        ("l7Protocols", rule.l7_protocols),
    )
    for name, given in beside:
        if given:
            reason = f"toServices already defines the addresses and ports; remove {name}, or write another rule"
            yield Refusal(f"{path}.{name}", reason)
    for index, service in enumerate(rule.to_services):
        entry = jsonpath.item(here, index)
        yield from antrea_ends.of_name(service.name, f"{entry}.name")
        if service.namespace:
            yield from antrea_ends.of_name(service.namespace, f"{entry}.namespace")
        elif not namespaced:
            yield Refusal(
                f"{entry}.namespace", "missing, and a ClusterNetworkPolicy has no Namespace of its own; give it"
            )
