"""CIDRs in canonical text."""

from ipaddress import IPv4Network, IPv6Network, ip_network

from sluice.contracts.programs import BlockPeer
from sluice.policy.translate.translation import Refused


class BadBlock(Refused):
    """Not an IP block; the message says what is wrong, why, and what to do."""


def block(cidr: str, excepts: tuple[str, ...] = ()) -> BlockPeer:
    """The block with its excepts sorted; duplicates and those inside another are left out.

    Raises:
        BadBlock: something is not a CIDR, or an except is not strictly within the block.
    """
    whole = _network(cidr)
    holes = [_network(text) for text in excepts]
    for hole in holes:
        if not _within(hole, whole) or hole == whole:
            raise BadBlock(f"except {hole}: not a smaller part of {whole}, so it excludes nothing; correct it")
    outer: list[IPv4Network | IPv6Network] = []
    for hole in sorted(holes, key=lambda hole: (int(hole.network_address), hole.prefixlen)):
        if not outer or not _within(hole, outer[-1]):  # a block comes right before all that it contains
            outer.append(hole)
    return BlockPeer(cidr=str(whole), excepts=tuple(map(str, outer)))


def _network(cidr: str) -> IPv4Network | IPv6Network:
    if "/" not in cidr:
        raise BadBlock(f"{cidr!r}: no prefix length; write it as 10.0.0.0/8 or fd00::/8")
    try:
        return ip_network(cidr, strict=False)
    except ValueError as error:
        raise BadBlock(f"{cidr!r}: not a CIDR: {error}; write it as 10.0.0.0/8 or fd00::/8") from error


def _within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network):
        return inner.subnet_of(outer)
    return False
