"""What a sender hears whose packet is rejected, and what is never answered."""

from ipaddress import ip_address
from struct import pack, unpack_from

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.dataplane.frame import checksum, read
from sluice.dataplane.protocols import IpProto
from sluice.dataplane.refusal import SentTo, refuse, sever

MAC = bytes.fromhex("0a58a9fe0101")
CLIENT, SERVER = {4: "10.0.0.1", 6: "fd00::1"}, {4: "10.0.0.2", 6: "fd00::2"}
TCP, UDP, SCTP = IpProto.TCP, IpProto.UDP, IpProto.SCTP
FIN, SYN, RST, ACK = 1, 2, 4, 16


def ip(
    version: int,
    proto: int,
    carried: bytes,
    source: str = "",
    target: str = "",
    *,
    extensions: bytes = b"",
    fragment: int = 0,
) -> bytes:
    """An Ethernet frame with an IP packet; `proto` is of what comes first in it."""
    from_, to = (ip_address(text).packed for text in (source or CLIENT[version], target or SERVER[version]))
    if version == 6:
        body = extensions + carried
        return bytes(12) + b"\x86\xdd" + pack("!IHBB", 6 << 28, len(body), proto, 63) + from_ + to + body
    options = bytes(len(extensions))
    first = 0x45 + len(options) // 4
    head = pack("!BBHHHBBH", first, 0, 20 + len(options) + len(carried), 7, fragment, 63, proto, 0) + from_ + to
    return bytes(12) + b"\x08\x00" + head + options + carried


def tcp(flags: int, sequence: int = 100, acknowledged: int = 0, payload: bytes = b"", offset: int = 5) -> bytes:
    said = pack("!HHIIBBHHH", 40000, 80, sequence, acknowledged, offset << 4, flags, 1000, 0, 0)
    return said + bytes(4 * (offset - 5)) + payload


def udp(payload: bytes = b"hello") -> bytes:
    return pack("!HHHH", 40000, 53, 8 + len(payload), 0) + payload


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("proto", "carried"), [(TCP, tcp(SYN)), (UDP, udp())])
def test_who_asked_a_service_hears_from_it(version: int, proto: int, carried: bytes):
    service = ip_address("10.96.0.10" if version == 4 else "fd00:96::a").packed
    answer = refuse(ip(version, proto, carried), MAC, SentTo(service, 8000))

    assert answer is not None
    said = read(answer)
    assert said is not None
    assert said.source == service
    if proto == TCP:
        assert said.ports == (8000, 40000)
    else:
        quoted = read(answer[:14] + said.payload[8:])
        assert quoted is not None
        assert (quoted.target, quoted.ports) == (service, (40000, 8000))
        assert version == 6 or checksum(quoted.packet[: quoted.header]) == 0


def answered(frame: bytes) -> tuple[int, bytes]:
    """Protocol and what the answer carries, once it is seen to be whole and from the right end."""
    answer = refuse(frame, MAC)
    assert answer is not None
    asked, said = read(frame), read(answer)
    assert asked is not None
    assert said is not None
    assert answer[:12] == MAC + MAC
    assert (said.source, said.target) == (asked.target, asked.source)
    assert said.packet == answer[14:]
    length = len(said.payload).to_bytes(4, "big")
    pseudo = said.source + said.target + length + said.proto.to_bytes(4, "big")
    if said.version == 4:
        assert checksum(said.packet[: said.header]) == 0
    summed = said.payload if said.proto == IpProto.ICMP else pseudo + said.payload
    assert checksum(summed) == 0
    return said.proto, said.payload


RESETS = [
    ("a first segment", tcp(SYN, 100), (0, 101, RST | ACK)),
    ("with options", tcp(SYN, 100, offset=10), (0, 101, RST | ACK)),
    ("at the end of sequences", tcp(SYN, 0xFFFFFFFF), (0, 0, RST | ACK)),
    ("in the middle of a connection", tcp(ACK, 100, 900, b"abc"), (900, 0, RST)),
    ("an answer", tcp(SYN | ACK, 100, 900), (900, 0, RST)),
    ("data without an acknowledgement", tcp(FIN, 100, 0, b"abc"), (0, 104, RST | ACK)),
]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("segment", "said"), [case[1:] for case in RESETS], ids=[case[0] for case in RESETS])
def test_tcp_is_reset(version: int, segment: bytes, said: tuple[int, int, int]):
    proto, carried = answered(ip(version, TCP, segment))

    ports, sequence, acknowledged = unpack_from("!I", carried)[0], *unpack_from("!II", carried, 4)
    assert (proto, len(carried)) == (TCP, 20)
    assert ports == 80 << 16 | 40000
    assert (sequence, acknowledged, carried[13]) == said


PROHIBITED = [
    ("UDP", 4, ip(4, UDP, udp())),
    ("UDP", 6, ip(6, UDP, udp())),
    ("SCTP", 4, ip(4, SCTP, bytes(20))),
    ("an echo request", 4, ip(4, IpProto.ICMP, bytes((8, 0, 0, 0, 1, 2, 3, 4)))),
    ("an echo request", 6, ip(6, IpProto.ICMPV6, bytes((128, 0, 0, 0, 1, 2, 3, 4)))),
    ("IP options", 4, ip(4, UDP, udp(), extensions=bytes(8))),
    ("hop-by-hop options", 6, ip(6, 0, udp(), extensions=bytes((UDP, 0, 1, 4, 0, 0, 0, 0)))),
    ("a first fragment", 4, ip(4, UDP, udp(), fragment=0x2000)),
    ("a first fragment", 6, ip(6, 44, udp(), extensions=bytes((UDP, 0, 0, 1, 0, 0, 0, 9)))),
    ("a long one", 4, ip(4, UDP, udp(bytes(1400)))),
    ("a long one", 6, ip(6, UDP, udp(bytes(1400)))),
]


@pytest.mark.parametrize(
    ("version", "frame"),
    [case[1:] for case in PROHIBITED],
    ids=[f"{name} {version}" for name, version, _ in PROHIBITED],
)
def test_everything_else_is_administratively_prohibited(version: int, frame: bytes):
    proto, carried = answered(frame)

    assert proto == (IpProto.ICMP if version == 4 else IpProto.ICMPV6)
    assert (carried[0], carried[1]) == ((3, 10) if version == 4 else (1, 1))
    assert carried[4:8] == bytes(4)
    assert frame[14:].startswith(carried[8:])
    assert len(carried[8:]) == min(len(frame) - 14, 548 if version == 4 else 1232)


NEVER = [
    ("a reset", ip(4, TCP, tcp(RST))),
    ("a reset over IPv6", ip(6, TCP, tcp(RST | ACK))),
    *((f"an ICMP error {kind}", ip(4, IpProto.ICMP, bytes((kind, 0)) + bytes(30))) for kind in (3, 4, 5, 11, 12)),
    *((f"an ICMPv6 error {kind}", ip(6, IpProto.ICMPV6, bytes((kind, 0)) + bytes(50))) for kind in (1, 2, 3, 4, 127)),
    ("ICMP without a type", ip(4, IpProto.ICMP, b"")),
    ("a later fragment", ip(4, UDP, udp(), fragment=0x0010)),
    ("a later fragment over IPv6", ip(6, 44, udp(), extensions=bytes((UDP, 0, 0, 8, 0, 0, 0, 9)))),
    ("to many", ip(4, UDP, udp(), target="224.0.0.251")),
    ("to everybody", ip(4, UDP, udp(), target="255.255.255.255")),
    ("to many over IPv6", ip(6, UDP, udp(), target="ff02::fb")),
    *((f"from {source}", ip(4, UDP, udp(), source)) for source in ("0.0.0.0", "127.0.0.1", "239.0.0.1")),
    *((f"from {source}", ip(6, UDP, udp(), source)) for source in ("::", "::1", "ff02::1")),
    ("half a segment", ip(4, TCP, tcp(SYN)[:19])),
    ("half a frame", ip(4, UDP, udp())[:-1]),
    ("half a header", ip(6, UDP, b"")[:50]),
    ("a header that is too short", bytes(12) + b"\x08\x00" + b"\x44" + bytes(40)),
    ("endless extensions", ip(6, 0, bytes((0, 9)) + bytes(6))),
    ("ARP", bytes(12) + b"\x08\x06" + bytes(28)),
    ("nothing", b""),
]


@pytest.mark.parametrize("frame", [frame for _, frame in NEVER], ids=[name for name, _ in NEVER])
def test_what_must_never_be_answered(frame: bytes):
    assert refuse(frame, MAC) is None


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("proto", "carried"), [(TCP, tcp(SYN)), (UDP, udp())])
def test_no_answer_is_answered(version: int, proto: int, carried: bytes):
    answer = refuse(ip(version, proto, carried), MAC)

    assert answer is not None
    assert refuse(answer, MAC) is None


def test_the_padding_of_ethernet_is_no_part_of_the_packet():
    frame = ip(4, TCP, tcp(FIN, 100))

    assert answered(frame + bytes(6)) == answered(frame)


@given(st.binary(max_size=100), st.sampled_from((b"\x08\x00E", b"\x86\xdd`")))
def test_no_octets_whatever_are_too_odd(octets: bytes, head: bytes):
    answer = refuse(bytes(12) + head + octets, MAC)

    assert answer is None or refuse(answer, MAC) is None


@pytest.mark.parametrize("version", [4, 6])
def test_both_ends_of_a_severed_connection_get_what_they_must_heed(version: int):
    frame = ip(version, TCP, tcp(ACK, 100, 900, b"abc"))

    back, onward = sever(frame, MAC)
    asked, said = read(frame), read(onward)

    assert back == refuse(frame, MAC)
    assert asked is not None
    assert said is not None
    assert (said.source, said.target, said.ports) == (asked.source, asked.target, asked.ports)
    # RFC 9293 section 3.10.7.4: a reset counts if its sequence number is just what the receiver waits for.
    assert unpack_from("!II", said.payload, 4) == (100, 900)
    assert said.payload[13] == RST | ACK
    length = len(said.payload).to_bytes(4, "big")
    assert checksum(said.source + said.target + length + TCP.to_bytes(4, "big") + said.payload) == 0


@pytest.mark.parametrize("frame", [frame for _, frame in NEVER], ids=[name for name, _ in NEVER])
def test_nothing_else_is_severed(frame: bytes):
    assert sever(frame, MAC) == ()
    assert sever(ip(4, UDP, udp()), MAC) == ()
