"""Outer headers, octet by octet, and what is expected of them."""

from typing import NamedTuple

import pytest

from sluice.contracts.ids import Address
from sluice.lab.capture.counting import Count, Ends, matches, summary, title, udp_ports
from sluice.lab.capture.tunnels import Seen, Tunnel, decode
from sluice.lab.receiving import Receiver

NODE, COLLECTOR = Address("192.168.77.10"), Address("10.0.10.2")
POD, OTHER = Address("10.64.0.2"), Address("10.64.0.3")


def ethernet(kind: int, payload: bytes) -> bytes:
    return bytes.fromhex("0a580a000a02 0a58c0a84d0a") + kind.to_bytes(2, "big") + payload


def ipv4(source: str, target: str, proto: int, payload: bytes) -> bytes:
    ends = b"".join(bytes(map(int, end.split("."))) for end in (source, target))
    length = (20 + len(payload)).to_bytes(2, "big")
    return ethernet(0x0800, b"\x45\0" + length + b"\0\0\x40\0\x40" + bytes((proto,)) + b"\0\0" + ends + payload)


def ipv6(proto: int, payload: bytes) -> bytes:
    ends = bytes.fromhex("fd00000000000000000000000000000a fd000000000000000000000000000002")
    return ethernet(0x86DD, b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes((proto, 64)) + ends + payload)


def udp(target: int, payload: bytes) -> bytes:
    return (
        (40_000).to_bytes(2, "big")
        + target.to_bytes(2, "big")
        + (8 + len(payload)).to_bytes(2, "big")
        + b"\0\0"
        + payload
    )


INNER = ipv4(POD, OTHER, 17, udp(53, b"sluice"))
ICMP = ipv4(OTHER, POD, 1, bytes.fromhex("0800 0000 0001 0001"))


class Case(NamedTuple):
    name: str
    outer: int
    """Protocol of the outer packet."""

    header: bytes
    tunnel: Tunnel | None


def tunnel(proto: str, **fields: int) -> Tunnel:
    return Tunnel(proto, NODE, COLLECTOR, **fields)  # type: ignore[arg-type]  # rows of a table


CASES = [
    Case("vxlan", 17, udp(4789, bytes.fromhex("08000000 00109200")), tunnel("vxlan", port=4789, vni=4242)),
    Case("vxlan without a VNI", 17, udp(4789, bytes(8)), tunnel("vxlan", port=4789)),
    Case(
        "vxlan, another port",
        17,
        udp(4788, bytes.fromhex("08000000 ffffff00")),
        tunnel("vxlan", port=4788, vni=0xFFFFFF),
    ),
    Case("geneve", 17, udp(6081, bytes.fromhex("00006558 00004d00")), tunnel("geneve", port=6081, vni=77)),
    Case(
        "geneve with options",
        17,
        udp(6081, bytes.fromhex("02006558 00000000 0102030400000000")),
        tunnel("geneve", port=6081, vni=0),
    ),
    Case("geneve of a version to come", 17, udp(6081, bytes.fromhex("40006558 00004d00")), None),
    Case("udp to nobody's port", 17, udp(53, bytes(16)), None),
    Case("gre", 47, bytes.fromhex("0000 6558"), tunnel("gre")),
    Case("gre with a key", 47, bytes.fromhex("2000 6558 0001e240"), tunnel("gre", key=123_456)),
    Case(
        "gre with all of it", 47, bytes.fromhex("b000 6558 12340000 ffffffff 00000007"), tunnel("gre", key=0xFFFFFFFF)
    ),
    Case("gre of packets, not frames", 47, bytes.fromhex("0000 0800"), None),
    Case(
        "erspan, version 1",
        47,
        bytes.fromhex("1000 88be 00000001 1000 1864 000abcde"),
        tunnel("erspan", version=1, session=100, number=0xABCDE),
    ),
    Case(
        "erspan, version 2, egress",
        47,
        bytes.fromhex("1000 22eb 00000001 2000 03ff 01020304 0000 004c"),
        tunnel("erspan", version=2, session=1023, hardware=4, direction=1),
    ),
    Case(
        "erspan, version 2, ingress, with what a platform adds",
        47,
        bytes.fromhex("1000 22eb 00000001 2000 0001 01020304 0000 03f1 0102030405060708"),
        tunnel("erspan", version=2, session=1, hardware=63, direction=0),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decoded(case: Case) -> None:
    header = case.header
    if case.outer == 17:  # the length in the header is that of all that follows
        body = header[8:] + INNER
        header = header[:4] + (8 + len(body)).to_bytes(2, "big") + header[6:]
    seen = decode(ipv4(NODE, COLLECTOR, case.outer, header + INNER), {4789: "vxlan", 4788: "vxlan", 6081: "geneve"})

    assert seen.tunnel == case.tunnel
    if case.tunnel is not None:
        assert seen == Seen(case.tunnel, decode(INNER).inner)
        assert seen.inner is not None
        assert seen.inner.ports == (40_000, 53)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_cut_short_is_no_error(case: Case) -> None:
    whole = ipv4(NODE, COLLECTOR, case.outer, case.header + INNER)

    for octets in range(len(whole)):
        assert decode(whole[:octets]) == Seen(None, None)
    for octets in range(len(case.header)):
        assert decode(ipv4(NODE, COLLECTOR, case.outer, case.header[:octets])).tunnel is None


def test_over_ipv6() -> None:
    seen = decode(ipv6(17, udp(4789, bytes.fromhex("08000000 00000100") + INNER)))

    assert seen.tunnel == Tunnel("vxlan", Address("fd00::a"), Address("fd00::2"), port=4789, vni=1)
    assert seen.inner == decode(INNER).inner


def test_ipv6_inside() -> None:
    inner = ipv6(58, bytes.fromhex("8000 0000 0001 0001"))
    seen = decode(ipv4(NODE, COLLECTOR, 47, bytes.fromhex("0000 6558") + inner))

    assert seen.inner is not None
    assert (seen.inner.version, seen.inner.proto) == (6, 58)


VXLAN = decode(ipv4(NODE, COLLECTOR, 17, udp(4789, bytes.fromhex("08000000 00000100") + INNER)))
ERSPAN = decode(ipv4(NODE, COLLECTOR, 47, CASES[-1].header + ICMP))
GRE = decode(ipv4(NODE, COLLECTOR, 47, bytes.fromhex("0000 6558") + INNER))
ARP = decode(ethernet(0x0806, bytes(28)))


class Wanted(NamedTuple):
    fields: dict[str, object]
    frames: tuple[Seen, ...]
    """Those of the four that are counted."""


WANTED = [
    Wanted({}, (VXLAN, ERSPAN, GRE, ARP)),
    Wanted({"proto": "none"}, (ARP,)),
    Wanted({"proto": "vxlan"}, (VXLAN,)),
    Wanted({"proto": "vxlan", "vni": 1, "destination_port": 4789}, (VXLAN,)),
    Wanted({"proto": "vxlan", "vni": 2}, ()),
    Wanted({"proto": "vxlan", "destination_port": 4788}, ()),
    Wanted({"proto": "gre", "key": "none"}, (GRE,)),
    Wanted({"proto": "gre", "key": 1}, ()),
    Wanted({"proto": "erspan", "version": 2, "session_id": 1, "dir": 0, "hardware_id": 63}, (ERSPAN,)),
    Wanted({"proto": "erspan", "version": 1}, ()),
    Wanted({"proto": "erspan", "session_id": 2}, ()),
    Wanted({"proto": "erspan", "dir": 1}, ()),
    Wanted({"proto": "erspan", "hardware_id": 4}, ()),
    Wanted({"proto": "erspan", "index": 1}, ()),
    Wanted({"protocol": "UDP"}, (VXLAN, GRE)),
    Wanted({"protocol": "ICMP"}, (ERSPAN,)),
    Wanted({"protocol": "UDP", "port": 53, "source_port": 40_000}, (VXLAN, GRE)),
    Wanted({"protocol": "UDP", "port": 54}, ()),
    Wanted({"family": "IPv4"}, (VXLAN, ERSPAN, GRE)),
    Wanted({"family": "IPv6"}, ()),
    Wanted({"from_": "x/a"}, (VXLAN, GRE)),
    Wanted({"to": "x/a"}, (ERSPAN,)),
    Wanted({"from_": "x/b", "to": "x/a"}, (ERSPAN,)),
]


@pytest.mark.parametrize("case", WANTED, ids=lambda case: " ".join(map(str, case.fields.items())) or "anything")
def test_what_is_counted(case: Wanted) -> None:
    receiver = Receiver(on="collector", **case.fields)  # type: ignore[arg-type]  # rows of a table
    pods = {"x/a": frozenset({POD}), "x/b": frozenset({OTHER}), "": None}
    ends = Ends(pods[receiver.from_], pods[receiver.to])

    assert [seen for seen in (VXLAN, ERSPAN, GRE, ARP) if matches(receiver, ends, seen)] == list(case.frames)


@pytest.mark.parametrize(
    ("fields", "got", "ok", "short"),
    [
        ({"packets": 2}, 1, False, True),
        ({"packets": 2}, 2, True, False),
        ({"packets": 2}, 3, False, False),
        ({"packets": 0}, 0, True, False),
        ({"packets": 0}, 1, False, False),
        ({}, 0, False, True),
        ({}, 7, True, False),
        ({"at_least": 3}, 2, False, True),
    ],
)
def test_counts(fields: dict[str, int], got: int, *, ok: bool, short: bool) -> None:
    count = Count(Receiver(on="collector", **fields), got)  # type: ignore[arg-type]  # rows of a table

    assert (count.ok, count.short) == (ok, short)


def test_a_port_that_is_not_there_gets_nothing() -> None:
    assert not Count(Receiver(on="port:tap0"), 0, "there is no port tap0").ok
    assert not Count(Receiver(on="port:tap0"), 0, "there is no port tap0").short
    assert Count(Receiver(on="port:tap0", packets=0), 0, "there is no port tap0").ok


def test_ports_of_tunnels_are_those_registered_and_those_asked_for() -> None:
    asked = [Receiver(on="c", proto="vxlan", destination_port=4788), Receiver(on="c", proto="gre")]

    assert udp_ports(asked) == {6081: "geneve", 4789: "vxlan", 4788: "vxlan"}


def test_words() -> None:
    wanted = Receiver(on="collector", proto="erspan", version=2, session_id=1, dir=0, protocol="UDP", port=53)

    assert title(wanted) == "on collector: erspan version 2 sessionID 1 dir 0 UDP 53"
    assert title(Receiver(on="port:tap1", into=True)) == "into port:tap1:"
    assert summary([VXLAN, VXLAN, ERSPAN, ARP], {POD: "x/a", OTHER: "x/b"}) == (
        "2 x vxlan 192.168.77.10 -> 10.0.10.2 port 4789 vni 1 with x/a -> x/b UDP to port 53; "
        "1 x erspan 192.168.77.10 -> 10.0.10.2 version 2 session 1 direction 0 hardware 63 with x/b -> x/a ICMP; "
        "1 x no IP packet"
    )
    assert summary([], {}) == "nothing"
