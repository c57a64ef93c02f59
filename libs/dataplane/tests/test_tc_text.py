"""Filters and operations as tc(8) takes them."""

import pytest

from sluice.contracts.programs import PortRange
from sluice.dataplane.addresses import network
from sluice.dataplane.protocols import EthType, IpProto
from sluice.dataplane.tc.filter import (
    ANY,
    Accept,
    AnyAction,
    Bits,
    Ct,
    CtState,
    Drop,
    FilterBody,
    FilterKey,
    Flower,
    Goto,
    Hook,
)
from sluice.dataplane.tc.operations import AddFilter, DeleteChain, DeleteFilter, Operation, ReplaceFilter, Settle
from sluice.dataplane.tc.owner import CookieKind, pack
from sluice.dataplane.tc.text import clsact, command, write

COOKIE = pack(CookieKind.BASE, 7)
SAID = "cookie 534c4345020000000000000000000007"

MATCHES = [
    (EthType.ALL, ANY, "protocol all pref 1 chain 7 flower"),
    (EthType.ARP, ANY, "protocol arp pref 1 chain 7 flower"),
    (
        EthType.IPV4,
        Flower(source=network("10.0.0.0/8"), destination=network("10.1.2.3/32")),
        "protocol ip pref 1 chain 7 flower src_ip 10.0.0.0/8 dst_ip 10.1.2.3",
    ),
    (
        EthType.IPV4,
        Flower(destination=network("0.0.0.0/0")),
        "protocol ip pref 1 chain 7 flower dst_ip 0.0.0.0/0",
    ),
    (
        EthType.IPV6,
        Flower(ip_proto=IpProto.ICMPV6, icmp_type=135, icmp_code=0, source=network("fd00::/8")),
        "protocol ipv6 pref 1 chain 7 flower ip_proto icmpv6 src_ip fd00::/8 type 135 code 0",
    ),
    (
        EthType.VLAN,
        Flower(vlan_ethtype=EthType.IPV4, ip_proto=IpProto.SCTP, destination_port=PortRange(80, 90)),
        "protocol 802.1Q pref 1 chain 7 flower vlan_ethtype ip ip_proto sctp dst_port 80-90",
    ),
    (
        EthType.IPV4,
        Flower(ip_proto=IpProto.TCP, source_port=PortRange(1, 2), destination_port=PortRange(443, 443)),
        "protocol ip pref 1 chain 7 flower ip_proto tcp src_port 1-2 dst_port 443",
    ),
    (EthType.IPV4, Flower(ip_proto=47), "protocol ip pref 1 chain 7 flower ip_proto 0x2f"),
    (
        EthType.IPV4,
        Flower(
            ct_state=Bits(CtState.TRK | CtState.EST, CtState.TRK | CtState.EST | CtState.RPL),
            ct_zone=Bits(5, 0xFFFF),
            ct_mark=Bits(3, 0xFFFFFFFF),
            ct_label=Bits(1, 0xFF),
        ),
        f"protocol ip pref 1 chain 7 flower ct_state +trk+est-rpl ct_zone 0x5 ct_mark 0x3 ct_label {1:032x}/{255:032x}",
    ),
    (EthType.IPV4, Flower(ct_mark=Bits(3, 0xF)), "protocol ip pref 1 chain 7 flower ct_mark 0x3/0xf"),
]


@pytest.mark.parametrize(("protocol", "match", "expected"), MATCHES, ids=[expected for _, _, expected in MATCHES])
def test_matches(protocol: int, match: Flower, expected: str):
    body = FilterBody((Drop(),), COOKIE)

    assert write(FilterKey(7, 1, protocol, match), body) == f"{expected} action gact drop {SAID}"


ACTIONS: list[tuple[tuple[AnyAction, ...], str]] = [
    ((Accept(),), f"action gact pass {SAID}"),
    ((Goto(8),), f"action gact goto chain 8 {SAID}"),
    ((Ct(zone=4), Goto(8)), f"action ct zone 4 pipe {SAID} action gact goto chain 8 {SAID}"),
    ((Ct(), Goto(8)), f"action ct pipe {SAID} action gact goto chain 8 {SAID}"),
    (
        (Ct(zone=4, commit=True, mark=Bits(6, 0xFFFFFFFF)), Accept()),
        f"action ct commit zone 4 mark 0x6 pipe {SAID} action gact pass {SAID}",
    ),
    (
        (Ct(commit=True, force=True, label=Bits(1, 1)), Accept()),
        f"action ct commit force label {1:032x}/{1:032x} pipe {SAID} action gact pass {SAID}",
    ),
    ((Ct(clear=True), Accept()), f"action ct clear pipe {SAID} action gact pass {SAID}"),
]


@pytest.mark.parametrize(("actions", "expected"), ACTIONS, ids=[expected for _, expected in ACTIONS])
def test_actions(actions: tuple[AnyAction, ...], expected: str):
    assert write(FilterKey(0, 1, EthType.ALL), FilterBody(actions, COOKIE)).endswith(f"flower {expected}")


KEY = FilterKey(9, 5, EthType.IPV4, Flower(ip_proto=IpProto.UDP))
BODY = FilterBody((Accept(),), COOKIE)
WORDS = f"flower ip_proto udp action gact pass {SAID}"
OPERATIONS: list[tuple[Operation, str]] = [
    (AddFilter(KEY, 17, BODY), f"tc filter add dev v0 ingress protocol ip pref 5 chain 9 handle 0x11 {WORDS}"),
    (ReplaceFilter(KEY, 17, BODY), f"tc filter replace dev v0 ingress protocol ip pref 5 chain 9 handle 0x11 {WORDS}"),
    (DeleteFilter(KEY, 17), "tc filter del dev v0 ingress protocol ip pref 5 chain 9 handle 0x11 flower"),
    (DeleteChain(9), "tc filter del dev v0 ingress chain 9"),
    (Settle(), "sleep 0.01"),
]


@pytest.mark.parametrize(("operation", "expected"), OPERATIONS, ids=[expected for _, expected in OPERATIONS])
def test_commands(operation: Operation, expected: str):
    assert command("v0", Hook.INGRESS, operation) == expected


def test_the_hooks_are_made_first():
    assert clsact("v0") == "tc qdisc add dev v0 clsact"
