"""The connection tracker of a real datapath: what it remembers, and how it is made to forget."""

import asyncio
from ipaddress import ip_address
from struct import pack, unpack

import pytest

from sluice.contracts.ids import Address
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Ct, Nat, SetField
from sluice.dataplane.protocols import IpProto
from sluice.drivers.conntrack.entries import Entry, NotAnEntry, Tuple, parse
from sluice.drivers.conntrack.tracker import Tracker
from sluice.drivers.unixctl import CommandRefused, command

A, B, C, D = (Address(f"10.0.0.{number}") for number in range(1, 5))
A6, B6 = Address("fd00::1"), Address("fd00::2")


def checksum(octets: bytes) -> int:
    """Source: RFC 1071."""
    total: int = sum(unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def datagram(source: str, destination: str, source_port: int = 1000) -> bytes:
    """An Ethernet packet with UDP to port 53."""
    ends = ip_address(source).packed + ip_address(destination).packed
    payload = b"what"
    length = 8 + len(payload)
    pseudo = ends + pack("!IHBB", length, 0, 0, IpProto.UDP)
    summed = checksum(pseudo + pack("!HHHH", source_port, 53, length, 0) + payload)
    udp = pack("!HHHH", source_port, 53, length, summed) + payload
    if len(ends) == 8:
        start = pack("!BBHHHBB", 0x45, 0, 20 + length, 1, 0, 64, IpProto.UDP)
        ip = start + pack("!H", checksum(start + bytes(2) + ends)) + ends
        return bytes(12) + b"\x08\x00" + ip + udp
    return bytes(12) + b"\x86\xdd" + pack("!IHBB", 6 << 28, length, IpProto.UDP, 64) + ends + udp


def echo(source: str, destination: str) -> bytes:
    """An Ethernet packet with an echo request of ICMPv6."""
    ends = ip_address(source).packed + ip_address(destination).packed
    request = pack("!BBHHH", 128, 0, 0, 1, 1)
    summed = checksum(ends + pack("!IHBB", len(request), 0, 0, IpProto.ICMPV6) + request)
    whole = request[:2] + pack("!H", summed) + request[4:]
    return bytes(12) + b"\x86\xdd" + pack("!IHBB", 6 << 28, len(whole), IpProto.ICMPV6, 64) + ends + whole


@pytest.fixture
async def tracker(node, switch):
    """With a connection between each two of A, B, C and between A6 and B6, in each of the zones 1 and 2."""
    for zone in (1, 2):
        marks = (SetField(Field.CT_MARK, 7), SetField(Field.CT_LABEL, 9 << 64 | 5))
        for pair in ((A, B), (B, C), (C, A), (A6, B6)):
            switch.send_packet(datagram(*pair), (Ct(zone, commit=True, exec=marks),))
    await switch.barrier()
    assert switch.errors == ()
    return Tracker(node.vswitchd_control)


async def ends(tracker, zone):
    return {(entry.original.source, entry.original.destination) for entry in await tracker.entries(zone)}


@pytest.mark.datapath
async def test_connections_are_listed(tracker):
    found = await tracker.entries()

    assert len(found) == 8
    assert (
        Entry(
            protocol="udp",
            original=Tuple(A, B, 1000, 53),
            reply=Tuple(B, A, 53, 1000),
            zone=1,
            mark=7,
            label=9 << 64 | 5,
            state=None,
        )
        in found
    )


FLUSHES = [
    ("whoever began", (A,), {(B, C), (A6, B6)}),
    ("version 6", (B6,), {(A, B), (B, C), (C, A)}),
    ("several", (A, A6), {(B, C)}),
    ("nobody's", (D,), {(A, B), (B, C), (C, A), (A6, B6)}),
    ("none", (), {(A, B), (B, C), (C, A), (A6, B6)}),
]


@pytest.mark.datapath
@pytest.mark.parametrize(("addresses", "left"), [row[1:] for row in FLUSHES], ids=[row[0] for row in FLUSHES])
async def test_an_address_is_forgotten_in_one_zone(tracker, addresses, left):
    await tracker.flush(1, addresses)

    assert await ends(tracker, 1) == left
    assert len(await ends(tracker, 2)) == 4


@pytest.mark.datapath
async def test_none_of_many_is_left(node, switch):
    """The tracker's table shrinks while a flush walks through it, which then misses some."""
    for port in range(3_000):
        switch.send_packet(datagram(A, f"10.0.1.{port % 50}", 1000 + port), (Ct(1, commit=True),))
        switch.send_packet(datagram(B, f"10.0.1.{port % 50}", 1000 + port), (Ct(1, commit=True),))
        if port % 100 == 0:
            await switch.barrier()
    await switch.barrier()
    tracker = Tracker(node.vswitchd_control)
    assert len(await tracker.entries(1)) == 6_000

    await tracker.flush(1, [A, B])

    assert await tracker.entries(1) == ()


@pytest.mark.datapath
async def test_a_ping_over_ipv6_stays_and_is_told_and_the_switch_lives(node, switch, tracker):
    pid = node.vswitchd_pid
    switch.send_packet(echo(A6, B6), (Ct(1, commit=True),))
    await switch.barrier()

    assert await tracker.flush(1, [B6, A]) == {B6}

    left = {(one.protocol, one.original.source, one.original.destination) for one in await tracker.entries(1)}
    assert left == {("icmpv6", A6, B6), ("udp", B, C)}
    assert await tracker.flush(1, [A]) == set()
    assert node.vswitchd_pid == pid


@pytest.mark.datapath
async def test_who_was_sent_to_an_endpoint_over_udp_is_forgotten(node, switch, tracker):
    pid = node.vswitchd_pid
    switch.send_packet(echo(A6, B6), (Ct(1, commit=True),))
    for client, endpoint in ((A, D), (B, D)):
        switch.send_packet(
            datagram(client, C, 2000), (Ct(1, commit=True, nat=Nat("dst", 4, int(ip_address(endpoint)), 99)),)
        )
    await switch.barrier()
    assert {(A, C), (B, C)} <= await ends(tracker, 1)

    await tracker.forget_udp(1, [(D, 99), (A6, 53)])

    assert await ends(tracker, 1) == {(A, B), (B, C), (C, A), (A6, B6)}
    assert {one.reply.source for one in await tracker.entries(1)} == {A, B, C, B6}
    await tracker.forget_udp(1, [(B, 1)])
    assert len(await ends(tracker, 1)) == 4
    assert node.vswitchd_pid == pid


@pytest.mark.datapath
async def test_a_zone_is_forgotten(tracker):
    await tracker.flush_zone(1)

    assert await ends(tracker, 1) == set()
    assert len(await ends(tracker, 2)) == 4


@pytest.mark.datapath
async def test_a_command_that_is_refused_says_so(node, bridge):
    with pytest.raises(CommandRefused, match="`dpctl/flush-conntrack zone=x` was refused: "):
        await command(node.vswitchd_control, "dpctl/flush-conntrack", "zone=x")
    with pytest.raises(CommandRefused, match='`no/such` was refused: "no/such" is not a valid command'):
        await command(node.vswitchd_control, "no/such")


@pytest.mark.datapath
async def test_without_a_daemon_there_is_nobody_to_tell(node, bridge):
    await node.kill_vswitchd()

    with pytest.raises(ConnectionRefusedError):
        await Tracker(node.vswitchd_control).flush_zone(1)


@pytest.mark.datapath
async def test_commands_at_the_same_time(tracker):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tracker.entries(1)) for _ in range(20)]

    assert {len(task.result()) for task in tasks} == {4}


TCP = (
    "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=33000,dport=80),reply=(src=10.0.0.4,dst=10.0.0.1,sport=8080,dport=33000)"
    ",zone=5,mark=16,labels=0x90000000000000005,protoinfo=(state=ESTABLISHED)"
)
ICMP = "icmp,orig=(src=10.0.0.1,dst=10.0.0.2,id=5,type=8,code=0),reply=(src=10.0.0.2,dst=10.0.0.1,id=5,type=0,code=0)"

LINES = [
    ("tcp", TCP, Entry("tcp", Tuple(A, B, 33000, 80), Tuple(D, A, 8080, 33000), 5, 16, 9 << 64 | 5, "ESTABLISHED")),
    ("icmp", ICMP, Entry("icmp", Tuple(A, B, None, None), Tuple(B, A, None, None), 0, 0, 0, None)),
]


@pytest.mark.parametrize(("line", "entry"), [row[1:] for row in LINES], ids=[row[0] for row in LINES])
def test_a_line_is_read(line, entry):
    assert parse(line) == entry
    assert A in entry.addresses


@pytest.mark.parametrize("line", ["", "tcp", "tcp,orig=(src=10.0.0.1),reply=(dst=10.0.0.1)"])
def test_a_line_that_is_no_connection(line):
    with pytest.raises(NotAnEntry, match="is no connection"):
        parse(line)
