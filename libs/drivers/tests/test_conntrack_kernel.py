"""The kernel's connection tracker: connections of a zone are forgotten, those of an address unmarked, others stay."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from sluice.dataplane.addresses import address, network
from sluice.drivers.conntrack.kernel import HEAD, MARK, NEW, TUPLE_IP, TUPLE_ORIG, TUPLE_REPLY, ZONE, KernelTracker
from sluice.drivers.namespaces import apart
from sluice.drivers.tc.attributes import BE16, BE32, attribute, nested
from sluice.drivers.tc.netlink import CREATE, EXCL, Message, Netlink

pytestmark = pytest.mark.datapath

TUPLE_PROTO, TIMEOUT, UDP = 2, 7, 17
T = TypeVar("T")


def remember(zone: int, source: str, destination: str, port: int) -> None:
    """Put a connection into the tracker, as a packet would."""

    def tuple_(kind: int, one: str, other: str, ports: tuple[int, int]) -> bytes:
        ends = address(one), address(other)
        first = 1 if ends[0].version == 4 else 3
        size = ends[0].prefix // 8
        ip = [attribute(first + place, end.value.to_bytes(size, "big")) for place, end in enumerate(ends)]
        proto = [attribute(1, bytes((UDP,))), *(attribute(2 + n, BE16.pack(p)) for n, p in enumerate(ports))]
        return nested(kind, nested(TUPLE_IP, *ip), nested(TUPLE_PROTO, *proto))

    family = 2 if address(source).version == 4 else 10
    body = HEAD.pack(family, 0, 0)
    body += tuple_(TUPLE_ORIG, source, destination, (40_000, port))
    body += tuple_(TUPLE_REPLY, destination, source, (port, 40_000))
    body += attribute(TIMEOUT, BE32.pack(300)) + attribute(MARK, BE32.pack(5)) + attribute(ZONE, BE16.pack(zone))
    netlink = Netlink(12)
    refused = netlink.send([Message(NEW, CREATE | EXCL, body)])
    netlink.close()
    assert refused == {}, refused


def remembering(then: Callable[[KernelTracker], T]) -> T:
    """In a namespace of its own, with a few connections in two zones."""

    def run() -> T:
        for zone in (7, 8):
            remember(zone, "10.1.0.1", "10.1.0.2", 53)
            remember(zone, "10.1.0.2", "10.1.0.3", 53)
            remember(zone, "10.1.0.3", "10.1.0.1", 54)
            remember(zone, "fd00::1", "fd00::2", 53)
        tracker = KernelTracker()
        try:
            return then(tracker)
        finally:
            tracker.close()

    return apart(run)


def test_connections_of_an_address_lose_their_mark_in_its_zone_alone():
    def run(tracker: KernelTracker) -> list[object]:
        found = [tracker.unmark(7, [address("10.1.0.2")]), tracker.unmark(7, [address("10.1.0.2")])]
        return [*found, tracker.marks(7), tracker.marks(8)]

    assert remembering(run) == [2, 2, [0, 0, 5, 5], [5, 5, 5, 5]]


def test_addresses_are_of_either_family_or_a_prefix():
    def run(tracker: KernelTracker) -> list[int]:
        return [tracker.unmark(7, [address("fd00::2")]), tracker.unmark(8, [network("10.1.0.2/31")])]

    assert remembering(run) == [1, 3]


def test_a_zone_is_forgotten_alone():
    def run(tracker: KernelTracker) -> list[object]:
        return [tracker.forget(7), tracker.forget(7), tracker.forget(9), tracker.marks(7), tracker.marks(8)]

    assert remembering(run) == [4, 0, 0, [], [5, 5, 5, 5]]


def test_nobody_is_nothing():
    assert remembering(lambda tracker: tracker.unmark(7, [])) == 0
