"""Checks of addresses and CIDRs: what is wrong with one, or None.

Stricter than the API server in one respect: numbers with leading zeros and IPv4-mapped IPv6 are refused, because
programs disagree about what they mean.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_CIDR = re.compile(r"[0-9a-fA-F.:]+/(0|[1-9][0-9]{0,2})")


@lru_cache(maxsize=256)  # a Pod lists each of its addresses twice
def address(text: str) -> str | None:
    try:
        parsed = ip_address(text)
    except ValueError:
        return f'"{text}" is not an IP address; write one like 10.0.0.7 or fd00::7'
    if isinstance(parsed, IPv6Address) and (parsed.scope_id or parsed.ipv4_mapped):
        return f'"{text}" has a zone or holds an IPv4 address; write the plain address'
    return None


def cidr(text: str) -> IPv4Network | IPv6Network | str:
    """The network, or what is wrong. Host bits are ignored, as in Kubernetes."""
    if not _CIDR.fullmatch(text):
        return f'"{text}" is not a CIDR; write an address, / and the length of the prefix, like 10.0.0.0/8 or fd00::/64'
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        return f'"{text}" is not a CIDR: {error}; write one like 10.0.0.0/8 or fd00::/64'
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        return f'"{text}" is an IPv4 network written as IPv6; write it as IPv4'
    return network


def excepted(text: str, whole: IPv4Network | IPv6Network) -> str | None:
    """What is wrong with an except of this network, or None: it must be strictly inside."""
    inner = cidr(text)
    match inner, whole:
        case str(reason), _:
            return reason
        case (IPv4Network() as part, IPv4Network() as all_of_it) | (IPv6Network() as part, IPv6Network() as all_of_it):
            inside = part.network_address in all_of_it and part.prefixlen > all_of_it.prefixlen
        case _:
            inside = False
    if inside:
        return None
    return f'"{text}" is not a smaller part of {whole}; give a smaller part of the CIDR, or leave it out'
