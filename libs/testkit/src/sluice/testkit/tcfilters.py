"""Filters of every form that TC programs use, by name: on which codecs, printers and kernels have to agree."""

from sluice.contracts.programs import PortRange
from sluice.dataplane.addresses import network
from sluice.dataplane.protocols import EthType, IpProto
from sluice.dataplane.tc.filter import ANY, Accept, Bits, Ct, CtState, Drop, FilterBody, FilterKey, Flower, Goto
from sluice.dataplane.tc.owner import ROOT_PREF, CookieKind, chain, pack

CHAIN = chain(1, 40)
COOKIE = pack(CookieKind.PORT, 0x0123_4567_89AB_CDEF)
TRACKED = Bits(CtState.TRK | CtState.EST, CtState.TRK | CtState.EST | CtState.RPL)


def _v4(**fields: object) -> tuple[int, Flower]:
    return EthType.IPV4, Flower(**fields)  # type: ignore[arg-type]  # each name has its type


def _v6(**fields: object) -> tuple[int, Flower]:
    return EthType.IPV6, Flower(**fields)  # type: ignore[arg-type]  # as above


def _tagged(**fields: object) -> tuple[int, Flower]:
    return EthType.VLAN, Flower(**fields)  # type: ignore[arg-type]  # as above


MATCHES: dict[str, tuple[int, Flower]] = {
    "every protocol": (EthType.ALL, ANY),
    "ARP": (EthType.ARP, ANY),
    "IPv4": _v4(),
    "IPv6": _v6(),
    "address": _v4(source=network("10.1.2.3/32")),
    "prefixes": _v4(source=network("10.0.0.0/8"), destination=network("10.1.128.0/17")),
    "IPv6 address": _v6(destination=network("fd00::7/128")),
    "IPv6 prefix": _v6(source=network("fd00:1::/33")),
    "protocol alone": _v4(ip_proto=47),
    "TCP port": _v4(ip_proto=IpProto.TCP, destination_port=PortRange(443, 443)),
    "TCP range": _v6(ip_proto=IpProto.TCP, destination_port=PortRange(8000, 9000)),
    "UDP ports": _v4(ip_proto=IpProto.UDP, source_port=PortRange(53, 53), destination_port=PortRange(1, 1)),
    "UDP ranges": _v4(ip_proto=IpProto.UDP, source_port=PortRange(1, 2), destination_port=PortRange(1, 65535)),
    "SCTP port": _v4(ip_proto=IpProto.SCTP, destination_port=PortRange(3868, 3868)),
    "SCTP range": _v6(ip_proto=IpProto.SCTP, source_port=PortRange(3868, 3870)),
    "ICMP": _v4(ip_proto=IpProto.ICMP, icmp_type=8, icmp_code=0),
    "ICMPv6 type": _v6(ip_proto=IpProto.ICMPV6, icmp_type=135),
    "tagged": _tagged(vlan_ethtype=EthType.IPV4, destination=network("10.0.0.1/32")),
    "tagged IPv6 port": _tagged(
        vlan_ethtype=EthType.IPV6, ip_proto=IpProto.TCP, destination_port=PortRange(22, 22), source=network("fd00::/64")
    ),
    "connection": _v4(ct_state=TRACKED),
    "marked connection": _v6(ct_state=TRACKED, ct_mark=Bits(3, 0xFFFF_FFFF)),
    "masked mark": _v4(ct_mark=Bits(0x0F00, 0xFF00)),
    "labelled connection": _v4(ct_state=TRACKED, ct_label=Bits(0x0102 << 64 | 5, 0xFFFF << 64 | 0xFF)),
    "zone": _v4(ct_state=TRACKED, ct_zone=Bits(77, 0xFFFF)),
}

BODIES: dict[str, FilterBody] = {
    "accept": FilterBody((Accept(),), COOKIE),
    "drop": FilterBody((Drop(),), COOKIE),
    "goto": FilterBody((Goto(chain(1, 2)),), COOKIE),
    "track": FilterBody((Ct(), Goto(chain(1, 1))), COOKIE),
    "track in a zone": FilterBody((Ct(zone=4711), Goto(chain(1, 1))), COOKIE),
    "commit": FilterBody((Ct(zone=5, commit=True, force=True), Accept()), COOKIE),
    "commit with mark and label": FilterBody(
        (Ct(commit=True, mark=Bits(7, 0xFFFF_FFFF), label=Bits(0x1234, (1 << 128) - 1)), Accept()), COOKIE
    ),
    "masked mark": FilterBody((Ct(zone=1, commit=True, mark=Bits(0x70, 0xF0)), Accept()), COOKIE),
    "clear": FilterBody((Ct(clear=True), Accept()), COOKIE),
}

ROOT = FilterKey(0, ROOT_PREF, EthType.ALL)


def samples() -> dict[str, tuple[FilterKey, FilterBody]]:
    """Each match with one body, and each body with one match."""
    found = {
        name: (FilterKey(CHAIN, 100 + place, protocol, match), BODIES["goto"])
        for place, (name, (protocol, match)) in enumerate(MATCHES.items())
    }
    found |= {
        f"to {name}": (FilterKey(CHAIN, 200 + place, EthType.IPV4, Flower(ip_proto=IpProto.TCP)), body)
        for place, (name, body) in enumerate(BODIES.items())
    }
    return found | {"root": (ROOT, FilterBody((Goto(chain(1, 0)),), pack(CookieKind.ROOT, 9)))}


SAMPLES = samples()
