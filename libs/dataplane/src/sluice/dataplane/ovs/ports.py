"""Ports of the node's Pods, and the flows of a Pod while its port is open, whatever the policies.

A port that is not open has no flow: what it sends is dropped in the first table, and nothing can reach it, not even on
established connections.
"""

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

from sluice.contracts.ids import Address, Uid
from sluice.dataplane.addresses import WIDTH, Block, NotAnAddress, address
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Actions, DecTtl, FlowBody, FlowKey, Flows, Goto, Match, SetField, Term, match
from sluice.dataplane.ovs.pipeline import PRIORITY, PRIORITY_FIRST, VIRTUAL_MAC, Table
from sluice.dataplane.ovs.registers import FLAGS, HAIRPIN, OUT_PORT, SERVED
from sluice.dataplane.protocols import EthType

MAX_PORT = 0xFEFF
"""Source: Open vSwitch `include/openvswitch/ofp-port.h`: ports have 16 bits inside the switch, OFPP_MAX is 0xff00."""

GATEWAYS = frozenset(("169.254.1.1", "fe80::1"))
"""Addresses of the Pods' default gateway. They are the switch's own; nobody else may have them."""

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_GROUP_BIT = 1 << 40
"""Set in a multicast MAC. Source: IEEE 802-2014 section 8.2.2."""


class BadPort(ValueError):
    """A port with settings that no Pod can have; it stays closed."""


class LocalPort(Struct, frozen=True, order=True):
    """The port of a Pod, and the addresses that the Pod may use there.

    Raises:
        BadPort: the message says where, what, why, and what to do.
    """

    pod: str
    """namespace/name"""

    uid: Uid
    ofport: int
    """OpenFlow port number, 1..MAX_PORT."""

    mac: str
    """Lower case, six pairs of hexadecimal digits with colons."""

    addresses: tuple[Address, ...]
    created: str = ""
    """When the Pod was created (RFC 3339): of Pods that claim an address the latest holds it, then the greatest uid."""

    def __post_init__(self) -> None:
        where = f"port {self.ofport} of {self.pod}"
        if not 0 < self.ofport <= MAX_PORT:
            raise BadPort(f"{where}: an OpenFlow port is 1..{MAX_PORT}; see `ovs-vsctl get interface … ofport error`")
        if not is_mac(self.mac):
            raise BadPort(
                f"{where}: {self.mac!r} is not the MAC address of an interface; correct external_ids sluice.mac"
            )
        for text in self.addresses:
            try:
                block = address(text)
            except NotAnAddress as error:
                raise BadPort(f"{where}: {error}; correct external_ids sluice.ips") from error
            if text in GATEWAYS or not _is_unicast(block):
                raise BadPort(f"{where}: {text} is not an address that a Pod can have; correct external_ids sluice.ips")


def is_mac(text: str) -> bool:
    """Whether the text is a unicast MAC."""
    return bool(_MAC.fullmatch(text)) and not mac(text) & _GROUP_BIT


def mac(text: str) -> int:
    """The 48 bits of a MAC."""
    return int(text.replace(":", ""), 16)


def source(block: Block) -> Match:
    """The match of packets from these addresses."""
    return _packets(block, Field.IPV4_SRC, Field.IPV6_SRC)


def destination(block: Block) -> Match:
    """The match of packets to these addresses."""
    return _packets(block, Field.IPV4_DST, Field.IPV6_DST)


def rightful(claimants: Iterable[LocalPort]) -> LocalPort:
    """Of several open ports that claim the same address, the one that holds it."""
    return max(claimants, key=claim)


def claim(port: LocalPort) -> tuple[str, Uid]:
    """How strong the port's claim to an address is: the greatest holds it."""
    return port.created, port.uid


def port_flows(port: LocalPort, addresses: Iterable[Address]) -> Flows:
    """The flows of a Pod while its port is open and holds these of its addresses."""
    cookie = cookies.pack(CookieKind.PORT, port.ofport)
    return {
        FlowKey(table, priority, a_match): FlowBody(actions, cookie)
        for table, priority, a_match, actions in _flows(port, addresses)
    }


def _flows(port: LocalPort, addresses: Iterable[Address]) -> Iterator[tuple[Table, int, Match, Actions]]:
    here = Term(Field.IN_PORT, port.ofport)
    number = mac(port.mac)
    yield Table.CLASSIFIER, PRIORITY, match(here), (Goto(Table.SPOOF_GUARD),)
    deliver = (
        SetField(Field.ETH_SRC, VIRTUAL_MAC),
        SetField(Field.ETH_DST, number),
        DecTtl(),
        SetField(OUT_PORT, port.ofport),
        Goto(Table.INGRESS_TIER),
    )
    back = (*deliver[:-1], SetField(FLAGS, HAIRPIN, HAIRPIN), deliver[-1])
    for block in map(address, addresses):
        own = (here, Term(Field.ETH_SRC, number), *source(block))
        yield Table.SPOOF_GUARD, PRIORITY, match(*own), (Goto(Table.CONNTRACK),)
        yield Table.FORWARD, PRIORITY, destination(block), deliver
        served = Term(FLAGS, SERVED, SERVED)
        yield Table.FORWARD, PRIORITY + 1, match(here, served, *destination(block)), back
        if block.version == 4:
            arp = Term(Field.ETH_TYPE, EthType.ARP)
            asks = (Term(Field.ARP_SHA, number), Term(Field.ARP_SPA, block.value))
            yield Table.SPOOF_GUARD, PRIORITY, match(here, Term(Field.ETH_SRC, number), arp, *asks), (Goto(Table.ARP),)
            # A reply to a Pod's probe for its own address would say that the address is taken (RFC 5227 section 2.1).
            yield Table.ARP, PRIORITY_FIRST, match(here, arp, Term(Field.ARP_TPA, block.value)), ()


def _packets(block: Block, ipv4: Field, ipv6: Field) -> Match:
    """Canonical without `match`, because a node has many of these: dl_type sorts before the addresses."""
    if not block.prefix:
        return (_IPV4 if block.version == 4 else _IPV6,)
    mask = None if block.prefix == WIDTH[block.version] else block.mask
    if block.version == 4:
        return _IPV4, Term(ipv4, block.value, mask)
    return _IPV6, Term(ipv6, block.value, mask)


_IPV4, _IPV6 = Term(Field.ETH_TYPE, EthType.IPV4), Term(Field.ETH_TYPE, EthType.IPV6)

_NOT_UNICAST = tuple(
    Block(version, value, prefix)
    for version, value, prefix in (
        (4, 0, 8),  # this network, RFC 1122 section 3.2.1.3
        (4, 127 << 24, 8),  # loopback, the same
        (4, 0xE << 28, 4),  # multicast, RFC 5771
        (4, 0xFFFFFFFF, 32),  # broadcast, RFC 919
        (6, 0, 127),  # unspecified and loopback, RFC 4291 sections 2.5.2 and 2.5.3
        (6, 0xFF << 120, 8),  # multicast, RFC 4291 section 2.7
    )
)


def _is_unicast(block: Block) -> bool:
    return not any(other.covers(block) for other in _NOT_UNICAST)
