"""Reports of IGMP as hosts send them, and queries as they take them."""

import struct
from ipaddress import IPv4Address
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.dataplane.frame import checksum, read
from sluice.dataplane.igmp import ALL_HOSTS, Report, query, reports

GROUP = int(IPv4Address("225.1.2.3"))
OTHER = int(IPv4Address("225.1.2.4"))


def number(group: int) -> bytes:
    return group.to_bytes(4, "big")


def summed(message: bytes) -> bytes:
    return message[:2] + checksum(message).to_bytes(2, "big") + message[4:]


def sent(message: bytes, proto: int = 2, offset: int = 0) -> bytes:
    """In a packet with a router alert, as Linux sends it."""
    total = 24 + len(message)
    head = struct.pack("!BBHHHBBH4s4sI", 0x46, 0xC0, total, 0, offset, 1, proto, 0, bytes(4), number(GROUP), 0x94040000)
    return bytes(12) + b"\x08\x00" + head + message


def record(kind: int, group: int, sources: int = 0, auxiliary: int = 0) -> bytes:
    return struct.pack("!BBH4s", kind, auxiliary, sources, number(group)) + bytes(4 * (sources + auxiliary))


def v3(*records: bytes, said: int | None = None) -> bytes:
    return summed(struct.pack("!BBHHH", 0x22, 0, 0, 0, len(records) if said is None else said) + b"".join(records))


def v2(kind: int, group: int = GROUP) -> bytes:
    return summed(struct.pack("!BBH4s", kind, 0, 0, number(group)))


class Case(NamedTuple):
    name: str
    packet: bytes
    reports: tuple[Report, ...]


def joins(kind: int, *groups: int) -> tuple[Report, ...]:
    return tuple(Report(kind, group, joins=True) for group in groups)


CASES = [
    Case("version 1", sent(v2(0x12)), joins(0x12, GROUP)),
    Case("version 2", sent(v2(0x16)), joins(0x16, GROUP)),
    Case("it leaves", sent(v2(0x17)), (Report(0x17, GROUP, joins=False),)),
    Case("all but no sources", sent(v3(record(4, GROUP))), joins(0x22, GROUP)),
    Case("as it answers a query", sent(v3(record(2, GROUP), record(2, OTHER))), joins(0x22, GROUP, OTHER)),
    Case("some sources", sent(v3(record(3, GROUP, 2), record(5, OTHER, 1, 1))), joins(0x22, GROUP, OTHER)),
    Case("no sources", sent(v3(record(3, GROUP))), (Report(0x22, GROUP, joins=False),)),
    Case("some sources less", sent(v3(record(6, GROUP, 1))), ()),
    Case("none of it", sent(v3(record(1, GROUP))), ()),
    Case("a record that is cut short", sent(v3(record(4, GROUP), said=2)), joins(0x22, GROUP)),
    Case("a query", sent(v2(0x11, 0)), ()),
    Case("a wrong checksum", sent(v2(0x16)[:-1] + b"\x09"), ()),
    Case("cut short", sent(v2(0x16)[:6]), ()),
    Case("UDP", sent(v2(0x16), proto=17), ()),
    Case("a later fragment", sent(v2(0x16), offset=1), ()),
    Case("nothing", b"", ()),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reports(case: Case):
    assert reports(case.packet) == case.reports


@given(st.binary(max_size=60))
def test_whatever_a_pod_sends_is_read_or_left(octets: bytes):
    reports(octets)
    reports(sent(summed(b"\x22\0\0\0" + octets)))


def test_a_query_is_one_of_version_3_to_all_hosts():
    frame = read(query(0x0A58A9FE0101, int(IPv4Address("169.254.1.1")), 1.0))

    assert frame is not None
    assert (frame.proto, frame.header, int.from_bytes(frame.target, "big")) == (2, 24, ALL_HOSTS)
    assert (checksum(frame.packet[:24]), checksum(frame.payload)) == (0, 0)
    assert frame.packet[8] == 1  # TTL
    assert frame.payload[:2] == bytes((0x11, 10))
    assert frame.payload[4:] == bytes(8)
    assert query(0, 0, 1e9)[14 + 24 + 1] == 0x7F
